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
# Units per run, and images that share a row at least and at most: what is gathered from stays in the cache.
_RUN = 1 << 18
_ROW, _MOST = 16, 256


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
    return _each(images, how, tabled=how.table is not None)


def unscramble(images: Images, how: Scramble) -> Images:
    """Return what :func:`scramble` was given, bit for bit.

    Raises:
        DataError: See :func:`scramble`.
    """
    _check(images, how)
    if how.table is not None:
        images = _each(images, _only_table(how, np.argsort(how.table).astype(np.uint8)), tabled=True)
        if not how.negated.any() and (how.order == np.arange(how.units)).all():
            return images
    return _each(images, inverse(replace(how, table=None, replaced=None)), tabled=False)


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


def _only_table(how: Scramble, table: Table) -> Scramble:
    unmoved = np.arange(how.units), np.zeros(how.units, bool)
    return Scramble(how.shape, *unmoved, table=table, replaced=how.replaced)


def _each(images: Images, how: Scramble, *, tabled: bool) -> Images:
    """Scramble runs of images; in a run, the values of one place in all images lie side by side.

    So a unit moves as a row of memory instead of as single bytes, which is worth transposing twice. Two
    images share the rows of halves: for every place one of their high halves and one of their low ones.
    """
    out = np.empty(images.shape, images.dtype)
    given = np.ascontiguousarray(images).reshape(len(images), math.prod(how.shape))
    made = out.reshape(given.shape)
    parts = 1 + how.halves
    # A power of two: rows of whole words move faster.
    step = parts << int(np.clip(_RUN // max(1, how.units), _ROW, _MOST)).bit_length() - 1
    mask, rows = _mask(how, images.dtype), _replaced(how) if tabled else None
    room = np.empty((2, 0, 0, 0), images.dtype)
    for start in range(0, len(given), step):
        run = slice(start, start + step)
        width = -(-len(given[run]) // parts)
        # All runs use the same memory; fresh memory costs more than the work.
        if room.shape[3] != width:
            room = np.empty((2, parts, given.shape[1], width), images.dtype)
        _gather(given[run], how, *room)
        moved = room[1]
        if rows is not None and how.table is not None:
            _replace(moved[0], how.table, rows, mask)
        for part, side in zip(moved, _sides(made[run], width), strict=False):
            _transpose(part, side)
        if rows is None:
            made[run] ^= mask
    return out


def _sides(images: Images, width: int) -> tuple[Images, Images]:
    """Return the first and the last images of a run; of an odd number, one is in both."""
    return images[:width], images[len(images) - width :]


def _transpose(given: Images, made: Images) -> None:
    # OpenCV is several times as fast, but takes nothing empty and makes columns of single rows.
    if min(given.shape) > 1:
        cv2.transpose(given, dst=made)
    else:
        made[:] = given.T


def _replaced(how: Scramble) -> Order | None:
    return None if how.replaced is None else np.flatnonzero(how.replaced)


def _replace(made: Images, table: Table, rows: Order, mask: Images) -> None:
    """Negate what is to be negated, and send the bytes of some values through a table, in place."""
    made ^= mask[:, None]
    if rows.size:
        part = made[rows]
        made[rows] = cv2.LUT(part.view(np.uint8), table).view(part.dtype).reshape(part.shape)


def _mask(how: Scramble, dtype: Any) -> Images:
    """Return what the values of every scrambled image are combined with by exclusive or."""
    top = int(np.iinfo(dtype).max)
    if not how.halves:
        return np.where(how.negated, top, 0).astype(dtype)
    high, low = how.negated.reshape(2, -1)
    last = (1 << 4 * np.dtype(dtype).itemsize) - 1
    return (np.where(high, top - last, 0) | np.where(low, last, 0)).astype(dtype)


def _gather(images: Images, how: Scramble, units: Images, moved: Images) -> None:
    """Put values ``[images, values]`` in their new order, each memory ``[parts, values, width]``."""
    width = units.shape[2]
    for part, side in zip(units, _sides(images, width), strict=False):
        _transpose(side, part)
    if how.halves:
        _exchange(units[0], units[1], moved[0])
    # "clip" skips the check of every index: an order is a permutation.
    np.take(units.reshape(-1, width), how.order, axis=0, out=moved.reshape(-1, width), mode="clip")
    if how.halves:
        _exchange(moved[0], moved[1], units[0])


def _exchange(one: Images, other: Images, room: Images) -> None:
    """Exchange the low halves of one array with the high halves of another, in place."""
    base = 1 << 4 * one.itemsize
    np.right_shift(other, 4 * one.itemsize, out=room)
    room ^= one
    room &= base - 1
    one ^= room
    # NumPy multiplies bytes many times as fast as it shifts them to the left.
    room *= base
    other ^= room
