"""Squeezes against slow versions, one pixel at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn, idctn

from noli.ops.squeeze import (
    bit_depth,
    dct_lowpass,
    gaussian_blur,
    masked_median,
    median_blur,
    resize_and_back,
)

SHAPES = [(2, 9, 7, 3), (2, 6, 8, 1), (1, 1, 1, 3), (1, 1, 5, 1), (0, 8, 8, 3)]
ALL = [
    lambda x: bit_depth(x, 2),
    lambda x: gaussian_blur(x, 1.0),
    median_blur,
    masked_median,
    lambda x: dct_lowpass(x, 0.5),
    resize_and_back,
]


def pictures(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", ALL)
def test_shape_type_and_input_stay_and_flat_images_do(change, shape):
    x = pictures(shape)
    before = x.copy()
    out = change(x)
    assert (out.shape, out.dtype) == (x.shape, np.uint8)
    assert np.array_equal(x, before)
    flat = np.full((1, 6, 5, shape[3]), 255, np.uint8)
    assert np.array_equal(change(flat), flat)


@pytest.mark.parametrize("bits", range(1, 9))
def test_bit_depth_equals_exact_fractions(bits):
    from fractions import Fraction

    top = 2**bits - 1
    out = bit_depth(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), bits).ravel()
    for value in range(256):
        level = math.floor(Fraction(value * top, 255) + Fraction(1, 2))
        assert out[value] == math.floor(Fraction(level * 255, top) + Fraction(1, 2))
    assert len(set(out)) == 2**bits


def neighbourhood(image, row, column, reach):
    h, w = image.shape
    return [
        [image[min(max(row + i, 0), h - 1), min(max(column + j, 0), w - 1)] for j in range(-reach, reach + 1)]
        for i in range(-reach, reach + 1)
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.6, 1.0])
def test_blur_equals_weighted_sums(shape, sigma):
    x = pictures(shape)
    reach = int(3 * sigma + 0.5)
    g = np.array([math.exp(-(i**2) / (2 * sigma**2)) for i in range(-reach, reach + 1)])
    kernel = np.outer(g, g) / g.sum() ** 2
    out = gaussian_blur(x, sigma)
    for n, r, c, k in np.ndindex(x.shape):
        value = (kernel * np.array(neighbourhood(x[n, :, :, k], r, c, reach), float)).sum()
        assert abs(out[n, r, c, k] - value) <= 0.51


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [3, 5])
def test_median_equals_sorting(shape, side):
    x = pictures(shape)
    out = median_blur(x, side)
    for n, r, c, k in np.ndindex(x.shape):
        values = sorted(np.array(neighbourhood(x[n, :, :, k], r, c, side // 2)).ravel())
        assert out[n, r, c, k] == values[len(values) // 2]


@settings(max_examples=25, deadline=None)
@given(
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    c=st.sampled_from([1, 3]),
    share=st.sampled_from([0.1, 0.25, 0.6]),
)
def test_masked_median_replaces_the_pixels_that_differ_most(h, w, c, share):
    x = pictures((2, h, w, c), 3)
    smooth, out = median_blur(x), masked_median(x, share)
    for n in range(2):
        places = list(np.ndindex(h, w))
        differ = {
            p: max(abs(int(a) - int(b)) for a, b in zip(smooth[n][p], x[n][p], strict=True)) for p in places
        }
        allowed = max(m for m in range(len(places) + 1) if m <= share * (len(places) - 1) + 1e-9)
        ranked = sorted(places, key=differ.__getitem__, reverse=True)
        limit = differ[ranked[allowed]]
        for p in places:
            assert np.array_equal(out[n][p], smooth[n][p] if differ[p] > limit else x[n][p])


def test_masked_median_of_nothing_is_nothing():
    assert masked_median(pictures((0, 4, 4, 3), 0)).shape == (0, 4, 4, 3)


@settings(max_examples=25, deadline=None)
@given(h=st.integers(1, 9), w=st.integers(1, 9), keep=st.floats(0.05, 1), seed=st.integers(0, 99))
def test_lowpass_equals_the_dct_of_one_channel_at_a_time(h, w, keep, seed):
    x = pictures((2, h, w, 3), seed)
    out = dct_lowpass(x, keep)
    for n in range(2):
        for k in range(3):
            spectrum = dctn(x[n, :, :, k].astype(float), norm="ortho")
            spectrum[math.ceil(keep * h) :] = 0
            spectrum[:, math.ceil(keep * w) :] = 0
            slow = np.clip(idctn(spectrum, norm="ortho"), 0, 255)
            assert np.abs(out[n, :, :, k] - slow).max() <= 0.51


def area_row(size, small):
    """Weights ``[small, size]``: every small pixel is the mean of what it covers."""
    width = size / small
    cover = np.zeros((small, size))
    for i in range(small):
        for j in range(size):
            cover[i, j] = max(0.0, min((i + 1) * width, j + 1) - max(i * width, j)) / width
    return cover


def linear_row(small, size):
    """Weights ``[size, small]`` of bilinear enlargement with pixel centres, edges repeated."""
    weights = np.zeros((size, small))
    for j in range(size):
        place = (j + 0.5) * small / size - 0.5
        low = math.floor(place)
        for cell, weight in ((low, 1 - (place - low)), (low + 1, place - low)):
            weights[j, min(max(cell, 0), small - 1)] += weight
    return weights


@settings(max_examples=25, deadline=None)
@given(h=st.integers(1, 9), w=st.integers(1, 9), scale=st.sampled_from([0.5, 0.34]), seed=st.integers(0, 99))
def test_resize_equals_area_means_and_linear_weights(h, w, scale, seed):
    x = pictures((1, h, w, 3), seed)
    small_h, small_w = max(1, int(h * scale)), max(1, int(w * scale))
    rows = linear_row(small_h, h) @ area_row(h, small_h)
    columns = linear_row(small_w, w) @ area_row(w, small_w)
    out = resize_and_back(x, scale)
    for k in range(3):
        assert np.abs(out[0, :, :, k] - rows @ x[0, :, :, k].astype(float) @ columns.T).max() <= 0.51
