"""Colour pictures as one grey picture: their planes below each other, for grey-based encryption.

Grey-based EtC (Chuman, Sirichotedumrong, Kiya, TIFS 2018) scrambles the planes of YCbCr as one grey picture:
there are three times as many blocks, they show no colours, and a grey JPEG never subsamples.

Shapes: ``uint8 [N, H, W, 3]`` and ``uint8 [N, R, C, 1]``; with ``rgb`` also ``uint16``.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from noli.core.errors import DataError
from noli.core.images import Stored
from noli.ops.scramble import padded

Planes = Literal["rgb", "ycbcr", "half"]


def to_planes(images: Stored, how: Planes, block: int) -> Stored:
    """Return the planes of colour pictures below each other.

    Args:
        images: ``[N, H, W, 3]``.
        how: ``rgb``: as they are, exactly; ``ycbcr``: as JPEG has them, rounded; ``half``: these, with Cb and
            Cr averaged over two by two pixels, side by side.
        block: Sides become multiples of it, or twice it for ``half``.

    Raises:
        DataError: Pictures of 16 bits, but for ``rgb``.
    """
    images = padded(images, _unit(how, block))
    if how != "rgb":
        if images.dtype != np.uint8:
            raise DataError("YCbCr is defined for 8 bits.", why="the pictures have 16", fix="use planes=rgb")
        images = _each(images, cv2.COLOR_RGB2YCrCb)
    first, second, third = (images[..., plane] for plane in range(3))
    if how == "half":
        second = np.concatenate([_halved(second), _halved(third)], axis=2)
        return np.concatenate([first, second], axis=1)[..., None]
    return np.concatenate([first, second, third], axis=1)[..., None]


def from_planes(planes: Stored, how: Planes) -> Stored:
    """Return the colour pictures of :func:`to_planes`, with sides of whole blocks.

    Raises:
        DataError: Pictures of 16 bits, but for ``rgb``.
    """
    grey = planes[..., 0]
    if how == "half":
        height, width = grey.shape[1] * 2 // 3, grey.shape[2]
        first, both = grey[:, :height], grey[:, height:]
        second, third = _doubled(both[:, :, : width // 2]), _doubled(both[:, :, width // 2 :])
    else:
        first, second, third = np.split(grey, 3, axis=1)
    images: Stored = np.stack([first, second, third], axis=3)
    return images if how == "rgb" else _each(images, cv2.COLOR_YCrCb2RGB)


def _unit(how: Planes, block: int) -> int:
    return 2 * block if how == "half" else block


def _each(images: Stored, code: int) -> Stored:
    made = [cv2.cvtColor(np.ascontiguousarray(image), code) for image in images]
    return np.stack(made) if made else images


def _halved(plane: Stored) -> Stored:
    four = plane.reshape(len(plane), plane.shape[1] // 2, 2, plane.shape[2] // 2, 2).astype(np.uint16)
    mean: Stored = (four.sum((2, 4)) + 2) // 4
    return mean.astype(np.uint8)


def _doubled(plane: Stored) -> Stored:
    doubled: Stored = plane.repeat(2, axis=1).repeat(2, axis=2)
    return doubled
