from __future__ import annotations

import json

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
from noli.methods.protect import cuda
from noli.ops.spectra import attraction_entropy, nearest_distance, signature

KEY = Key.from_bytes(bytes(range(32)), "test")
CLASSES = ("cat", "dog", "ship")


def summary(*classes: str) -> DataSummary:
    return DataSummary(items=10, classes=tuple(sorted(classes)), shapes={(8, 8, 3): 10})


def items(n: int, classes: tuple[str, ...] = CLASSES) -> list[Item]:
    return [Item(id=f"{i:020x}", path=f"{i}.png", label=classes[i % len(classes)]) for i in range(n)]


def images(n: int, h: int = 8, w: int = 9, c: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, c, h, w), dtype=np.float32)


def slow_paper(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Equations of section 3 for one image [C, H, W]: zero-padded correlation, division by the maximum."""
    c, h, w = image.shape
    k = len(kernel)
    out = np.zeros((c, h, w))
    for ch in range(c):
        for row in range(h):
            for col in range(w):
                total = 0.0
                for i in range(k):
                    for j in range(k):
                        r, q = row + i - k // 2, col + j - k // 2
                        if 0 <= r < h and 0 <= q < w:
                            total += float(image[ch, r, q]) * float(kernel[i, j])
                out[ch, row, col] = total
    return out / out.max() if out.max() > 0 else out


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 4),
    h=st.integers(1, 7),
    w=st.integers(1, 7),
    c=st.sampled_from([1, 3]),
    k=st.sampled_from([3, 5, 9]),
    seed=st.integers(0, 999),
)
def test_paper_mode_equals_the_published_maths(n: int, h: int, w: int, c: int, k: int, seed: int) -> None:
    cfg = cuda.Config(mode="paper", kernel=k)
    batch, refs = images(n, h, w, c, seed), items(n)
    state = cuda.prepare(summary(*CLASSES), KEY, cfg)
    fast = cuda.apply(state, batch, refs, KEY, cfg)
    for image, item, result in zip(batch, refs, fast, strict=True):
        kernel, _ = cuda.class_filter(KEY, str(item.label), 0, *cfg.shape_for(h, w), False)
        np.testing.assert_allclose(result, slow_paper(image, kernel), atol=1e-5)


def test_paper_defaults_follow_the_resolution() -> None:
    cfg = cuda.Config(mode="paper")
    assert cfg.shape_for(32, 32) == (3, 0.3)
    assert cfg.shape_for(64, 200) == (3, 0.3)
    assert cfg.shape_for(224, 224) == (9, 0.06)
    assert cfg.border == "zero"
    assert cuda.Config(kernel=9).shape_for(32, 32) == pytest.approx((9, 0.06))
    assert cuda.Config(kernel=3).shape_for(224, 224) == pytest.approx((3, 0.3))


def test_class_filters_have_one_tap_of_one_and_the_rest_below_the_blur() -> None:
    positions = set()
    for i in range(60):
        kernel, spot = cuda.class_filter(KEY, f"class {i}", 0, 3, 0.3, False)
        assert kernel[spot] == 1
        assert np.sort(kernel.ravel())[-2] < 0.3
        assert kernel.min() >= 0
        positions.add(spot)
    assert len(positions) == 9
    binary, spot = cuda.class_filter(KEY, "cat", 0, 9, 0.06, True)
    assert set(np.unique(binary)) == {np.float32(0), np.float32(0.06), np.float32(1)}
    assert 20 < (binary > 0).sum() < 60


def slow_keyed(image: np.ndarray, item: Item, draw: int, cfg: cuda.Config) -> np.ndarray:
    """Keyed mode for one image with a plain padded sum, float64."""
    c, h, w = image.shape
    k, blur = cfg.shape_for(h, w)
    kernel, spot = cuda.class_filter(KEY, str(item.label), draw, k, blur, True)
    raw = KEY.stream("protect/cuda/item", item.id).uniform(2 + k * k)
    moved = (int(raw[0] * k), int(raw[1] * k))
    noise = raw[2:].reshape(k, k) * cfg.jitter * blur
    noise[moved] = 0
    mode = "reflect" if cfg.border == "reflect" else "constant"
    grown = np.pad(image.astype(np.float64), ((0, 0), (k, k), (k, k)), mode=mode)
    out = np.zeros((c, h, w))
    for taps, (row, col) in ((kernel.astype(np.float64), spot), (noise, moved)):
        for i in range(k):
            for j in range(k):
                top, left = k + i - row, k + j - col
                out += taps[i, j] * grown[:, top : top + h, left : left + w]
    return out / (kernel.sum(dtype=np.float64) + noise.sum())


@pytest.mark.parametrize("border", ["zero", "reflect"])
@pytest.mark.parametrize(("h", "w"), [(8, 9), (1, 1), (1, 7), (2, 3), (150, 130)])
def test_keyed_mode_equals_its_oracle(border: str, h: int, w: int) -> None:
    cfg = cuda.Config(border=border)  # type: ignore[arg-type]
    batch, refs = images(4, h, w), items(4)
    state = cuda.prepare(summary(*CLASSES), KEY, cfg)
    fast = cuda.apply(state, batch, refs, KEY, cfg)
    for image, item, result in zip(batch, refs, fast, strict=True):
        oracle = slow_keyed(image, item, state["draws"][item.label], cfg)
        np.testing.assert_allclose(result, oracle, atol=2e-5)


@pytest.mark.parametrize("mode", ["keyed", "paper"])
def test_black_flat_and_white_images(mode: str) -> None:
    cfg = cuda.Config(mode=mode)  # type: ignore[arg-type]
    batch = np.zeros((3, 3, 6, 6), np.float32)
    batch[1], batch[2] = 0.5, 1.0
    out = cuda.apply(cuda.prepare(summary(*CLASSES), KEY, cfg), batch, items(3), KEY, cfg)
    assert out[0].max() == 0
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
    if mode == "paper":
        assert out[1].max() == pytest.approx(1)
    else:
        np.testing.assert_allclose(out[1, :, 2:-2, 2:-2], 0.5, atol=1e-5)  # away from the dark border


@pytest.mark.parametrize("mode", ["keyed", "paper"])
def test_bytes_do_not_depend_on_batch_or_order(mode: str) -> None:
    cfg = cuda.Config(mode=mode)  # type: ignore[arg-type]
    batch, refs = images(7), items(7)
    state = cuda.prepare(summary(*CLASSES), KEY, cfg)
    whole = to_uint8(cuda.apply(state, batch, refs, KEY, cfg))
    singles = [to_uint8(cuda.apply(state, batch[i : i + 1], refs[i : i + 1], KEY, cfg))[0] for i in range(7)]
    backwards = to_uint8(cuda.apply(state, batch[::-1].copy(), refs[::-1], KEY, cfg))[::-1]
    np.testing.assert_array_equal(whole, np.stack(singles))
    np.testing.assert_array_equal(whole, backwards)


def test_other_key_other_filters_and_same_key_same_filters() -> None:
    cfg = cuda.Config()
    batch, refs = images(3), items(3)
    state = cuda.prepare(summary(*CLASSES), KEY, cfg)
    again = cuda.apply(state, batch, refs, Key.from_bytes(bytes(range(32))), cfg)
    other = cuda.apply(state, batch, refs, Key.from_bytes(bytes(32)), cfg)
    np.testing.assert_array_equal(cuda.apply(state, batch, refs, KEY, cfg), again)
    assert not np.allclose(again, other, atol=0.01)


def test_extending_keeps_the_filters_of_known_classes() -> None:
    cfg = cuda.Config()
    first = cuda.prepare(summary("cat", "ship"), KEY, cfg)
    grown = cuda.prepare(summary("ant", "cat", "dog", "ship"), KEY, cfg, first)
    assert {k: grown["draws"][k] for k in ("cat", "ship")} == first["draws"]
    assert set(grown["draws"]) == {"ant", "cat", "dog", "ship"}
    batch, refs = images(2), [Item("0" * 20, "a", "cat"), Item("1" * 20, "b", "ship")]
    np.testing.assert_array_equal(
        cuda.apply(first, batch, refs, KEY, cfg), cuda.apply(grown, batch, refs, KEY, cfg)
    )


def vectors_of(state: dict[str, dict[str, int]], binary: bool) -> np.ndarray:
    kernels = [cuda.class_filter(KEY, n, d, 3, 0.3, binary)[0] for n, d in state["draws"].items()]
    return signature(np.stack(kernels))


def test_near_identical_filters_are_rejected() -> None:
    cfg = cuda.Config(separation=0.12, candidates=1, taps="uniform")
    names = [f"class {i}" for i in range(40)]

    def closest(state: dict[str, dict[str, int]]) -> float:
        vectors = vectors_of(state, False)
        return min(
            float(nearest_distance(v[None], np.delete(vectors, i, 0))[0]) for i, v in enumerate(vectors)
        )

    assert closest(cuda.prepare(summary(*names), KEY, cfg.model_copy(update={"separation": 0.0}))) < 0.12
    assert closest(cuda.prepare(summary(*names), KEY, cfg)) >= 0.12


def test_no_class_is_left_without_a_filter() -> None:
    names = [f"class {i}" for i in range(10)]
    for number in range(30):  # every second of these keys drew a class whose taps were all zero
        key = Key.from_bytes(bytes([number]) * 32, "test")
        state = cuda.prepare(summary(*names), key, cuda.Config())
        drawn = [cuda.class_filter(key, n, state["draws"][n], 3, 0.3, True)[0] for n in names]
        assert all(taps.sum() > 1 for taps in drawn)
        assert np.linalg.norm(signature(np.stack(drawn)), axis=1).min() >= cuda.Config().separation


def test_selection_takes_the_set_with_the_lowest_attraction_entropy() -> None:
    def entropy(candidates: int) -> float:
        state = cuda.prepare(summary(*CLASSES), KEY, cuda.Config(candidates=candidates))
        return attraction_entropy(np.linalg.norm(vectors_of(state, True), axis=1))

    values = [entropy(n) for n in (1, 4, 16)]
    assert values[0] >= values[1] >= values[2]
    assert values[2] < values[0]


@pytest.mark.parametrize("mode", ["keyed", "paper"])
@pytest.mark.parametrize(("h", "w"), [(32, 32), (45, 31), (140, 150)])
def test_undo_from_eight_bits_reaches_thirty_decibels(mode: str, h: int, w: int) -> None:
    rng = np.random.default_rng(5)
    u = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None])
    u[0, 0] = np.inf
    natural = np.fft.ifft2(np.fft.fft2(rng.normal(size=(4, 3, h, w))) / u).real
    stored = to_uint8((0.5 + 0.15 * natural / natural.std()).clip(0, 1).astype(np.float32))
    cfg, refs = cuda.Config(mode=mode), items(4)  # type: ignore[arg-type]
    state = cuda.prepare(summary(*CLASSES), KEY, cfg)
    batch = to_float(stored)
    published = to_float(to_uint8(cuda.apply(state, batch, refs, KEY, cfg)))
    extras = cuda.extras(state, batch, refs, KEY, cfg)
    back = to_uint8(cuda.invert(state, published, refs, KEY, cfg, extras))
    error = (back.astype(float) - stored) ** 2
    # Paper mode shifts by up to k//2 pixels and loses what leaves the frame: judged inside.
    m = 5 if mode == "paper" else 0
    inside = error[:, m : h - m, m : w - m].reshape(4, -1).mean(1)
    assert (10 * np.log10(255**2 / inside)).min() >= 30
    wrong = to_uint8(cuda.invert(state, published, refs, Key.from_bytes(bytes(32)), cfg, extras))
    assert ((wrong.astype(float) - stored) ** 2).mean() > 10 * inside.mean()


def test_missing_and_unknown_classes_are_listed() -> None:
    cfg = cuda.Config()
    state = cuda.prepare(summary("cat"), KEY, cfg)
    refs = [Item("0" * 20, "a.png", None), Item("1" * 20, "b.png", "dog"), Item("2" * 20, "c.png", "cat")]
    with pytest.raises(DataError) as caught:
        cuda.apply(state, images(3), refs, KEY, cfg)
    assert caught.value.items == ("a.png", "b.png")
    for way in ("one folder per class", "metadata.csv", "--labels"):
        assert way in str(caught.value.fix)


def test_bad_arrays_and_options_are_refused() -> None:
    cfg = cuda.Config()
    state = cuda.prepare(summary(*CLASSES), KEY, cfg)
    with pytest.raises(DataError):
        cuda.apply(state, images(1) * 2, items(1), KEY, cfg)
    with pytest.raises(DataError):
        cuda.apply(state, images(1).astype(np.float64), items(1), KEY, cfg)
    with pytest.raises(ValidationError, match="odd"):
        cuda.Config(kernel=4)
    with pytest.raises(ValidationError):
        cuda.Config(blurr=0.1)  # type: ignore[call-arg]


def test_state_is_plain_json_without_secrets() -> None:
    state = cuda.prepare(summary(*CLASSES), KEY, cuda.Config())
    text = json.dumps(state)
    assert json.loads(text) == state
    assert KEY.export_secret().hex() not in text
