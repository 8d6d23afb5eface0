"""Regions of interest: one mask file per picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.data.codec import decode
from noli.data.formats import stem
from noli.data.place import Place, is_url, local_path


def read(
    folder: str, items: Sequence[Item], shapes: Sequence[tuple[int, ...]], side: int
) -> npt.NDArray[np.bool_]:
    """Read the mask of every item: ``folder/<path of the picture>.png``.

    It may also have the suffix ``.png`` instead of that of an image format, unless two items would share it.

    Args:
        folder: Folder or URL; its tree is that of the pictures.
        items: The pictures.
        shapes: Height and width (and what follows) of every picture as it is stored.
        side: Noise is learned on squares of so many pixels and stretched over the picture.

    Returns:
        ``bool [N, side, side]``: where noise reaches, stretched, no pixel outside the mask.

    Raises:
        DataError: No such folder; masks that are missing, coloured, empty, not of the picture's size, or
            narrower than the noise's pixels (all are listed); masks that leave nothing out.
    """
    if not is_url(folder) and not local_path(folder).is_dir():
        raise DataError("There is no such folder of region-of-interest masks.", where=folder, fix="check roi")
    place, out = Place(folder), np.zeros((len(items), side, side), bool)
    wrong: list[str] = []
    sizes: list[str] = []
    narrow: list[str] = []
    whole = bool(items)
    for row, (name, (height, width, *_)) in enumerate(zip(_names(place, items), shapes, strict=True)):
        inside = _mask(place, name)
        if inside is None:
            wrong.append(name)
            continue
        if inside.shape != (height, width):
            got = " x ".join(map(str, inside.shape[::-1]))
            sizes.append(f"{name} ({got}, its picture is {width} x {height})")
            continue
        whole = whole and bool(inside.all())
        out[row] = within(inside, side)
        if not out[row].any():
            narrow.append(name)
    if wrong:
        raise DataError(
            f"{len(wrong)} region-of-interest masks are missing, unreadable, coloured or empty.",
            where=folder,
            fix="give every picture a grey mask, some pixels not zero, called as the picture with .png added "
            "or, where no other picture would get it, instead of its suffix",
            items=wrong,
        )
    if sizes:
        raise DataError(
            f"{len(sizes)} region-of-interest masks are not of the size of their pictures.",
            where=folder,
            why="a region that is stretched to fit would protect the wrong place",
            fix="draw masks on the stored pixels (a photograph that EXIF turns is stored unturned)",
            items=sizes,
        )
    if narrow:
        raise DataError(
            f"{len(narrow)} regions of interest are too narrow for noise of {side} x {side} pixels.",
            where=folder,
            why="its pixels, stretched over the picture, would reach over the edge of the region",
            fix="learn finer noise with a larger --set size=N (at most 256), or draw wider regions",
            items=narrow,
        )
    if whole:
        raise DataError(
            "The region-of-interest masks leave nothing out: no pixel of any of them is zero.",
            where=folder,
            fix="set what must not change to 0, or leave roi out",
        )
    return out


def _names(place: Place, items: Sequence[Item]) -> list[str]:
    """Return the name of every item's mask."""
    paths = [item.path.replace("#", "-") for item in items]
    sharing = Counter(map(stem, paths))
    whole = (sharing[stem(path)] > 1 or place.exists(f"{path}.png") for path in paths)
    return [f"{path if long else stem(path)}.png" for path, long in zip(paths, whole, strict=True)]


def _mask(place: Place, name: str) -> npt.NDArray[np.bool_] | None:
    """Return where a mask is not zero, ``bool [H, W]``; None if it is missing, coloured or empty."""
    try:
        pixels = decode(place.read(name), where=name).pixels
    except (OSError, DataError):
        return None
    inside = np.asarray(pixels.max(axis=2) > 0)
    return inside if inside.any() and not np.ptp(pixels, axis=2).any() else None


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
    # A little more than 1: the stretching rounds, and gives a neighbour at that distance a trace of weight.
    return (np.abs(at[:, None] - np.arange(side)) < 1 + 1e-4).astype(np.float32)
