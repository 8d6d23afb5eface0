"""Keys found from pictures in plain and scrambled: given ones, or ones that the attacker chose.

Chosen pictures write the number of every unit into the units themselves, digit by digit, and the leading bit
of a digit shows whether the unit was negated. So a permutation of n values with negation takes
``ceil(log_128 n)`` pictures, of halves of bytes ``ceil(log_8 n)``; published helper images are more (Chang
and Li, arXiv 2004.13263). Given pictures are matched by histories: what has the same values in all blocks, or
all pictures, belongs together. The counting in digits and the matching are ours.

Images ``uint8 [N, H, W, C]`` of whole blocks, all under one key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from noli.core.errors import DataError, UsageError
from noli.ops.decipher.brightness import candidates_of
from noli.ops.decipher.scores import COLOURS
from noli.ops.decipher.statistics import Images, alike_blocks, block_rows, halves_of
from noli.ops.schemes import SchemeName, Shape, imaged, numbered, turns
from noli.ops.scramble import Flags, Order, Scramble

Oracle = Callable[[Images], Images]
Alike = Literal["shf", "np", "le", "ffx"]


def helper_images(shape: Shape, *, halves: bool = False) -> Images:
    """Return the pictures to have scrambled, ``uint8 [K, H, W, C]``.

    Args:
        shape: Height, width and channels.
        halves: Whether the scheme moves halves of bytes.
    """
    values = math.prod(shape)
    units = 2 * values if halves else values
    base = 8 if halves else 128
    count = max(1, math.ceil(math.log(max(units, 2)) / math.log(base) - 1e-12))
    numbers = np.arange(units)
    digits = np.stack([numbers // base**place % base for place in range(count)])
    if halves:
        digits = 16 * digits[:, :values] + digits[:, values:]
    return digits.astype(np.uint8).reshape(count, *shape)


def chosen(oracle: Oracle, shape: Shape, *, halves: bool = False) -> Scramble:
    """Find a scrambling, of any scheme without a table, from pictures of the attacker's choice.

    Args:
        oracle: Scrambles what it is given, under one key.
        shape: Height, width and channels of the pictures.
        halves: Whether the scheme moves halves of bytes (LE, ELE).

    Raises:
        DataError: What comes back is no scrambling of this kind.
    """
    values = math.prod(shape)
    seen = oracle(helper_images(shape, halves=halves)).reshape(-1, values)
    base = 8 if halves else 128
    digits = (np.concatenate([seen >> 4, seen & 15], axis=1) if halves else seen).astype(np.int64)
    negated = digits[0] >= base
    digits = np.where(negated, 2 * base - 1 - digits, digits)
    order = sum(digit * base**place for place, digit in enumerate(digits))
    order = np.asarray(order, np.int64)
    if not np.array_equal(np.sort(order), np.arange(order.size)):
        raise DataError(
            "The answers are no permutation of what was asked.",
            why="the scheme has a table, a key of its own for every picture, or moves other units",
            fix="say whether halves of bytes are moved, and ask under one key",
        )
    return Scramble(shape, order, negated, halves)


def chosen_table(oracle: Oracle, shape: Shape, block: int) -> Scramble:
    """Find an FFX scrambling: blocks of all 256 values show which values of a block are replaced, and how.

    Args:
        oracle: Scrambles what it is given, under one key.
        shape: Height, width and channels of the pictures.
        block: Side of a block in pixels.
    """
    blocks = shape[0] // block * (shape[1] // block)
    images = math.ceil(256 / max(1, blocks))
    levels = (np.arange(images * blocks) % 256).astype(np.uint8)
    flat = np.repeat(levels[:, None], block * block * shape[2], axis=1)
    asked = [imaged(part, shape, block).reshape(shape) for part in np.split(flat, images)]
    return _table(
        block_rows(np.stack(asked), block), block_rows(oracle(np.stack(asked)), block), shape, block
    )


def known(scheme: SchemeName, plain: Images, scrambled: Images, block: int = 1) -> Scramble:
    """Find a scrambling from pictures that are known in plain and scrambled.

    What cannot be told apart in these pictures (flat areas) is assigned arbitrarily.

    Args:
        scheme: Which it is; ``ele`` needs chosen pictures.
        plain: ``[N, H, W, C]``, padded to whole blocks.
        scrambled: The same pictures, scrambled under one key.
        block: Side of a block in pixels.

    Raises:
        DataError: Arrays that do not belong together; pairs of ``shf``, ``np``, ``le``, ``ffx`` that no
            single key explains.
        UsageError: A scheme for which there is no such attack.
    """
    if plain.shape != scrambled.shape or not len(plain):
        why = f"shapes {plain.shape} and {scrambled.shape}"
        raise DataError("These pictures are no pairs.", why=why, fix="give the same pictures, padded alike")
    shape = (plain.shape[1], plain.shape[2], plain.shape[3])
    if scheme == "pixel":
        return _known_pixels(plain, scrambled)
    if scheme == "etc":
        return _known_places(plain, scrambled, block)
    before, after = block_rows(plain, block), block_rows(scrambled, block)
    if scheme == "ffx":
        return _table(before, after, shape, block)
    if scheme not in ("shf", "np", "le"):
        why = f"got {scheme!r}"
        raise UsageError("There is no attack by given pictures.", why=why, fix="choose the pictures")
    halves = scheme == "le"
    if halves:
        before, after = halves_of(before), halves_of(after)
    order, negated = _histories(before, after, 15 if halves else 255)
    if not np.array_equal(before[:, order] ^ (negated * np.uint8(15 if halves else 255)), after):
        raise _not_one_key()
    return alike_blocks(shape, block, order, negated, halves=halves)


def _not_one_key() -> DataError:
    return DataError(
        "No key makes the scrambled pictures out of the plain ones.",
        why="they are not pairs, have different keys, or another scheme or block made them",
        fix="give pairs under one key, as they were written, and check scheme and block",
    )


def _histories(before: Images, after: Images, top: int) -> tuple[Order, Flags]:
    """Match columns of values; each plain one is used once, what is left over goes where there is room."""
    units = before.shape[1]
    places: dict[bytes, list[tuple[int, bool]]] = {}
    for unit in range(units):
        for sign in (True, False):
            column = top - before[:, unit] if sign else before[:, unit]
            places.setdefault(column.tobytes(), []).append((unit, sign))
    order, negated, used = np.full(units, -1), np.zeros(units, bool), np.zeros(units, bool)
    for unit in range(units):
        options = places.get(after[:, unit].tobytes(), [])
        while options:
            origin, sign = options.pop()
            if not used[origin]:
                order[unit], negated[unit], used[origin] = origin, sign, True
                break
    order[order < 0] = np.flatnonzero(~used)
    return order, negated


def _known_places(plain: Images, scrambled: Images, block: int) -> Scramble:
    """Match whole blocks under all turns, signs and orders of colours, over all pictures at once."""
    shape = (plain.shape[1], plain.shape[2], plain.shape[3])
    ids = numbered(shape, block)
    count, channels = len(ids), shape[2]
    before, after = (x.reshape(len(x), -1)[:, ids].transpose(1, 0, 2) for x in (plain, scrambled))
    ways = ways_of(block, channels)
    places: dict[bytes, list[tuple[int, int]]] = {}
    for way, (within, negated) in enumerate(ways):
        turned = before[:, :, within]
        turned = 255 - turned if negated else turned
        for one in range(count):
            places.setdefault(turned[one].tobytes(), []).append((one, way))
    source, taken, used = np.full(count, -1), np.zeros(count, int), np.zeros(count, bool)
    for place in range(count):
        for one, way in places.get(after[place].tobytes(), []):
            if not used[one]:
                source[place], taken[place], used[one] = one, way, True
                break
    source[source < 0] = np.flatnonzero(~used)
    order = np.stack([ids[one, ways[way][0]] for one, way in zip(source, taken, strict=True)])
    flags = np.array([ways[way][1] for way in taken])
    signs = np.repeat(flags[:, None], ids.shape[1], axis=1)
    return Scramble(shape, imaged(order, shape, block), imaged(signs, shape, block))


def ways_of(block: int, channels: int) -> list[tuple[Order, bool]]:
    """Return how a block can come out: which of its values is where, and whether it is negated."""
    orders = np.tile(np.arange(channels), (len(COLOURS) if channels >= 3 else 1, 1))
    if channels >= 3:
        orders[:, :3] = COLOURS
    within = [(turn[:, None] * channels + order).reshape(-1) for turn in turns(block) for order in orders]
    return [(one, sign) for sign in (False, True) for one in within]


def _known_pixels(plain: Images, scrambled: Images) -> Scramble:
    """Try all orders and signs at every pixel; those that fit all pictures best are kept."""
    count, height, width, channels = plain.shape
    shape = (height, width, channels)
    pixels = height * width
    before = plain.reshape(count, pixels, channels).astype(np.int16)
    made, orders, signs = candidates_of(before)
    seen = scrambled.reshape(count, pixels, 1, channels)
    wrong = np.abs(made - seen).sum(axis=(0, 3), dtype=np.int64)
    best = wrong.argmin(axis=1)
    first = np.arange(pixels)[:, None] * channels
    return Scramble(shape, (first + orders[best]).reshape(-1), signs[best].reshape(-1))


def _table(before: Images, after: Images, shape: Shape, block: int) -> Scramble:
    """Return which values of a block are replaced, and by what; values never seen keep what is left."""
    chosen_units = (before != after).any(axis=0)
    table, seen = np.full(256, -1), np.zeros(256, bool)
    given, made = before[:, chosen_units].reshape(-1), after[:, chosen_units].reshape(-1)
    told = np.unique(given.astype(np.int64) * 256 + made)
    if np.unique(told // 256).size < told.size or np.unique(told % 256).size < told.size:
        raise _not_one_key()
    table[given] = made
    seen[made] = True
    table[table < 0] = np.flatnonzero(~seen)[: int((table < 0).sum())]
    ids = numbered(shape, block)
    flags = np.repeat(chosen_units[None], len(ids), axis=0)
    return Scramble(
        shape, np.arange(ids.size), np.zeros(ids.size, bool), table=table.astype(np.uint8),
        replaced=imaged(flags, shape, block),
    )  # fmt: skip
