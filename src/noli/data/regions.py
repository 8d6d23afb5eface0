"""Regions of interest: one mask file per picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import cv2
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
        side: Masks are squeezed to squares of so many pixels; a pixel is inside when any of it is.

    Returns:
        ``bool [N, side, side]``: where the mask is not zero.

    Raises:
        DataError: Masks that are missing (all are listed) or empty.
    """
    place = Place(folder)
    out = np.zeros((len(items), side, side), bool)
    wrong: list[str] = []
    for row, item in enumerate(items):
        name = str(PurePosixPath(item.path.replace("#", "-")).with_suffix(".png"))
        try:
            inside = decode(place.read(name), where=name).pixels.max(axis=2) > 0
        except (OSError, DataError):
            wrong.append(name)
            continue
        share = inside.astype(np.float32)
        out[row] = cv2.resize(share, (side, side), interpolation=cv2.INTER_AREA) > 0
        if not inside.any():
            wrong.append(name)
    if wrong:
        raise DataError(
            f"{len(wrong)} region-of-interest masks are missing, unreadable or empty.",
            where=folder,
            fix="give every picture a mask of the same name with the suffix .png and some non-zero pixels",
            items=wrong,
        )
    return out
