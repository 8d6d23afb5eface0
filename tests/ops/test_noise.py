from __future__ import annotations

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.key import Key
from noli.ops.noise import add, keyed_normals, resize, scale_l2, scale_linf

SHAPES = [(3, 3, 8, 9), (2, 1, 1, 1), (0, 3, 4, 4), (4, 3, 1, 7)]


def drawn(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_image_gets_the_norm(shape: tuple[int, ...]) -> None:
    noise = drawn(shape)
    long, high = scale_l2(noise, 1.3), scale_linf(noise, 0.03)
    assert long.dtype == high.dtype == np.float32
    for one, two, raw in zip(long, high, noise, strict=True):
        np.testing.assert_allclose(one, raw / np.sqrt((raw**2).sum()) * 1.3, rtol=1e-6)
        np.testing.assert_allclose(two, raw / np.abs(raw).max() * 0.03, rtol=1e-6)


def test_noise_of_zeros_stays_zero() -> None:
    noise = np.zeros((2, 3, 4, 4))
    noise[1] = 5
    assert scale_l2(noise, 1.0)[0].max() == scale_linf(noise, 1.0)[0].max() == 0
    assert np.isfinite(scale_l2(noise, 1.0)).all()


@pytest.mark.parametrize("scale", [scale_l2, scale_linf])
def test_scaling_does_not_depend_on_batch_or_memory_order(scale: object) -> None:
    assert callable(scale)
    noise = drawn((5, 3, 17, 11))
    whole = scale(noise, 1.0)
    for i in range(5):
        np.testing.assert_array_equal(scale(noise[i : i + 1], 1.0)[0], whole[i])
    channels_last = np.ascontiguousarray(noise.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(scale(channels_last, 1.0), whole)


def test_add_clips_and_leaves_its_input_alone() -> None:
    batch = np.full((1, 3, 2, 2), 0.9, np.float32)
    noise = np.array([-1.0, 0.05, 0.5]).reshape(1, 3, 1, 1) * np.ones((1, 3, 2, 2))
    out = add(batch, noise)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[0, :, 0, 0], [0, 0.95, 1], rtol=1e-6)
    assert (batch == np.float32(0.9)).all()


def slow_resize(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with aligned pixel centres and repeated borders, pixel by pixel."""
    h, w = plane.shape
    out = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = min(int(y), max(h - 2, 0)), min(int(x), max(w - 2, 0))
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            dy, dx = y - top, x - left
            upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
            lower = plane[below, left] * (1 - dx) + plane[below, right] * dx
            out[i, j] = upper * (1 - dy) + lower * dy
    return out


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 4, 5), (9, 7)), ((1, 1, 1, 1), (3, 2)), ((1, 3, 8, 8), (3, 5))]
)
def test_resize_equals_its_oracle(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    noise = drawn(shape)
    fast = resize(noise, *size)
    assert fast.shape == (*shape[:2], *size)
    for image, made in zip(noise, fast, strict=True):
        for plane, result in zip(image, made, strict=True):
            np.testing.assert_allclose(result, slow_resize(plane, *size), atol=1e-5)


def test_resize_to_the_same_size_and_of_nothing() -> None:
    noise = drawn((2, 3, 6, 5))
    np.testing.assert_allclose(resize(noise, 6, 5), noise, rtol=1e-6)
    assert resize(noise[:0], 3, 4).shape == (0, 3, 3, 4)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_keyed_normals_are_those_of_the_streams(key: Key, count: int) -> None:
    items = [Item(f"{i:020x}", str(i)) for i in range(3)]
    rows = keyed_normals(key, "test/noise", items, count)
    for item, row in zip(items, rows, strict=True):
        np.testing.assert_array_equal(row, key.stream("test/noise", item.id).normal(count))
