"""Keyed scrambling of stored images: one gather and one exclusive or, whatever the scheme.

Every scheme of perceptual encryption that moves and negates parts of an image under a fixed key is a
permutation of its units and a mask (:mod:`noli.ops.schemes` makes them); units are values, or their halves of
four bits. So all of them run at the speed of memory, are undone exactly, and can be composed: images get
another key in one step, without the plain image in between.

Perceptual encryption is obfuscation, not confidentiality: see the attacks that come with it.

Shapes: ``uint8`` or ``uint16 [N, H, W, C]``, C from 1 to 4, whole blocks; see :func:`padded`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError, UsageError

Images = npt.NDArray[Any]
Order = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Table = npt.NDArray[np.uint8]
# Values per run: what is gathered from stays in the cache.
_RUN = 1 << 18


@dataclass(frozen=True, eq=False)
class Scramble:
    """What a scheme does to images of one shape under one key.

    Attributes:
        shape: Height, width and channels of the images, whole blocks.
        order: ``[n]``: unit i of the output is unit ``order[i]`` of the input.
        negated: ``[n]``: which units of the output are negated (v becomes the highest value minus v).
        halves: Units are halves of a value (4 of 8 bits): all high ones of an image, then all low ones.
        table: ``uint8 [256]``, a permutation of bytes that is applied last, where `replaced` says so.
        replaced: ``[n]``: which units of the output go through the table.
    """

    shape: tuple[int, int, int]
    order: Order
    negated: Flags
    halves: bool = False
    table: Table | None = None
    replaced: Flags | None = None

    @property
    def units(self) -> int:
        """Units per image."""
        return self.order.size


def scramble(images: Images, how: Scramble) -> Images:
    """Return scrambled images of the same shape and dtype.

    Raises:
        DataError: Images of another shape or type.
    """
    _check(images, how)
    out = _moved(images, how)
    if how.table is not None and how.replaced is not None:
        _replace(out, how.table, how.replaced)
    return out


def unscramble(images: Images, how: Scramble) -> Images:
    """Return what :func:`scramble` was given, bit for bit.

    Raises:
        DataError: See :func:`scramble`.
    """
    _check(images, how)
    if how.table is not None and how.replaced is not None:
        images = images.copy()
        _replace(images, np.argsort(how.table).astype(np.uint8), how.replaced)
    return _moved(images, inverse(replace(how, table=None, replaced=None)))


def inverse(how: Scramble) -> Scramble:
    """Return the scrambling that undoes one without a table.

    Raises:
        UsageError: It has a table.
    """
    _check_tables(how)
    order = np.empty_like(how.order)
    order[how.order] = np.arange(how.units)
    return Scramble(how.shape, order, how.negated[order], how.halves)


def then(first: Scramble, second: Scramble) -> Scramble:
    """Return one scrambling that does what two do after each other.

    ``then(inverse(old), new)`` gives images another key without the plain images in between.

    Raises:
        UsageError: They are for images of different shapes, or one has a table.
    """
    _check_tables(first, second)
    if first.shape != second.shape:
        why = f"{first.shape} and {second.shape}"
        raise UsageError("Scramblings of different shapes cannot be joined.", why=why)
    if first.halves != second.halves:
        first, second = in_halves(first), in_halves(second)
    negated = first.negated[second.order] ^ second.negated
    return Scramble(first.shape, first.order[second.order], negated, first.halves)


def in_halves(how: Scramble) -> Scramble:
    """Return the same scrambling of 8-bit images, told in halves of bytes."""
    if how.halves:
        return how
    order = np.concatenate([how.order, how.order + how.units])
    return Scramble(how.shape, order, np.tile(how.negated, 2), halves=True)


def padded(images: Images, block: int) -> Images:
    """Repeat the last row and column until both sides are whole blocks.

    Args:
        images: ``[N, H, W, C]``.
        block: Side of a block in pixels.
    """
    below, right = -images.shape[1] % block, -images.shape[2] % block
    if not below and not right:
        return images
    return np.pad(images, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge")


def _check(images: Images, how: Scramble) -> None:
    if images.ndim != 4 or images.shape[1:] != how.shape or images.dtype not in (np.uint8, np.uint16):
        raise DataError(
            "The images do not fit the scrambling.",
            why=f"{images.dtype} {images.shape[1:]} instead of {how.shape}",
            fix="pad them to whole blocks, and make a scrambling for every shape",
        )


def _check_tables(*hows: Scramble) -> None:
    if any(how.table is not None for how in hows):
        raise UsageError("A scrambling with a table of values cannot be joined or turned round.")


def _moved(images: Images, how: Scramble) -> Images:
    out = np.empty(images.shape, images.dtype)
    given = np.ascontiguousarray(images).reshape(len(images), math.prod(how.shape))
    made = out.reshape(given.shape)
    mask = _mask(how, images.dtype)
    step = max(1, _RUN // max(1, how.units))
    for start in range(0, len(given), step):
        run = slice(start, start + step)
        _gather(given[run], how, made[run])
        made[run] ^= mask
    return out


def _mask(how: Scramble, dtype: Any) -> Images:
    """Return what the values of every scrambled image are combined with by exclusive or."""
    top = int(np.iinfo(dtype).max)
    if not how.halves:
        return np.where(how.negated, top, 0).astype(dtype)
    high, low = how.negated.reshape(2, -1)
    last = (1 << 4 * np.dtype(dtype).itemsize) - 1
    return (np.where(high, top - last, 0) | np.where(low, last, 0)).astype(dtype)


def _gather(given: Images, how: Scramble, made: Images) -> None:
    """Put the units of `given` in order into `made`, both ``[N, values]``."""
    # "clip" skips the check of every index: an order is a permutation.
    if not how.halves:
        np.take(given, how.order, axis=1, out=made, mode="clip")
        return
    values, bits = given.shape[1], 4 * given.itemsize
    halves, moved = np.empty((2, len(given), 2 * values), given.dtype)
    np.right_shift(given, bits, out=halves[:, :values])
    np.bitwise_and(given, (1 << bits) - 1, out=halves[:, values:])
    np.take(halves, how.order, axis=1, out=moved, mode="clip")
    np.left_shift(moved[:, :values], bits, out=made)
    made |= moved[:, values:]


def _replace(images: Images, table: Table, replaced: Flags) -> None:
    """Send the bytes of some values of every image through a table, in place."""
    values = images.reshape(len(images), replaced.size)
    chosen = np.where(replaced, np.iinfo(images.dtype).max, 0).astype(images.dtype)
    step = max(1, _RUN // max(1, replaced.size))
    for start in range(0, len(values), step):
        run = values[start : start + step]
        change: Images = cv2.LUT(run.view(np.uint8), table).view(images.dtype).reshape(run.shape)
        change ^= run
        change &= chosen
        run ^= change
