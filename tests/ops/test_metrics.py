"""Metrics against slow oracles written from the definitions, one pixel at a time."""

from __future__ import annotations

import cmath
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError
from noli.ops import metrics

DTYPES = (np.uint8, np.uint16)


def picture(seed: int, h: int = 9, w: int = 11, c: int = 3, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, (h, w, c), endpoint=True).astype(dtype)


def slow_psnr(a: np.ndarray, b: np.ndarray) -> float:
    peak = int(np.iinfo(a.dtype).max)
    total = sum((int(x) - int(y)) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True))
    return math.inf if total == 0 else 20 * math.log10(peak) - 10 * math.log10(total / a.size)


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over channels and over all windows lying inside the picture, sample covariance."""
    peak = float(np.iinfo(a.dtype).max)
    side = min(7, a.shape[0], a.shape[1])
    side = side if side % 2 else side - 1
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for c in range(a.shape[2]):
        for i in range(a.shape[0] - side + 1):
            for j in range(a.shape[1] - side + 1):
                x = a[i : i + side, j : j + side, c].astype(float).ravel()
                y = b[i : i + side, j : j + side, c].astype(float).ravel()
                ddof = 1 if side > 1 else 0
                vx, vy = x.var(ddof=ddof), y.var(ddof=ddof)
                cov = float(np.sum((x - x.mean()) * (y - y.mean())) / (len(x) - ddof))
                top = (2 * x.mean() * y.mean() + c1) * (2 * cov + c2)
                values.append(top / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


@given(st.integers(0, 10**6), st.sampled_from(DTYPES), st.sampled_from([1, 3]))
@settings(max_examples=25, deadline=None)
def test_psnr_and_linf_match_the_oracles(seed: int, dtype: type, channels: int) -> None:
    a, b = picture(seed, 4, 5, channels, dtype), picture(seed + 1, 4, 5, channels, dtype)
    assert metrics.psnr(a, b) == pytest.approx(slow_psnr(a, b), abs=1e-9)
    expected = max(abs(int(x) - int(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True))
    assert metrics.linf(a, b) == expected
    assert metrics.linf(b, a) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(9, 12), (7, 7), (6, 20), (5, 5), (3, 4), (2, 9), (1, 1)])
def test_ssim_matches_the_oracle_down_to_one_pixel(size: tuple[int, int], channels: int, dtype: type) -> None:
    a = picture(3, *size, channels, dtype)
    b = np.clip(a.astype(int) // 2 + 20, 0, np.iinfo(dtype).max).astype(dtype)
    assert metrics.ssim(a, b) == pytest.approx(slow_ssim(a, b), abs=1e-9)
    assert metrics.ssim(a, a) == pytest.approx(1.0)


def test_ssim_of_sixteen_bits_equals_that_of_eight_bits_scaled() -> None:
    a, b = picture(1), picture(2)
    wide = metrics.ssim(a.astype(np.uint16) * 257, b.astype(np.uint16) * 257)
    assert wide == pytest.approx(metrics.ssim(a, b), abs=1e-9)


def test_identical_images_become_null_in_json_and_identical_in_words() -> None:
    a = picture(5)
    assert metrics.psnr(a, a.copy()) == math.inf
    assert json.dumps(metrics.finite(metrics.psnr(a, a))) == "null"
    assert metrics.finite(31.25) == 31.25
    assert metrics.in_words(None) == metrics.in_words(math.inf) == "identical"
    assert metrics.in_words(31.25) == "31.2 dB"


def test_linf_does_not_wrap_around() -> None:
    a, b = np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1), 255, np.uint8)
    assert metrics.linf(a, b) == metrics.linf(b, a) == 255
    assert metrics.psnr(a, b) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (picture(1, 4, 4), picture(1, 4, 5), "cannot be compared"),
        (picture(1, 4, 4), picture(1, 4, 4, dtype=np.uint16), "cannot be compared"),
        (picture(1, 4, 4).astype(np.float32), picture(1, 4, 4), "uint8 or uint16"),
        (picture(1, 4, 4)[..., 0], picture(1, 4, 4)[..., 0], "uint8 or uint16"),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
    ],
)
@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim, metrics.linf])
def test_wrong_inputs_are_typed_errors(measure: object, a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        measure(a, b)  # type: ignore[operator]


def slow_spectrum(image: np.ndarray) -> np.ndarray:
    """Discrete Fourier transform by its sum, centred by hand."""
    h, w = image.shape[:2]
    grey = image.astype(float).mean(axis=2) / np.iinfo(image.dtype).max
    grey -= grey.mean()
    out = np.zeros((h, w), np.uint8)
    for u in range(h):
        for v in range(w):
            wave = sum(
                grey[y, x] * cmath.exp(-2j * math.pi * (u * y / h + v * x / w))
                for y in range(h)
                for x in range(w)
            )
            level = (math.log10(abs(wave) / math.sqrt(h * w) + 1e-3) + 3.0) / 4.0
            out[(u + h // 2) % h, (v + w // 2) % w] = int(min(max(level, 0.0), 1.0) * 255 + 0.5)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("h", "w", "c"), [(6, 6, 3), (5, 7, 1), (1, 1, 3)])
def test_spectrum_matches_the_sum(h: int, w: int, c: int, dtype: type) -> None:
    image = picture(4, h, w, c, dtype)
    got = metrics.spectrum(image)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - slow_spectrum(image).astype(int)).max() <= 1


def test_spectrum_of_a_flat_image_is_black_and_of_stripes_has_two_points() -> None:
    assert metrics.spectrum(np.full((8, 8, 3), 77, np.uint8)).max() == 0
    stripes = np.zeros((16, 16, 1), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 200
    bright = np.argwhere(metrics.spectrum(stripes) > 200)
    assert sorted(map(tuple, bright.tolist())) == [(8, 4), (8, 12)]


@given(st.integers(0, 255), st.integers(0, 255))
def test_difference_is_signed_around_grey_and_times_ten(a: int, b: int) -> None:
    first, second = np.full((1, 2, 3), a, np.uint8), np.full((1, 2, 3), b, np.uint8)
    found = metrics.difference(first, second)
    assert (found.dtype, found.shape) == (np.uint8, (1, 2, 3))
    assert (found == min(255, max(0, 128 + 10 * (b - a)))).all()
    before = np.array([[[100], [100], [100], [0]]], np.uint8)
    after = np.array([[[100], [103], [95], [255]]], np.uint8)
    assert metrics.difference(before, after).ravel().tolist() == [128, 158, 78, 255]


def test_shares_in_words() -> None:
    assert (metrics.percent(0.5338), metrics.percent(None)) == ("53.4 %", "-")
    assert metrics.percent(None, missing="?") == "?"
