"""The image contract: two representations, the converters between them, one door check.

Stored images are ``uint8 [N, H, W, C]`` (``uint16`` for 16-bit sources), C in {1, 3}.
Working images are ``float32 [N, C, H, W]`` in [0, 1]. A working array made by :func:`to_float` is a
transposed view of channels-last memory, so that image libraries and channels-last networks can use it
without a copy; nothing may rely on the memory order, only on the shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError

Stored = npt.NDArray[Any]
Working = npt.NDArray[np.float32]


def to_float(stored: Stored) -> Working:
    """Convert stored images to working images.

    Args:
        stored: ``uint8`` or ``uint16`` array ``[N, H, W, C]``.

    Returns:
        ``float32 [N, C, H, W]`` in [0, 1].

    Raises:
        DataError: Wrong dtype or number of dimensions.
    """
    if stored.ndim != 4 or stored.dtype not in (np.uint8, np.uint16):
        raise DataError(
            "Stored images must be uint8 or uint16 [N, H, W, C].",
            why=f"got {stored.dtype} with shape {stored.shape}",
            fix="decode with noli.data or convert the array first",
        )
    scale = np.float32(1.0 / np.iinfo(stored.dtype).max)
    working = stored.astype(np.float32)  # two passes: NumPy's buffered mixed-type product is slower
    working *= scale
    return working.transpose(0, 3, 1, 2)


def to_uint8(working: Working) -> npt.NDArray[np.uint8]:
    """Convert working images ``float32 [N, C, H, W]`` to ``uint8 [N, H, W, C]``: clamp, round half up."""
    return _quantise(working, 255).astype(np.uint8)


def to_uint16(working: Working) -> npt.NDArray[np.uint16]:
    """Convert working images ``float32 [N, C, H, W]`` to ``uint16 [N, H, W, C]``: clamp, round half up."""
    return _quantise(working, 65535).astype(np.uint16)


def _quantise(working: Working, top: int) -> Working:
    # Half a level is added after scaling and the cast truncates: round half up, unlike np.rint.
    levels = np.multiply(working.transpose(0, 2, 3, 1), np.float32(top), dtype=np.float32)
    levels += np.float32(0.5)
    return np.clip(levels, 0, top, out=levels)


def check_images(working: Working, *, where: str = "batch") -> None:
    """The door check every method's input and output must pass.

    Args:
        working: Candidate working images.
        where: Name used in the error.

    Raises:
        DataError: Not ``float32 [N, C, H, W]`` with C in {1, 3}, an empty side, values outside [0, 1]
            or not finite.
    """
    if working.dtype != np.float32 or working.ndim != 4 or working.shape[1] not in (1, 3):
        raise DataError(
            "Working images must be float32 [N, C, H, W] with 1 or 3 channels.",
            where=where,
            why=f"got {working.dtype} with shape {working.shape}",
            fix="convert stored images with noli.core.images.to_float",
        )
    if 0 in working.shape[2:]:
        raise DataError("An image has no pixels.", where=where, fix="remove the item")
    if working.size == 0:
        return
    low, high = float(working.min()), float(working.max())
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails too
        raise DataError(
            "Working images must be finite and lie in [0, 1].",
            where=where,
            why=f"found values from {low} to {high}",
            fix="divide by 255 (8 bit) or 65535 (16 bit), or use to_float",
        )
