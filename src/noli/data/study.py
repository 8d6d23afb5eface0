"""A data set in memory, as methods that learn from the data see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item
from noli.core.errors import UsageError
from noli.core.images import Stored, to_float, to_uint8


def _silent(done: int, total: int, what: str) -> None:
    return


def unseen(method: str) -> UsageError:
    """Return the error of a method that asks for pictures which it said it needs not."""
    fix = 'put "data" into its needs if it has to see them'
    return UsageError("This method works without the pictures, so it gets none.", where=method, fix=fix)


@dataclass(frozen=True)
class ArrayStudy:
    """A :class:`noli.core.method.Study` on arrays.

    Attributes:
        items: The items.
        pixels: Their images, each ``uint8`` or ``uint16 [H, W, C]``.
        folder: Where files are kept.
        told: Called with ``(done, total, what)``.
        shown: False for a method that learns from what is said of the images: it gets their shapes only.
    """

    items: Sequence[Item]
    pixels: Sequence[Stored]
    folder: Path
    told: Callable[[int, int, str], None] = _silent
    shown: bool = True

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Shape of every image."""
        return [(*image.shape[:2], image.shape[2]) for image in self.pixels]

    def images(self, side: int) -> npt.NDArray[np.uint8]:
        """Return all images as squares ``uint8 [N, side, side, C]``; `UsageError` if none are shown."""
        if not self.shown:
            raise unseen(str(self.folder))
        channels = max((image.shape[2] for image in self.pixels), default=3)
        found = [square(image, side, channels) for image in self.pixels]
        return np.stack(found) if found else np.zeros((0, side, side, channels), np.uint8)

    def tell(self, done: int, total: int, what: str) -> None:
        """Report progress."""
        self.told(done, total, what)


def square(image: Stored, side: int, channels: int) -> npt.NDArray[np.uint8]:
    """Squeeze an image to ``uint8 [side, side, channels]``; grey becomes RGB where the set has colour.

    The whole image is squeezed, not cropped: noise that is learned at this size is stretched over it again.
    """
    if image.dtype != np.uint8:
        image = to_uint8(to_float(image[None]))[0]
    if image.shape[:2] != (side, side):
        shrinks = min(image.shape[:2]) >= side
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(image, (side, side), interpolation=method).reshape(side, side, -1)
    return image if image.shape[2] == channels else np.repeat(image, channels, axis=2)
