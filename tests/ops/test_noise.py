from __future__ import annotations

import numpy as np
import pytest

from noli.core.dataset import Item
from noli.core.key import Key
from noli.ops.noise import add, keyed_normals, scale_l2, scale_linf

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


@pytest.mark.parametrize("count", [1, 2, 7])
def test_keyed_normals_are_those_of_the_streams(key: Key, count: int) -> None:
    items = [Item(f"{i:020x}", str(i)) for i in range(3)]
    rows = keyed_normals(key, "test/noise", items, count)
    for item, row in zip(items, rows, strict=True):
        np.testing.assert_array_equal(row, key.stream("test/noise", item.id).normal(count))
