import math

import cv2
import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from noli.ops.countermeasures import displace, grayscale, jpeg, lowpass_matrix, recompressed, sharpen_lowpass


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=3, c=3, h=10, w=12):
    return np.random.default_rng(0).integers(0, 256, (n, h, w, c), np.uint8)


def smooth(n=4, side=32):
    small = np.random.default_rng(1).integers(0, 256, (n, 5, 5, 3), np.uint8)
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in small])


def psnr(a, b):
    return 10 * math.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def test_grayscale_equals_the_luma_formula_pixel_by_pixel():
    x = pictures()
    out = grayscale(x)
    for index in np.ndindex(x.shape[:3]):
        r, g, b = (float(v) for v in x[index])
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        assert len(set(out[index])) == 1
        assert abs(int(out[index][0]) - luma) <= 0.5 + 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_recompressed_is_jpeg_of_a_quality_drawn_for_every_picture(channels):
    x = pictures(40, channels)
    working = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    out = (recompressed(working, 10, 30, seeded()) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    found = set()
    for before, after in zip(x, out, strict=True):
        fits = [q for q in range(1, 101) if np.array_equal(jpeg(before[None], q)[0], after)]
        assert fits
        found.update(q for q in fits if 10 <= q <= 30)
        assert min(fits) <= 30
        assert max(fits) >= 10
    assert len(found) > 10
    assert recompressed(working[:0], 10, 30, seeded()).shape == (0, channels, 10, 12)


def test_grayscale_keeps_grey_images():
    x = pictures(c=1)
    assert grayscale(x) is x
    flat = np.full((1, 2, 2, 3), 255, np.uint8)
    assert np.array_equal(grayscale(flat), flat)


def test_jpeg_equals_encoding_one_image_at_a_time():
    x = smooth()
    out = jpeg(x, 40)
    for before, after in zip(x, out, strict=True):
        _, data = cv2.imencode(
            ".jpg", cv2.cvtColor(before, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 40]
        )
        assert np.array_equal(after, cv2.cvtColor(cv2.imdecode(data, 1), cv2.COLOR_BGR2RGB))


def test_jpeg_keeps_colours_in_place_and_loses_more_at_lower_quality():
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 220
    assert np.abs(jpeg(red, 90).astype(int) - red).max() < 12
    x = smooth()
    assert psnr(x, jpeg(x, 10)) < psnr(x, jpeg(x, 30)) < psnr(x, jpeg(x, 75))


@pytest.mark.parametrize("shape", [(2, 9, 7, 1), (1, 1, 1, 3), (0, 8, 8, 3)])
def test_jpeg_keeps_shape_and_type(shape):
    x = np.full(shape, 77, np.uint8)
    out = jpeg(x, 10)
    assert out.shape == shape
    assert out.dtype == np.uint8


def slow_sharpen_lowpass(x, kernels, keep):
    out = np.empty_like(x)
    n, channels, h, w = x.shape
    for i in range(n):
        centre, up, down, left, right = kernels[i]
        for c in range(channels):
            p = np.pad(x[i, c], 1, mode="edge")
            sharp = np.empty((h, w))
            for r in range(h):
                for s in range(w):
                    sharp[r, s] = (
                        centre * p[r + 1, s + 1]
                        - up * p[r, s + 1]
                        - down * p[r + 2, s + 1]
                        - left * p[r + 1, s]
                        - right * p[r + 1, s + 2]
                    )
            spectrum = dctn(sharp, norm="ortho")
            spectrum[math.ceil(keep * h) :] = 0
            spectrum[:, math.ceil(keep * w) :] = 0
            out[i, c] = idctn(spectrum, norm="ortho")
    return out


@pytest.mark.parametrize(("shape", "keep"), [((3, 3, 10, 12), 0.3), ((2, 1, 7, 7), 1.0), ((1, 3, 1, 1), 0.3)])
def test_sharpen_lowpass_equals_the_dct_of_one_image_at_a_time(shape, keep):
    x = torch.rand(shape, generator=seeded(4))
    fast = sharpen_lowpass(x, seeded(9), keep=keep).numpy()
    draws, n = seeded(9), shape[0]
    centre = 2.5 + 0.1 * torch.randn(n, generator=draws)
    sides = (centre - 1) / 4 + 0.1 * torch.randn(4, n, generator=draws)
    kernels = torch.cat([centre[None], sides]).T.double().numpy()
    assert np.allclose(fast, slow_sharpen_lowpass(x.double().numpy(), kernels, keep), atol=1e-5)


def test_without_a_generator_the_mean_kernel_is_used():
    x = torch.rand((2, 3, 8, 8), generator=seeded(4))
    kernels = [[2.5, 0.375, 0.375, 0.375, 0.375]] * 2
    expected = slow_sharpen_lowpass(x.double().numpy(), kernels, 0.3)
    assert np.allclose(sharpen_lowpass(x, None).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("size", "keep"), [(32, 0.3), (5, 0.2), (1, 0.3)])
def test_lowpass_matrix_is_a_projection_of_the_right_rank(size, keep):
    p = lowpass_matrix(size, keep)
    assert np.allclose(p, p.T)
    assert np.allclose(p @ p, p, atol=1e-6)
    assert np.linalg.matrix_rank(p) == math.ceil(keep * size)
    assert np.allclose(p @ np.ones(size), 1, atol=1e-6)


def slow_displace(x, shift):
    out = np.zeros_like(x)
    n, _, h, w = x.shape
    for i in range(n):
        for r in range(h):
            for s in range(w):
                y, z = r + shift[i, r, s, 1], s + shift[i, r, s, 0]
                y0, z0 = math.floor(y), math.floor(z)
                for dy in (0, 1):
                    for dz in (0, 1):
                        weight = (1 - abs(y - y0 - dy)) * (1 - abs(z - z0 - dz))
                        out[i, :, r, s] += weight * x[i, :, (y0 + dy) % h, (z0 + dz) % w]
    return out


@pytest.mark.parametrize(("shape", "reach"), [((3, 3, 8, 11), 2.0), ((2, 1, 3, 2), 2.0), ((1, 3, 9, 9), 3.2)])
def test_displace_equals_bilinear_lookup_pixel_by_pixel(shape, reach):
    x = torch.rand(shape, generator=seeded(2))
    n, _, h, w = shape
    shift = (torch.rand(n, h, w, 2, generator=seeded(6)) * 2 - 1) * reach
    fast = displace(x, reach, seeded(6)).numpy()
    assert np.allclose(fast, slow_displace(x.double().numpy(), shift.double().numpy()), atol=1e-4)


def test_displace_is_fresh_every_time_and_keeps_flat_images():
    x, generator = torch.rand((2, 3, 8, 8), generator=seeded(2)), seeded(3)
    assert not torch.equal(displace(x, 2.0, generator), displace(x, 2.0, generator))
    flat = torch.full((1, 3, 8, 8), 0.4)
    assert torch.allclose(displace(flat, 2.0, generator), flat, atol=1e-6)
