"""Schemes of perceptual encryption, each as one scrambling of an image's units under a key.

========== ============================================================ ======================================
scheme     what is scrambled                                            source
========== ============================================================ ======================================
``etc``    blocks: places, eight turns, negation, order of colours      Kurihara, Shiota, Kiya, PCS 2015
``le``     halves of bytes within a block, one key for all blocks       Tanaka, ICCE-TW 2018
``ele``    as ``le`` with a key per block, then places of blocks        Madono et al. 2020, arXiv 2001.07761
``pixel``  values: negation; pixels: order of colours                   Sirichotedumrong et al. 2019
``shf``    values within a block, one permutation for all blocks        AprilPyone, Kiya, arXiv 2010.00801
``np``     values within a block: half of them negated                  the same
``ffx``    values within a block: half of them replaced by a table      the same
========== ============================================================ ======================================

Values of a block are numbered row by row, column by column, channels last. A stream is asked for by purpose
and by what the draws depend on, so that every part of a scheme has draws of its own, and what is alike in all
blocks is alike in pictures of all sizes. Beside three colours, the fourth channel (alpha) and a single one
(grey) keep their places in the order of colours.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from noli.core.keystream import Stream
from noli.ops.scramble import Flags, Order, Scramble

Draw = Callable[[str, str], Stream]
Shape = tuple[int, int, int]
T = TypeVar("T", bound=np.generic)
SchemeName = Literal["etc", "le", "ele", "pixel", "shf", "np", "ffx"]
# In which order a block's colours come out; of two, six are possible.
_COLOURS = np.array(list(permutations(range(3))))


def numbered(shape: Shape, block: int) -> Order:
    """Return which value of the image each value of each block is, ``[blocks, block * block * C]``."""
    height, width, channels = shape
    values = np.arange(height * width * channels).reshape(
        height // block, block, width // block, block, channels
    )
    return values.transpose(0, 2, 1, 3, 4).reshape(-1, block * block * channels)


def imaged(blocks: npt.NDArray[T], shape: Shape, block: int) -> npt.NDArray[T]:
    """Return the values of blocks in the order of the image, flat.

    Args:
        blocks: ``[blocks, parts * block * block * C]``; of several parts, one image comes after the other.
        shape: Of the image.
        block: Side of a block in pixels.
    """
    height, width, channels = shape
    parts = blocks.shape[1] // (block * block * channels)
    grid = blocks.reshape(height // block, width // block, parts, block, block, channels)
    return grid.transpose(2, 0, 3, 1, 4, 5).reshape(-1)


def turns(block: int) -> Order:
    """Return the eight symmetries of a square, ``[8, block * block]``: pixel i of the output is pixel that.

    The first four are quarter turns to the left, the last four the same after a flip from left to right.
    """
    pixels = np.arange(block * block).reshape(block, block)
    both = (pixels, pixels[:, ::-1])
    return np.stack([np.rot90(one, quarter).reshape(-1) for one in both for quarter in range(4)])


def etc(shape: Shape, block: int, draw: Draw, *, places: bool = True, colours: bool = True) -> Scramble:
    """Encryption then compression: blocks change places, are turned, negated, and get other colours.

    Args:
        shape: Whole blocks.
        block: Side of a block in pixels; the paper takes 16.
        draw: Gives the stream of a purpose.
        places: Whether blocks change places.
        colours: Whether colours do.
    """
    ids, channels, grid = numbered(shape, block), shape[2], _grid(shape, block)
    count = len(ids)
    source = draw("places", grid).permutation(count) if places else np.arange(count)
    turned = turns(block)[draw("turns", grid).integers(count, 8)]
    negated = draw("negation", grid).bits(count)
    order = np.tile(np.arange(channels), (count, 1))
    if colours and channels >= 3:
        order[:, :3] = _COLOURS[draw("colours", grid).integers(count, 6)]
    within = turned[:, :, None] * channels + order[:, None, :]
    taken = ids[source[:, None], within.reshape(count, -1)]
    flags = np.repeat(negated[:, None], ids.shape[1], axis=1)
    return Scramble(shape, imaged(taken, shape, block), imaged(flags, shape, block))


def le(shape: Shape, block: int, draw: Draw, *, mask: Literal["drawn", "published"] = "drawn") -> Scramble:
    """Learnable encryption: halves of bytes are negated, permuted and negated again, alike in all blocks.

    Args:
        shape: Whole blocks.
        block: Side of a block in pixels; the paper takes 4.
        draw: Gives the stream of a purpose.
        mask: ``drawn``: which halves are negated is drawn; ``published``: as the authors' code derives it
            from the permutation, which leaves it without any entropy of its own.
    """
    ids = numbered(shape, block)
    units, every = 2 * ids.shape[1], _every(shape, block)
    order, negated = _halves(draw("halves", every).permutations(1, units), draw("negation", every), mask)
    return _of_halves(shape, block, ids, order, np.repeat(negated, len(ids), 0))


def ele(shape: Shape, block: int, draw: Draw, *, mask: Literal["drawn", "published"] = "drawn") -> Scramble:
    """Extended learnable encryption: :func:`le` with a key of its own per block, then blocks change places.

    Args:
        shape: Whole blocks.
        block: Side of a block in pixels; the paper takes 4.
        draw: Gives the stream of a purpose.
        mask: See :func:`le`.
    """
    ids, grid = numbered(shape, block), _grid(shape, block)
    drawn = draw("halves", grid).permutations(len(ids), 2 * ids.shape[1])
    order, negated = _halves(drawn, draw("negation", grid), mask)
    source = draw("places", grid).permutation(len(ids))
    return _of_halves(shape, block, ids[source], order[source], negated[source])


def pixel(shape: Shape, draw: Draw, *, colours: bool = True) -> Scramble:
    """Pixel-based encryption: every value is negated or not, the colours of every pixel are reordered.

    Args:
        shape: Of the images.
        draw: Gives the stream of a purpose.
        colours: Whether colours change places.
    """
    height, width, channels = shape
    pixels, order = height * width, np.arange(height * width * channels).reshape(-1, channels)
    size = f"{height}x{width}x{channels}"
    negated = draw("negation", size).bits(pixels * channels)
    if colours and channels >= 3:
        first = _COLOURS[draw("colours", size).integers(pixels, 6)]
        order[:, :3] = np.take_along_axis(order[:, :3].copy(), first, axis=1)
    return Scramble(shape, order.reshape(-1), negated)


def shf(shape: Shape, block: int, draw: Draw) -> Scramble:
    """Pixel shuffling: the values of every block are permuted, alike in all blocks."""
    ids = numbered(shape, block)
    taken = ids[:, draw("values", _every(shape, block)).permutation(ids.shape[1])]
    return Scramble(shape, imaged(taken, shape, block), np.zeros(taken.size, bool))


def negation(shape: Shape, block: int, draw: Draw) -> Scramble:
    """Negation of half of a block's values (``np``), alike in all blocks.

    Exactly half; the authors' script negates one or two values less.
    """
    ids, chosen = numbered(shape, block), _half(shape, block, draw)
    return Scramble(shape, np.arange(ids.size), imaged(chosen, shape, block))


def ffx(shape: Shape, block: int, draw: Draw) -> Scramble:
    """Replacement of half of a block's values by a keyed permutation of all 256, alike in all blocks.

    The published scheme encrypts a value as three decimal digits, which gives numbers up to 999 and has to be
    scaled down; a permutation of 256 keeps 8 bits.
    """
    ids, chosen = numbered(shape, block), _half(shape, block, draw)
    table = draw("table", "").permutation(256).astype(np.uint8)
    unmoved = np.arange(ids.size), np.zeros(ids.size, bool)
    return Scramble(shape, *unmoved, table=table, replaced=imaged(chosen, shape, block))


def _grid(shape: Shape, block: int) -> str:
    return f"{shape[0] // block}x{shape[1] // block}/{_every(shape, block)}"


def _every(shape: Shape, block: int) -> str:
    return f"b={block}/c={shape[2]}"


def _half(shape: Shape, block: int, draw: Draw) -> Flags:
    values, count = block * block * shape[2], shape[0] * shape[1] // block**2
    chosen: Flags = draw("values", _every(shape, block)).permutation(values) < values // 2
    return np.repeat(chosen[None], count, axis=0)


def _halves(order: Order, stream: Stream, mask: str) -> tuple[Order, Flags]:
    """Return the permutations of halves ``[B, n]``, and which halves of the output are negated in sum."""
    rows, units = order.shape
    flags = order.reshape(-1) > units // 2 if mask == "published" else stream.bits(rows * units)
    there = order + units * np.arange(rows)[:, None]
    return order, flags.take(there) ^ flags.reshape(rows, units)


def _of_halves(shape: Shape, block: int, taken: Order, order: Order, negated: Flags) -> Scramble:
    """Put blocks of halves together, high ones first.

    Args:
        shape: Of the image.
        block: Side of a block in pixels.
        taken: Which values of the image each block takes, ``[blocks, d]``; see :func:`numbered`.
        order: In which order it takes their halves, ``[blocks or 1, 2 d]``.
        negated: Which of them are negated, ``[blocks, 2 d]``.
    """
    # The values of every block lie as those of a first one do.
    within = taken[:1] - taken[:1, :1]
    halves = np.concatenate([within, within + taken.size], axis=1).take(order) + taken[:, :1]
    return Scramble(shape, imaged(halves, shape, block), imaged(negated, shape, block), halves=True)
