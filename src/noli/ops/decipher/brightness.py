"""Pictures brought back without any key where values stay at their places: pixel-based encryption.

A value is negated or not, so that its leading bit is unknown and its distance from the middle is not; and
neighbours are alike. Both attacks see a single picture and nothing else (Chang and Li, arXiv 2004.13263;
Sirichotedumrong and Kiya, arXiv 2010.06198). Taking two neighbours instead of one is ours.

Images ``uint8 [N, H, W, C]``.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError
from noli.ops.decipher.scores import COLOURS

Images = npt.NDArray[np.uint8]


def leading_bit(images: Images, *, bright: bool = False) -> Images:
    """Negate every value of the upper half, or with `bright` of the lower: edges come back, tones do not.

    Raises:
        DataError: Pictures of other than 8 bits.
    """
    _check(images)
    low = images <= 127
    return np.where(low != bright, images, 255 - images).astype(np.uint8)


def least_difference(images: Images) -> Images:
    """Bring back pixel after pixel: of all signs and orders of colours those most like its neighbours.

    The first pixel is left as it is. A pixel has 48 candidates with three colours, 2 in grey; the one with
    the least sum of differences from the pixels to its left and above is kept. Errors spread.

    Raises:
        DataError: Pictures of other than 8 bits.
    """
    _check(images)
    height, width = images.shape[1:3]
    if not images.size:
        return images.copy()
    seen = images.astype(np.int16)
    back = seen.copy()
    # Pixels of one diagonal need those of the one before only, so that they are done at once.
    for step in range(1, height + width - 1):
        rows = np.arange(max(0, step - width + 1), min(height, step + 1))
        columns = step - rows
        goals = _neighbours(back, rows, columns)
        choices = candidates_of(seen[:, rows, columns])[0]
        cost = sum(np.abs(choices - goal[:, :, None]).sum(3) * known[:, None] for goal, known in goals)
        best = np.asarray(cost).argmin(2)
        back[:, rows, columns] = np.take_along_axis(choices, best[:, :, None, None], axis=2)[:, :, 0]
    return back.astype(np.uint8)


def _neighbours(
    back: npt.NDArray[np.int16], rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> list[tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]]:
    """Return the pixels to the left and above, and which of them exist."""
    left = back[:, rows, np.maximum(columns - 1, 0)], columns > 0
    above = back[:, np.maximum(rows - 1, 0), columns], rows > 0
    return [left, above]


def candidates_of(
    pixels: npt.NDArray[np.int16],
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return what pixels ``[N, P, C]`` can become.

    Returns:
        All possibilities ``[N, P, K, C]``; which value each takes, and whether it is negated, ``[K, C]``.
    """
    channels = pixels.shape[2]
    orders = np.tile(np.arange(channels), (len(COLOURS) if channels >= 3 else 1, 1))
    if channels >= 3:
        orders[:, :3] = COLOURS
    signs = np.array(list(product((False, True), repeat=channels)))
    moved = pixels[:, :, orders]
    both = np.where(signs[:, None], 255 - moved[:, :, None], moved[:, :, None])
    found: npt.NDArray[np.int16] = both.reshape(*pixels.shape[:2], -1, channels)
    taken = np.broadcast_to(orders, (len(signs), *orders.shape)).reshape(-1, channels)
    flags = np.broadcast_to(signs[:, None], (len(signs), *orders.shape)).reshape(-1, channels)
    return found, taken, flags


def _check(images: Images) -> None:
    if images.ndim != 4 or images.dtype != np.uint8:
        raise DataError(
            "The attack needs 8-bit pictures.",
            why=f"got {images.dtype} {images.shape}",
            fix="give uint8 [N, H, W, C]",
        )
