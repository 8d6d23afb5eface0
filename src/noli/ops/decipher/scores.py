"""What an attack found, told by somebody who knows the key, and how much of the key is left to guess.

Statistics of pictures look nearly the same after a picture is turned or mirrored, its colours change places
or it is negated. Whoever attacks by statistics therefore finds a key up to such symmetries; the scores here
take the best of them where they are told to, and `left_bits` charges for it.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from noli.core.errors import DataError, UsageError
from noli.ops.schemes import turns
from noli.ops.scramble import Order, Scramble, in_halves, inverse, then

# In which order three colours can stand; the first is as they are.
COLOURS: Order = np.array(list(permutations(range(3))))


def symmetries(block: int, channels: int) -> Order:
    """Return what statistics of a block cannot tell apart: turns of a square and orders of colours.

    Args:
        block: Side of a block in pixels.
        channels: 1 to 4; three or more have six orders of the first three, as in the schemes.

    Returns:
        ``int64 [S, block * block * channels]``, S = 48 or 8 (in grey, or two channels): value i of the
        changed block is value ``[s, i]`` of the block. The first changes nothing.
    """
    orders = np.tile(np.arange(channels), (6 if channels >= 3 else 1, 1))
    if channels >= 3:
        orders[:, :3] = COLOURS
    within = turns(block)[:, None, :, None] * channels + orders[None, :, None, :]
    return within.reshape(8 * len(orders), -1)


def places_recovered(found: Order, truth: Order, alike: Order | None = None) -> float:
    """Return which share of a block's values an attack put right.

    Args:
        found: ``[d]``: value i of the scrambled block is value ``found[i]`` of the plain one.
        truth: ``[d]``, the same from the key.
        alike: Symmetries ``[S, d]``; the best of them counts. None: the attack has to be right by itself.

    Raises:
        DataError: Orders of different lengths.
    """
    if found.shape != truth.shape or found.ndim != 1 or not found.size:
        why = f"shapes {found.shape} and {truth.shape}"
        raise DataError("The two orders cannot be compared.", why=why, fix="give two of the same length")
    mapped = found[None] if alike is None else alike[:, found]
    return float((mapped == truth).mean(axis=1).max())


def units_recovered(found: Scramble, truth: Scramble) -> float:
    """Return which share of all units has the right origin and the right sign, without any symmetry.

    Raises:
        DataError: Scramblings of images of different shapes.
    """
    if found.shape != truth.shape:
        why = f"{found.shape} and {truth.shape}"
        raise DataError("The two scramblings cannot be compared.", why=why, fix="give two of one shape")
    if found.halves != truth.halves:
        found, truth = in_halves(found), in_halves(truth)
    right = (found.order == truth.order) & (found.negated == truth.negated)
    return float(right.mean()) if right.size else 1.0


def left_bits(right: int, units: int, *, choices: float = 1.0, alike: int = 1) -> float:
    """Return log2 of the number of keys that an attack leaves to try.

    ``log2(w!) + w * log2(choices) + log2(alike)`` with w = units - right: those that are wrong can stand in
    any order, each in any of its choices, and the symmetries have to be tried. It is a lower bound for an
    attacker who does not know which are wrong. The formula is ours.

    Args:
        right: Units that the attack got right, in whatever symmetry suits best.
        units: All units: values of a block, halves, blocks of a picture, or pixels.
        choices: Ways in which a unit can be changed where it stands: 1 for a permutation, 2 with negation,
            96 for the blocks of EtC in colour (eight turns, two signs, six orders of colours).
        alike: Symmetries that the attack could not tell apart.

    Returns:
        Bits; not capped at the 256 bits from which every key here follows.

    Raises:
        UsageError: Numbers that no attack can have.
    """
    if not 0 <= right <= units or choices < 1 or alike < 1:
        why = f"{right} of {units} right, {choices:g} choices, {alike} symmetries"
        raise UsageError("Bits that are left cannot be counted.", why=why, fix="give counts from 0 or 1 up")
    wrong = units - right
    return math.lgamma(wrong + 1) / math.log(2) + wrong * math.log2(choices) + math.log2(alike)


class Jigsaw(NamedTuple):
    """How well blocks were put together, each a share in [0, 1].

    Attributes:
        direct: Blocks at their right place (Dc), under the best of the eight turns of the whole picture.
        neighbours: Joints between blocks that are joints of the plain picture (Nc).
        largest: The largest part whose inner joints are all right (Lc).
    """

    direct: float
    neighbours: float
    largest: float


def jigsaw_scores(undone: Scramble, truth: Scramble, block: int) -> Jigsaw:
    """Return direct, neighbour and largest-component scores (Gallagher, CVPR 2012; Chuman et al. 2018).

    A joint is right where all pixels that meet there meet in the plain picture, so that blocks have to be
    turned alike; sign and colours do not count. Where there is a single block, all scores are 1.

    Args:
        undone: What the attacker takes for the scrambling.
        truth: The scrambling.
        block: Side of a block in pixels.

    Raises:
        DataError: Scramblings of images of different shapes.
    """
    if undone.shape != truth.shape:
        why = f"{undone.shape} and {truth.shape}"
        raise DataError("The two scramblings cannot be compared.", why=why, fix="give two of one shape")
    rows, columns = _origins(undone, truth)
    direct = max(_direct(rows, columns, turn, block) for turn in range(8))
    across = _joints(rows, columns, block)
    down = _joints(columns.T, rows.T, block).T
    joints = across.size + down.size
    neighbours = float((across.sum() + down.sum()) / joints) if joints else 1.0
    return Jigsaw(direct, neighbours, _largest(across, down))


def _origins(undone: Scramble, truth: Scramble) -> tuple[Order, Order]:
    """Return from which row and column of the plain picture each pixel of the attacker's comes."""
    height, width, channels = truth.shape
    # The units of whole pixels move together: the first channel says where from.
    order = then(truth, inverse(undone)).order[: height * width * channels : channels] // channels
    place = order.reshape(height, width)
    return place // width, place % width


def _direct(rows: Order, columns: Order, turn: int, block: int) -> float:
    height, width = rows.shape
    if turn % 2 and height != width:
        return 0.0
    wanted = np.indices((height, width))
    wanted = np.rot90(wanted if turn < 4 else wanted[:, :, ::-1], turn % 4, axes=(1, 2)) // block
    right = (wanted[0] == rows // block) & (wanted[1] == columns // block)
    return float(right.mean())


def _joints(rows: Order, columns: Order, block: int) -> npt.NDArray[np.bool_]:
    """Return which blocks belong to their right neighbour, ``[rows of blocks, columns of blocks - 1]``."""
    left, right = slice(block - 1, -1, block), slice(block, None, block)
    apart = abs(rows[:, left] - rows[:, right]) + abs(columns[:, left] - columns[:, right])
    together: npt.NDArray[np.bool_] = (apart == 1).reshape(len(rows) // block, block, -1).all(axis=1)
    return together


def _largest(across: npt.NDArray[np.bool_], down: npt.NDArray[np.bool_]) -> float:
    height, width = len(across), down.shape[1]
    places = np.arange(height * width).reshape(height, width)
    one = np.concatenate([places[:, :-1][across], places[:-1][down]])
    other = np.concatenate([places[:, 1:][across], places[1:][down]])
    graph = coo_matrix((np.ones(one.size), (one, other)), shape=(places.size, places.size))
    _, parts = connected_components(graph, directed=False)
    return float(np.bincount(parts).max() / places.size)
