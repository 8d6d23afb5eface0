"""What each item's record says about its change, with the fast calls of the imaging library."""

from __future__ import annotations

import math

import cv2
import numpy as np

from noli.core.images import Stored


def measure(before: Stored, after: Stored) -> dict[str, float | int | None]:
    """Compare one image before and after.

    Args:
        before: ``uint8`` or ``uint16 [H, W, C]``.
        after: Same shape and dtype, as it is (or will be read back) from disk.

    Returns:
        ``psnr`` in dB (None when identical), ``linf`` in levels of the bit depth, and ``mean_in``, the
        mean of `before` in [0, 1].
    """
    top = int(np.iinfo(before.dtype).max)
    squared = cv2.norm(before, after, cv2.NORM_L2SQR)
    total = sum(cv2.sumElems(before))
    return {
        "psnr": round(10 * math.log10(top * top * before.size / squared), 4) if squared else None,
        "linf": int(cv2.norm(before, after, cv2.NORM_INF)),
        "mean_in": round(total / before.size / top, 6),
    }
