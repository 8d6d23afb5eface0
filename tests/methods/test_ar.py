from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.protect import ar
from noli.ops.autoregress import moments, response

KEY = Key.from_bytes(bytes(range(32)), "test")
CLASSES = tuple(f"class {i}" for i in range(10))
CFG = ar.Config()


def summary(*classes: str) -> DataSummary:
    return DataSummary(items=10, classes=tuple(sorted(classes)), shapes={(32, 32, 3): 10})


@pytest.fixture(scope="module")
def state() -> ar.State:
    return ar.prepare(summary(*CLASSES), KEY, CFG)


def items(n: int, classes: tuple[str, ...] = CLASSES, first: int = 0) -> list[Item]:
    return [
        Item(id=f"{i:020x}", path=f"{i}.png", label=classes[i % len(classes)])
        for i in range(first, first + n)
    ]


def images(n: int, h: int = 8, w: int = 9, c: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, c, h, w), dtype=np.float32)


def weights_of(state: ar.State, label: str) -> np.ndarray:
    """One class's weights ``[8, 3]``."""
    return np.stack([ar.candidates(KEY, label, c)[:, d] for c, d in enumerate(state["draws"][label])], axis=1)


def slow_noise(state: ar.State, item: Item, cfg: ar.Config, c: int, h: int, w: int) -> np.ndarray:
    """One image's noise, pixel by pixel, tile by tile."""
    down, across = -(-h // 48), -(-w // 48)
    th, tw = -(-h // down), -(-w // across)
    edge = 2 * (th + 4) + 2 * (tw + 4) - 4
    starts = iter(KEY.stream("protect/ar/item", item.id).normal(down * across * c * edge).tolist())
    weights = weights_of(state, str(item.label))
    whole = np.zeros((c, down * th, across * tw))
    for row in range(down):
        for column in range(across):
            tile = np.zeros((c, th + 4, tw + 4))
            for ch in range(c):
                for i in range(th + 4):
                    for j in range(tw + 4):
                        if i < 2 or j < 2:
                            tile[ch, i, j] = next(starts)
                for i in range(2, th + 4):
                    for j in range(2, tw + 4):
                        tile[ch, i, j] = tile[ch, i - 2 : i + 1, j - 2 : j + 1].ravel()[:8] @ weights[:, ch]
            tile = tile[:, 4:, 4:]
            tile = tile / np.sqrt((tile**2).sum())
            whole[:, row * th : (row + 1) * th, column * tw : (column + 1) * tw] = tile
    whole = whole[:, :h, :w]
    if cfg.norm == "linf":
        return whole / np.abs(whole).max() * cfg.linf
    return whole / np.sqrt((whole**2).sum()) * cfg.l2 * np.sqrt(c * h * w / 3072)


@settings(max_examples=12, deadline=None)
@given(
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    c=st.sampled_from([1, 3]),
    norm=st.sampled_from(["l2", "linf"]),
    seed=st.integers(0, 99),
)
def test_apply_equals_its_oracle(state: ar.State, h: int, w: int, c: int, norm: str, seed: int) -> None:
    cfg, refs, batch = ar.Config(norm=norm), items(3), images(3, h, w, c, seed)  # type: ignore[arg-type]
    out = ar.apply(state, batch, refs, KEY, cfg)
    for image, item, result in zip(batch, refs, out, strict=True):
        expected = np.clip(image + slow_noise(state, item, cfg, c, h, w), 0, 1)
        np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize(("c", "h", "w"), [(3, 32, 32), (1, 49, 20), (3, 100, 101)])
def test_tiles_equal_their_oracle(state: ar.State, c: int, h: int, w: int) -> None:
    made = ar.noise(state, items(2), KEY, CFG, c, h, w)
    for item, result in zip(items(2), made, strict=True):
        np.testing.assert_allclose(result, slow_noise(state, item, CFG, c, h, w), atol=1e-6)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(("c", "h", "w"), [(3, 32, 32), (1, 33, 9), (3, 1, 1), (3, 96, 96), (3, 224, 50)])
def test_the_budget_holds_after_rounding(state: ar.State, norm: str, c: int, h: int, w: int) -> None:
    stored, cfg = to_uint8(images(4, h, w, c)), ar.Config(norm=norm)  # type: ignore[arg-type]
    out = to_uint8(ar.apply(state, to_float(stored), items(4), KEY, cfg))
    change, values = (out.astype(float) - stored).reshape(4, -1), c * h * w
    raw = ar.noise(state, items(4), KEY, cfg, c, h, w).astype(float).reshape(4, -1)
    if norm == "linf":
        assert np.abs(change).max() <= 8
        np.testing.assert_allclose(np.abs(raw).max(axis=1), 8 / 255, rtol=1e-5)
    else:
        budget = np.sqrt(values / 3072)
        np.testing.assert_allclose(np.linalg.norm(raw, axis=1), budget, rtol=1e-5)
        assert (np.linalg.norm(change, axis=1) / 255 <= budget + 0.5 / 255 * np.sqrt(values)).all()


def test_norm_three_on_stl_ten_as_published(state: ar.State) -> None:
    made = ar.noise(state, items(1), KEY, CFG, 3, 96, 96)
    assert np.linalg.norm(made.astype(float)) == pytest.approx(3.0, rel=1e-5)


def test_weights_sum_to_one_and_are_stable_where_they_are_used(state: ar.State) -> None:
    for label in CLASSES:
        np.testing.assert_allclose(weights_of(state, label).sum(axis=0), 1, atol=1e-9)
    made = ar.noise(state, items(40), KEY, CFG, 3, 48, 48)
    corner = np.sqrt((made[:, :, 32:, 32:].astype(float) ** 2).mean(axis=(1, 2, 3)))
    middle = np.sqrt((made.astype(float) ** 2).mean(axis=(1, 2, 3)))
    assert (corner < 2.5 * middle).all(), "noise that explodes would sit in the last corner"


@pytest.mark.parametrize("channels", [1, 3])
def test_matching_filters_tell_new_items_apart_but_not_white_noise(state: ar.State, channels: int) -> None:
    refs, weights = items(200, first=5000), np.stack([weights_of(state, label) for label in CLASSES])

    def answers(noise: np.ndarray) -> np.ndarray:
        """Response of every class's filters to every image, ``[K, N]``: the mean over channels."""
        planes = [
            response(weights[:, :, c].T, moments(noise[:, c].transpose(1, 2, 0).astype(float)))
            for c in range(channels)
        ]
        return np.mean(planes, axis=0)

    found = answers(ar.noise(state, refs, KEY, CFG, channels, 32, 32))
    assert (found.argmin(axis=0) == [CLASSES.index(str(item.label)) for item in refs]).all()
    assert found.min(axis=0).max() < 1e-4
    assert np.sort(found, axis=0)[1].min() > 0.05
    # White noise, the same grey in every channel, answers no filter with 0, and its classes stay unknown.
    blank = answers(np.random.default_rng(0).normal(size=(200, 1, 32, 32)).repeat(channels, axis=1))
    assert blank.min() > 1
    assert (blank.argmin(axis=0) == np.arange(200) % 10).mean() < 0.25


def test_chosen_processes_keep_apart_in_every_channel() -> None:
    def nearest(separation: float) -> float:
        made = ar.prepare(summary(*CLASSES), KEY, ar.Config(separation=separation))
        start = np.random.default_rng(1).normal(size=(2 * (40 + 40) - 4, 10))
        found = []
        for channel in range(3):
            weights = np.stack([weights_of(made, label)[:, channel] for label in CLASSES], axis=1)
            answers = response(weights, moments(ar.sweep(weights, start, 40, 40)[4:, 4:]))
            found.append(answers[~np.eye(10, dtype=bool)].min())
        return float(min(found))

    assert nearest(0.2) > 0.1
    assert nearest(0.2) > 2 * nearest(0.0)


def test_bytes_depend_on_key_id_and_class_only(state: ar.State) -> None:
    batch, refs = images(7, 50, 9), items(7)
    whole = ar.apply(state, batch, refs, KEY, CFG)
    singles = [ar.apply(state, batch[i : i + 1], refs[i : i + 1], KEY, CFG)[0] for i in range(7)]
    np.testing.assert_array_equal(np.stack(singles), whole)
    np.testing.assert_array_equal(ar.apply(state, batch[::-1], refs[::-1], KEY, CFG)[::-1], whole)
    other = ar.apply(state, batch, refs, Key.from_bytes(bytes(32)), CFG)
    assert not np.allclose(other, whole, atol=0.01)


def test_extending_keeps_the_processes_of_known_classes() -> None:
    first = ar.prepare(summary("cat", "ship"), KEY, CFG)
    grown = ar.prepare(summary("ant", "cat", "dog", "ship"), KEY, CFG, first)
    assert {label: grown["draws"][label] for label in ("cat", "ship")} == first["draws"]
    assert set(grown["draws"]) == {"ant", "cat", "dog", "ship"}
    assert set(first["draws"]) == {"cat", "ship"}, "the older state is not changed"
    assert ar.prepare(summary("cat"), KEY, CFG, grown) == grown
    assert ar.prepare(summary(), KEY, CFG) == {"draws": {}}


def test_state_is_plain_json_without_secrets(state: ar.State) -> None:
    text = json.dumps(state)
    assert json.loads(text) == state
    assert KEY.export_secret().hex() not in text
    assert all(0 <= draw < 64 for draws in state["draws"].values() for draw in draws)


def test_undo_gives_back_what_was_not_clipped(state: ar.State) -> None:
    batch, refs = images(4, 20, 60) * 0.6 + np.float32(0.2), items(4)
    stored = to_uint8(ar.apply(state, batch, refs, KEY, CFG))
    back = ar.invert(state, to_float(stored), refs, KEY, CFG, [{}] * 4)
    assert np.abs(back - batch).max() <= 0.5 / 255 + 1e-6


def test_empty_batches_and_missing_classes(state: ar.State) -> None:
    assert ar.apply(state, images(0), [], KEY, CFG).shape == (0, 3, 8, 9)
    assert ar.invert(state, images(0), [], KEY, CFG, []).shape == (0, 3, 8, 9)
    refs = [Item("0" * 20, "a.png"), Item("1" * 20, "b.png", "unseen"), items(1)[0]]
    with pytest.raises(DataError) as caught:
        ar.apply(state, images(3), refs, KEY, CFG)
    assert caught.value.items == ("a.png", "b.png")
    with pytest.raises(DataError):
        ar.apply(state, images(1) * 2, items(1), KEY, CFG)
