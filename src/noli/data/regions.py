"""Regions of interest: one mask file per picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.data.codec import decode
from noli.data.place import Place


def read(folder: str, items: Sequence[Item], side: int) -> npt.NDArray[np.bool_]:
    """Read the mask of every item: ``folder/<path of the picture>`` with the suffix ``.png``.

    Args:
        folder: Folder or URL; its tree is that of the pictures.
        items: The pictures.
        side: Noise is learned on squares of so many pixels and stretched over the picture.

    Returns:
        ``bool [N, side, side]``: where noise reaches, stretched, no pixel outside the mask.

    Raises:
        DataError: Masks that are missing or empty, or narrower than the noise's pixels (all are listed).
    """
    place = Place(folder)
    out = np.zeros((len(items), side, side), bool)
    wrong: list[str] = []
    narrow: list[str] = []
    for row, item in enumerate(items):
        name = str(PurePosixPath(item.path.replace("#", "-")).with_suffix(".png"))
        try:
            inside = decode(place.read(name), where=name).pixels.max(axis=2) > 0
        except (OSError, DataError):
            wrong.append(name)
            continue
        if not inside.any():
            wrong.append(name)
            continue
        out[row] = within(inside, side)
        if not out[row].any():
            narrow.append(name)
    if wrong:
        raise DataError(
            f"{len(wrong)} region-of-interest masks are missing, unreadable or empty.",
            where=folder,
            fix="give every picture a mask of the same name with the suffix .png and some non-zero pixels",
            items=wrong,
        )
    if narrow:
        raise DataError(
            f"{len(narrow)} regions of interest are too narrow for noise of {side} x {side} pixels.",
            where=folder,
            why="its pixels, stretched over the picture, would reach over the edge of the region",
            fix="learn finer noise with a larger --set size=N (at most 256), or draw wider regions",
            items=narrow,
        )
    return out


def within(inside: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.bool_]:
    """Return which pixels of a stretched square touch only pixels inside a region.

    Args:
        inside: ``bool [H, W]``, the region.
        side: Pixels of the square, which is stretched bilinearly to H x W.

    Returns:
        ``bool [side, side]``.
    """
    rows, columns = (_reach(length, side) for length in inside.shape)
    return np.asarray(rows.T @ (~inside).astype(np.float32) @ columns == 0)


def _reach(length: int, side: int) -> npt.NDArray[np.float32]:
    """Return ``[length, side]``: 1 where a pixel of a stretched line takes something of one before."""
    at = np.clip((np.arange(length) + 0.5) * side / length - 0.5, 0, side - 1)
    return (np.abs(at[:, None] - np.arange(side)) < 1).astype(np.float32)
