from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.protect import lsp

KEY = Key.from_bytes(bytes(range(32)), "test")
CLASSES = tuple(f"class {i}" for i in range(10))


def items(n: int, classes: tuple[str, ...] = CLASSES) -> list[Item]:
    return [Item(id=f"{i:020x}", path=f"{i}.png", label=classes[i % len(classes)]) for i in range(n)]


def images(n: int, h: int = 8, w: int = 9, c: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, c, h, w), dtype=np.float32)


def slow_noise(item: Item, cfg: lsp.Config, c: int, h: int, w: int) -> np.ndarray:
    """One image's noise, value by value."""
    p = cfg.patches
    size = p * p * 3
    stream = KEY.stream("protect/lsp/class", str(item.label))
    centre = [cfg.separation * (-1 if u < 0.5 else 1) for u in stream.uniform(size)]
    spread = stream.uniform(size * size, -1, 1).reshape(size, size)
    unit = KEY.stream("protect/lsp/item", item.id).normal(size)
    point = np.array([centre[k] + sum(unit[i] * spread[i, k] for i in range(size)) for k in range(size)])
    grid = point.reshape(p, p, 3)
    out = np.empty((c, h, w))
    for ch in range(c):
        for row in range(h):
            for col in range(w):
                out[ch, row, col] = grid[row * p // h, col * p // w, ch]
    return out * cfg.rms / np.sqrt((out**2).mean())


@settings(max_examples=15, deadline=None)
@given(
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    c=st.sampled_from([1, 3]),
    patches=st.sampled_from([1, 2, 3, 4]),
    seed=st.integers(0, 99),
)
def test_apply_equals_its_oracle(h: int, w: int, c: int, patches: int, seed: int) -> None:
    cfg, refs, batch = lsp.Config(patches=patches, rms=0.1), items(3), images(3, h, w, c, seed)
    out = lsp.apply({}, batch, refs, KEY, cfg)
    for image, item, result in zip(batch, refs, out, strict=True):
        expected = np.clip(image + slow_noise(item, cfg, c, h, w), 0, 1)
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_patch_is_eight_pixels_at_thirty_two() -> None:
    made = lsp.noise({}, items(2), KEY, lsp.Config(), 3, 32, 32)
    blocks = made.reshape(2, 3, 4, 8, 4, 8)
    assert (blocks == blocks[:, :, :, :1, :, :1]).all()
    assert len(np.unique(made[0])) == 48


@pytest.mark.parametrize(("c", "h", "w"), [(3, 32, 32), (1, 33, 9), (3, 1, 1), (3, 224, 50)])
def test_the_budget_holds_after_rounding(c: int, h: int, w: int) -> None:
    stored = to_uint8(images(6, h, w, c))
    batch = to_float(stored)
    out = to_uint8(lsp.apply({}, batch, items(6), KEY, lsp.Config()))
    change = np.sqrt(((out.astype(float) - stored) ** 2).reshape(6, -1).sum(axis=1)) / 255
    values = c * h * w
    assert (change <= (6 / 255 + 0.5 / 255) * np.sqrt(values) + 1e-6).all()
    raw = lsp.noise({}, items(6), KEY, lsp.Config(), c, h, w).astype(float)
    norms = np.sqrt((raw**2).reshape(6, -1).sum(axis=1))
    np.testing.assert_allclose(norms, 6 / 255 * np.sqrt(values), rtol=1e-5)


@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 32), (3, 50)])
def test_a_linear_classifier_tells_the_classes_apart(channels: int, side: int) -> None:
    refs = items(1500)
    labels = np.arange(1500) % 10
    made = lsp.noise({}, refs, KEY, lsp.Config(), channels, side, side)
    middles = (np.arange(4) * side + side // 2) // 4  # one pixel of each patch says all
    values = made[:, :, middles][..., middles].reshape(1500, -1)
    columns = np.concatenate([values, np.ones((1500, 1))], axis=1)
    solution = np.linalg.lstsq(columns[:1000], np.eye(10)[labels[:1000]], rcond=None)[0]
    predicted = (columns[1000:] @ solution).argmax(axis=1)
    assert (predicted == labels[1000:]).mean() > 0.99


def test_bytes_depend_on_key_id_and_class_only() -> None:
    batch, refs, cfg = images(7), items(7), lsp.Config()
    whole = lsp.apply({}, batch, refs, KEY, cfg)
    singles = [lsp.apply({}, batch[i : i + 1], refs[i : i + 1], KEY, cfg)[0] for i in range(7)]
    np.testing.assert_array_equal(np.stack(singles), whole)
    np.testing.assert_array_equal(lsp.apply({}, batch[::-1], refs[::-1], KEY, cfg)[::-1], whole)
    other = lsp.apply({}, batch, refs, Key.from_bytes(bytes(32)), cfg)
    assert not np.allclose(other, whole, atol=0.01)


def test_undo_gives_back_what_was_not_clipped() -> None:
    batch, refs, cfg = images(4) * 0.6 + np.float32(0.2), items(4), lsp.Config()
    stored = to_uint8(lsp.apply({}, batch, refs, KEY, cfg))
    back = lsp.invert({}, to_float(stored), refs, KEY, cfg, [{}] * 4)
    assert np.abs(back - batch).max() <= 0.5 / 255 + 1e-6


def test_empty_batches_missing_classes_and_bad_options() -> None:
    cfg = lsp.Config()
    assert lsp.apply({}, images(0), [], KEY, cfg).shape == (0, 3, 8, 9)
    assert lsp.invert({}, images(0), [], KEY, cfg, []).shape == (0, 3, 8, 9)
    refs = [Item("0" * 20, "a.png"), Item("1" * 20, "b.png", "any class will do")]
    with pytest.raises(DataError) as caught:
        lsp.apply({}, images(2), refs, KEY, cfg)
    assert caught.value.items == ("a.png",)
    with pytest.raises(DataError):
        lsp.apply({}, images(1) * 2, items(1), KEY, cfg)
    with pytest.raises(ValidationError):
        lsp.Config(patches=9)
    assert lsp.prepare(DataSummary(0, (), {}), KEY, cfg, None) == {}
