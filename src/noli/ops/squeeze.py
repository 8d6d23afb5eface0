"""Fixed losses of information: image shortcut squeezing (Liu et al. 2023, arXiv 2301.13838).

All functions take and return ``uint8 [N, H, W, C]``, C in {1, 3}; every image by itself, nothing random.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from noli.core.images import to_float, to_uint8
from noli.ops.countermeasures import lowpass_matrix

Images = npt.NDArray[np.uint8]
_BLOCK = 256


def bit_depth(x: Images, bits: int) -> Images:
    """Keep ``2**bits`` equally spaced levels, black and white among them, rounding half up.

    Args:
        x: ``uint8 [N, H, W, C]``.
        bits: 1 .. 8.
    """
    top = 2**bits - 1
    level = (2 * np.arange(256) * top + 255) // 510
    table: Images = ((2 * level * 255 + top) // (2 * top)).astype(np.uint8)
    return table[x]


def gaussian_blur(x: Images, sigma: float) -> Images:
    """Blur with a Gaussian cut off at three standard deviations; edge pixels are repeated outwards.

    Args:
        x: ``uint8 [N, H, W, C]``.
        sigma: Standard deviation in pixels, greater than 0.
    """
    import cv2

    side = 2 * int(3 * sigma + 0.5) + 1
    out = np.empty_like(x)
    for i, image in enumerate(x):
        blurred = cv2.GaussianBlur(
            image.astype(np.float32), (side, side), sigma, borderType=cv2.BORDER_REPLICATE
        )
        out[i] = (blurred.reshape(image.shape) + np.float32(0.5)).astype(np.uint8)
    return out


def median_blur(x: Images, side: int = 3) -> Images:
    """Replace every value by the median of its square neighbourhood; edge pixels are repeated outwards.

    Args:
        x: ``uint8 [N, H, W, C]``.
        side: Side of the square, 3 or 5.
    """
    import cv2

    out = np.empty_like(x)
    for i, image in enumerate(x):
        out[i] = cv2.medianBlur(np.ascontiguousarray(image), side).reshape(image.shape)
    return out


def masked_median(x: Images, share: float = 0.25) -> Images:
    """Take the median of 3 x 3 pixels only where pixels differ most from it: noise on few pixels shows.

    Args:
        x: ``uint8 [N, H, W, C]``.
        share: Share of the pixels of an image that are replaced at most, in (0, 1). A pixel differs as its
            channels do at most; of pixels that differ equally all stay when some have to.
    """
    smooth = median_blur(x)
    differ = np.abs(smooth.astype(np.int16) - x).max(3)
    for image, median, apart in zip(x, smooth, differ, strict=True):
        stays = apart <= np.quantile(apart, 1 - share, method="higher")
        median[stays] = image[stays]
    return smooth


def dct_lowpass(x: Images, keep: float) -> Images:
    """Keep the lowest rows and columns of every image's two-dimensional DCT.

    Args:
        x: ``uint8 [N, H, W, C]``.
        keep: Share of frequencies kept per axis, in (0, 1].
    """
    rows, columns = lowpass_matrix(x.shape[1], keep), lowpass_matrix(x.shape[2], keep)
    out = np.empty_like(x)
    for start in range(0, len(x), _BLOCK):
        low = np.matmul(np.matmul(rows, to_float(x[start : start + _BLOCK])), columns, dtype=np.float32)
        out[start : start + _BLOCK] = to_uint8(low)
    return out


def resize_and_back(x: Images, scale: float = 0.5) -> Images:
    """Shrink by area averaging and enlarge again bilinearly.

    Args:
        x: ``uint8 [N, H, W, C]``.
        scale: Factor of both sides, in (0, 1]; sides are rounded down, to one pixel at least.
    """
    import cv2

    height, width = x.shape[1:3]
    small = max(1, int(width * scale)), max(1, int(height * scale))
    out = np.empty_like(x)
    for i, image in enumerate(x):
        reduced = cv2.resize(image.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        grown = cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)
        out[i] = (grown.reshape(image.shape) + np.float32(0.5)).astype(np.uint8)
    return out
