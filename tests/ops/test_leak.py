from __future__ import annotations

import numpy as np
import pytest

from noli.core.images import to_float, to_uint8
from noli.ops.filters import filter_batch, rescale_to_max
from noli.ops.leak import estimate_filter, exposure_free_psnr, leak_attack, sizes_for


def smooth_images(n: int, size: int, seed: int) -> np.ndarray:
    """Random images with a natural 1/f spectrum, uint8 [N, S, S, 3]."""
    rng = np.random.default_rng(seed)
    u = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    u[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(n, 3, size, size))) / u
    spectrum[..., 0, 0] = 0
    images = np.fft.ifft2(spectrum).real
    images = 0.5 + 0.15 * images / images.std(axis=(1, 2, 3), keepdims=True)
    return to_uint8(np.clip(images, 0, 1).astype(np.float32))


def class_filtered(clean: np.ndarray, labels: np.ndarray, kernels: np.ndarray, border: str) -> np.ndarray:
    filtered = filter_batch(to_float(clean), kernels[labels], border)  # type: ignore[arg-type]
    return to_uint8(rescale_to_max(filtered))


@pytest.fixture
def kernels() -> np.ndarray:
    rng = np.random.default_rng(1)
    made = rng.uniform(0, 0.3, (2, 3, 3)).astype(np.float32)
    made[0, 1, 1] = made[1, 0, 2] = 1
    return made


@pytest.mark.parametrize("border", ["zero", "reflect"])
def test_one_pair_gives_the_filter_and_its_border_away(kernels: np.ndarray, border: str) -> None:
    clean = smooth_images(12, 32, seed=0)
    labels = np.arange(12) % 2
    protected = class_filtered(clean, labels, kernels, border)
    for c in (0, 1):
        found = estimate_filter([(clean[c], protected[c])])
        assert found.border == border
        assert found.kernel.shape == (3, 3)
        np.testing.assert_allclose(found.kernel, kernels[c] / kernels[c].sum(), atol=0.01)


def test_attack_restores_other_images_of_plain_class_filters(kernels: np.ndarray) -> None:
    clean = smooth_images(20, 32, seed=2)
    labels = np.arange(20) % 2
    protected = class_filtered(clean, labels, kernels, "zero")
    leak = leak_attack(clean, protected, labels, pairs=1)
    assert leak.gain > 8
    assert leak.restored.shape == clean.shape
    assert leak.restored.dtype == np.uint8


@pytest.mark.parametrize("sizes", [(9, 1), (1, 1)])
def test_a_class_of_one_image_leaks_it_and_is_restored_too(
    kernels: np.ndarray, sizes: tuple[int, int]
) -> None:
    labels = np.repeat([0, 1], sizes)
    clean = smooth_images(len(labels), 32, seed=6)
    protected = class_filtered(clean, labels, kernels, "zero")
    leak = leak_attack(clean, protected, labels, pairs=1)
    assert leak.gain > 8 if sizes[0] > 1 else leak.gain == 0
    better = exposure_free_psnr(clean, leak.restored, 2) - exposure_free_psnr(clean, protected, 2)
    assert better.min() > 3


def test_large_filters_leak_too() -> None:
    rng = np.random.default_rng(5)
    large = rng.uniform(0, 0.06, (2, 11, 11)).astype(np.float32)
    large[:, 5, 5] = 1
    clean, labels = smooth_images(12, 64, seed=3), np.arange(12) % 2
    protected = class_filtered(clean, labels, large, "zero")
    found = estimate_filter([(clean[0], protected[0])])
    assert found.kernel.shape == (15, 15)
    np.testing.assert_allclose(found.kernel, np.pad(large[0] / large[0].sum(), 2), atol=0.02)
    assert sizes_for(32, 500) == (3, 5, 9)
    assert sizes_for(124, 130) == (3, 5, 9, 15, 31)


def test_attack_gains_nothing_on_unprotected_images() -> None:
    clean = smooth_images(12, 24, seed=4)
    leak = leak_attack(clean, clean, np.arange(12) % 3)
    assert leak.gain <= 0.1


def test_exposure_free_psnr_ignores_brightness_and_margin() -> None:
    clean = smooth_images(2, 16, seed=5)
    darker = (clean // 2).astype(np.uint8)
    assert exposure_free_psnr(clean, darker).min() > 45
    broken = clean.copy()
    broken[:, 0] = 0
    assert exposure_free_psnr(clean, broken, margin=1).min() == pytest.approx(100)
    assert exposure_free_psnr(clean, broken).max() < 40
