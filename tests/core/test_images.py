import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from noli.core.errors import DataError
from noli.core.images import check_images, to_float, to_uint8, to_uint16

SHAPES = st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3]))


def stored(dtype: type) -> st.SearchStrategy[npt.NDArray[np.generic]]:
    return SHAPES.flatmap(lambda shape: hnp.arrays(dtype, shape))


WORKING = SHAPES.flatmap(
    lambda s: hnp.arrays(np.float32, (s[0], s[3], s[1], s[2]), elements=st.floats(-2, 2, width=32))
)


def slow_level(value: float, top: int) -> int:
    """Round half up and clamp, in exact arithmetic."""
    return min(max(math.floor(Fraction(value) * top + Fraction(1, 2)), 0), top)


# ---------------------------------------------------------------------- to_float


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_every_level_is_in_range_close_and_comes_back(dtype: type, top: int) -> None:
    levels = np.arange(top + 1, dtype=dtype).reshape(1, 16, -1, 1)
    working = to_float(levels)
    assert working.dtype == np.float32
    assert working.min() == 0.0
    assert working.max() == 1.0
    np.testing.assert_allclose(working.ravel(), np.arange(top + 1) / top, rtol=2e-7, atol=0)
    assert np.all(np.diff(working.ravel()) > 0)
    back = (to_uint8 if dtype is np.uint8 else to_uint16)(working)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, levels)


@given(st.one_of(stored(np.uint8), stored(np.uint16)))
def test_to_float_equals_one_by_one(images: npt.NDArray[np.generic]) -> None:
    working = to_float(images)
    n, h, w, c = images.shape
    assert working.shape == (n, c, h, w)
    scale = np.float32(1 / np.iinfo(images.dtype).max)
    for i, y, x, k in np.ndindex(n, h, w, c):
        assert working[i, k, y, x] == np.float32(images[i, y, x, k]) * scale
    check_images(working)


@given(stored(np.uint8), st.data())
def test_round_trip_of_views(images: npt.NDArray[np.uint8], data: st.DataObject) -> None:
    view = images[:, ::-1, :: data.draw(st.sampled_from([1, -1, 2]))]
    before = view.copy()
    np.testing.assert_array_equal(to_uint8(to_float(view)), view)
    np.testing.assert_array_equal(view, before)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((1, 2, 2, 3), np.float32),
        np.zeros((1, 2, 2, 3), np.int64),
        np.zeros((1, 2, 2, 3), bool),
        np.zeros((2, 2, 3), np.uint8),
        np.zeros((2, 2), np.uint8),
        np.zeros((1, 1, 2, 2, 3), np.uint8),
    ],
)
def test_to_float_refuses(bad: npt.NDArray[np.generic]) -> None:
    with pytest.raises(DataError, match=r"\[N, H, W, C\]") as caught:
        to_float(bad)
    assert str(bad.dtype) in str(caught.value)
    assert str(bad.shape) in str(caught.value)


# ---------------------------------------------------------------------- to_uint8, to_uint16


@pytest.mark.parametrize(("convert", "top"), [(to_uint8, 255), (to_uint16, 65535)])
@given(working=WORKING)
def test_levels_equal_slow(convert: object, top: int, working: npt.NDArray[np.float32]) -> None:
    before = working.copy()
    got = convert(working)  # type: ignore[operator]
    n, c, h, w = working.shape
    assert got.shape == (n, h, w, c)
    for i, y, x, k in np.ndindex(n, h, w, c):
        value = float(working[i, k, y, x])
        # float32 places the scaled value within an ulp of the true one: only exact halves may differ.
        near = {slow_level(value * (1 + d) + d * 1e-6, top) for d in (-2e-7, 0, 2e-7)}
        assert int(got[i, y, x, k]) in near
    np.testing.assert_array_equal(working, before)


@pytest.mark.parametrize(("convert", "top"), [(to_uint8, 255), (to_uint16, 65535)])
def test_rounds_half_up_and_clamps(convert: object, top: int) -> None:
    for dyadic, level in [
        (0.5, (top + 1) // 2),
        (0.0, 0),
        (1.0, top),
        (-0.5, 0),
        (1.5, top),
        (-1e30, 0),
        (1e30, top),
    ]:
        images = np.full((1, 3, 2, 2), dyadic, np.float32)
        assert np.all(convert(images) == level)  # type: ignore[operator]


def test_half_is_up_not_to_even() -> None:
    # 127.5 is the only half that a binary fraction reaches exactly (and both rules round it to 128), so
    # take the values whose float32 product with 255 is a half.
    halves = [(k, np.float32((k + 0.5) / 255)) for k in range(255)]
    hits = [(k, v) for k, v in halves if v * np.float32(255) == k + 0.5]
    assert sum(k % 2 == 0 for k, _ in hits) > 50  # where rounding to even would go down
    got = to_uint8(np.array([v for _, v in hits], np.float32).reshape(1, 1, 1, -1))
    assert got.ravel().tolist() == [k + 1 for k, _ in hits]


@given(WORKING)
def test_result_does_not_depend_on_memory_order(working: npt.NDArray[np.float32]) -> None:
    channels_last = np.ascontiguousarray(working.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(to_uint8(working), to_uint8(channels_last))
    np.testing.assert_array_equal(to_uint16(working), to_uint16(channels_last))


@given(WORKING)
def test_quantising_is_idempotent(working: npt.NDArray[np.float32]) -> None:
    once = to_uint8(working)
    np.testing.assert_array_equal(to_uint8(to_float(once)), once)


# ---------------------------------------------------------------------- check_images


@given(WORKING)
def test_door_accepts_exactly_unit_range(working: npt.NDArray[np.float32]) -> None:
    fine = all(0.0 <= float(v) <= 1.0 for v in working.ravel())
    if fine:
        check_images(working)
    else:
        with pytest.raises(DataError, match=r"\[0, 1\]"):
            check_images(working)
    check_images(np.clip(working, 0, 1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.0000001, -1e-8])
def test_door_refuses_one_bad_value(value: float) -> None:
    working = np.full((2, 3, 4, 5), 0.5, np.float32)
    working[1, 2, 3, 4] = value
    with pytest.raises(DataError, match="finite") as caught:
        check_images(working, where="cat/1.png")
    assert caught.value.where == "cat/1.png"


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 4, 4, 4), (1, 0, 4, 4), (3, 4, 4), (4, 4)])
def test_door_refuses_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="1 or 3 channels"):
        check_images(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8])
def test_door_refuses_dtypes(dtype: type) -> None:
    with pytest.raises(DataError, match="float32"):
        check_images(np.zeros((1, 3, 2, 2), dtype))


def test_door_and_empty_sizes() -> None:
    check_images(np.zeros((0, 3, 4, 4), np.float32))
    for shape in [(1, 3, 0, 4), (1, 3, 4, 0), (0, 1, 0, 0)]:
        with pytest.raises(DataError, match="no pixels"):
            check_images(np.zeros(shape, np.float32))
