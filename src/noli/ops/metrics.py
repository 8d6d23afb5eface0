"""How far two stored images are apart: PSNR, SSIM, largest change, and a picture of the spectrum.

All functions take images **as stored** (``uint8`` or ``uint16 [H, W, C]``, C in {1, 3}), because what is
saved is what a trainer gets; nothing here looks at unrounded working images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError
from noli.core.images import Stored

GAIN = 10  # how much `difference` enlarges
SSIM_WINDOW = 7
# log10 of the orthonormal Fourier magnitude of luminance in [0, 1]; covers rounding noise up to strong edges.
SPECTRUM_RANGE = (-3.0, 1.0)


def psnr(a: Stored, b: Stored) -> float:
    """Peak signal-to-noise ratio in dB.

    Args:
        a: ``uint8`` or ``uint16 [H, W, C]``.
        b: Same shape and dtype.

    Returns:
        Decibels; ``inf`` for identical images (see :func:`finite` for JSON).

    Raises:
        DataError: Shapes or dtypes differ, or are not those of stored images.
    """
    peak = _check(a, b)
    gap = a.astype(np.float64) - b.astype(np.float64)
    error = float(np.mean(gap * gap))
    return math.inf if error == 0.0 else 10.0 * math.log10(peak * peak / error)


def ssim(a: Stored, b: Stored) -> float:
    """Structural similarity (scikit-image, uniform window, channels averaged).

    The window is 7 pixels wide, or the largest odd size that fits a smaller image. For images one or two
    pixels wide it is a single pixel: only brightness can be compared there.

    Args:
        a: ``uint8`` or ``uint16 [H, W, C]``.
        b: Same shape and dtype.

    Returns:
        A value in [-1, 1]; 1.0 for identical images.

    Raises:
        DataError: Shapes or dtypes differ, or are not those of stored images.
    """
    from skimage.metrics import structural_similarity  # half a second to import: only when used

    peak = _check(a, b)
    window = min(SSIM_WINDOW, *a.shape[:2])
    window -= 1 - window % 2
    similarity: Any = structural_similarity  # scikit-image has no types
    value = similarity(
        a,
        b,
        win_size=window,
        data_range=peak,
        channel_axis=-1,
        use_sample_covariance=window > 1,  # a window of one pixel has no n - 1
    )
    return float(value)


def linf(a: Stored, b: Stored) -> int:
    """Largest change of any value, in levels of the stored bit depth (0..255 or 0..65535).

    Args:
        a: ``uint8`` or ``uint16 [H, W, C]``.
        b: Same shape and dtype.

    Returns:
        The largest absolute difference.

    Raises:
        DataError: Shapes or dtypes differ, or are not those of stored images.
    """
    _check(a, b)
    return int(np.max(np.maximum(a, b) - np.minimum(a, b)))


def difference(a: Stored, b: Stored) -> npt.NDArray[np.uint8]:
    """Picture of the signed change from `a` to `b` (``uint8 [H, W, C]``), ten times enlarged around grey."""
    change = b.astype(np.int32) - a.astype(np.int32)
    return np.clip(128 + GAIN * change, 0, 255).astype(np.uint8)


def finite(value: float) -> float | None:
    """Return ``value`` for JSON: None for the infinite PSNR of identical images."""
    return float(value) if math.isfinite(value) else None


def in_words(decibels: float | None) -> str:
    """Return a PSNR for people: ``identical`` for None or infinity, otherwise like ``31.4 dB``."""
    if decibels is None or math.isinf(decibels):
        return "identical"
    return f"{decibels:.1f} dB"


def percent(share: float | None, *, missing: str = "-") -> str:
    """Return a share as text, ``53.4 %``; `missing` for None."""
    return missing if share is None else f"{100 * share:.1f} %"


def spectrum(image: Stored) -> npt.NDArray[np.uint8]:
    """Picture of the Fourier log-magnitude of an image's luminance, low frequencies in the middle.

    The mean is removed and the scale is fixed (:data:`SPECTRUM_RANGE`, orthonormal transform), so that the
    spectra of two images, also of different sizes and bit depths, can be compared by eye.

    Args:
        image: ``uint8`` or ``uint16 [H, W, C]``.

    Returns:
        ``uint8 [H, W]``.

    Raises:
        DataError: Not a stored image.
    """
    peak = _check(image, image)
    luminance = image.astype(np.float64).mean(axis=2) / peak
    waves = np.fft.fftshift(np.fft.fft2(luminance - luminance.mean(), norm="ortho"))
    low, high = SPECTRUM_RANGE
    height = np.log10(np.abs(waves) + 10.0**low)
    levels: npt.NDArray[np.float64] = np.clip((height - low) / (high - low), 0.0, 1.0) * 255.0 + 0.5
    return levels.astype(np.uint8)


def _check(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Return the highest storable value after checking that the two can be compared."""
    for image in (a, b):
        if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or 0 in image.shape:
            raise DataError(
                "Stored images must be uint8 or uint16 [H, W, C] with at least one pixel.",
                why=f"got {image.dtype} with shape {image.shape}",
                fix="decode with noli.data or convert the array first",
            )
    if a.shape != b.shape or a.dtype != b.dtype:
        raise DataError(
            "The two images cannot be compared.",
            why=f"{a.dtype} {a.shape} against {b.dtype} {b.shape}",
            fix="compare images of the same size, channels and bit depth",
        )
    return float(np.iinfo(a.dtype).max)
