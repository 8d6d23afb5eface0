"""Scrambled blocks put together by their borders, from a single picture and nothing else.

A block may have been turned, mirrored, negated and recoloured, which makes up to 96 ways to look at it; each
shows another border. How well two borders go together is told by their gradients: the step from one block to
the other should be as likely as those within either, in Mahalanobis distance (Gallagher, CVPR 2012). A place
beside what lies already is filled with the block and the way that fit best, the surest place first (after
Paikin and Tal, CVPR 2015): sure is where the second best block fits much worse. Then the largest part whose
joints are the first choice of both sides is kept and the rest is laid again, as long as that gives more such
joints (after Pomeranz, Shemesh, Ben-Shahar, CVPR 2011). Negation and colours cost the attacker nothing. The
way of the first block stays unknown, and with it that of the whole picture.

Images ``uint8 [H, W, C]`` of whole blocks.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from noli.core.errors import DataError
from noli.ops.decipher.borders import AROUND, OPPOSITE, Costs, Image, Pieces
from noli.ops.decipher.pairs import ways_of
from noli.ops.schemes import imaged, numbered
from noli.ops.scramble import Scramble

Slot = tuple[int, int]
Joint = tuple[Slot, Slot]
# How often the rest is laid again at most, and up to how many blocks; of more, once.
ROUNDS, FEW = 8, 400


def solve(image: Image, block: int) -> Scramble:
    """Return what the attacker takes for the scrambling of a picture.

    Args:
        image: Scrambled ``uint8 [H, W, C]``.
        block: Side of a block in pixels.

    Raises:
        DataError: A picture that is not whole blocks of 8 bits.
    """
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape[0] % block or image.shape[1] % block:
        raise DataError(
            "The attack needs an 8-bit picture of whole blocks.",
            why=f"got {image.dtype} {image.shape} for blocks of {block}",
            fix="give uint8 [H, W, C], with sides that the block divides",
        )
    shape = (image.shape[0], image.shape[1], image.shape[2])
    ids, ways = numbered(shape, block), ways_of(block, shape[2])
    if not len(ids):
        return Scramble(shape, np.arange(0), np.zeros(0, bool))
    pieces = Pieces(image.reshape(-1)[ids], block, shape[2])
    laid = assembled(pieces, (shape[0] // block, shape[1] // block))
    order, negated = np.empty(ids.shape, np.int64), np.zeros(ids.shape, bool)
    for place, (piece, way) in enumerate(laid):
        within, sign = ways[way]
        # Value i of the laid block is value within[i] of the scrambled piece.
        order[piece, within] = ids[place]
        negated[piece] = sign
    return Scramble(shape, imaged(order, shape, block), imaged(negated, shape, block))


def assembled(pieces: Pieces, size: tuple[int, int], until: float = np.inf) -> list[tuple[int, int]]:
    """Return which block in which way lies where, row by row: ``[rows * columns]`` of block and way.

    Args:
        pieces: The blocks.
        size: Rows and columns.
        until: CPU time (of :func:`time.process_time`) after which nothing is laid again; once it is.
    """
    # Flat blocks continue everything: begin with the one that varies most.
    given: dict[Slot, int] = {(0, 0): int(pieces.vivid.argmax()) * pieces.ways}
    best, most = given, -1
    for _ in range(1 + (ROUNDS if pieces.count <= FEW else 1)):
        lying = _laid(pieces, size, given)
        joints = _mutual(pieces, lying)
        if len(joints) <= most:
            break
        best, most = lying, len(joints)
        given = _largest(lying, joints)
        if time.process_time() > until:
            break
    return _in_rows(best, size, pieces)


def _laid(pieces: Pieces, size: tuple[int, int], given: dict[Slot, int]) -> dict[Slot, int]:
    """Lay all blocks around given ones, the surest place first."""
    lying: dict[Slot, int] = {}
    open_: dict[Slot, Costs] = {}
    best: dict[Slot, tuple[int, float]] = {}
    pieces.free[:] = True

    def lay(slot: Slot, state: int) -> None:
        lying[slot] = state
        pieces.free[state // pieces.ways] = False
        open_.pop(slot, None)
        best.pop(slot, None)
        for side, (down, right) in enumerate(AROUND):
            beside = (slot[0] + down, slot[1] + right)
            if beside not in lying and beside not in given:
                found = pieces.costs(state, side)
                pieces.first(state, side, found)
                open_[beside] = open_[beside] + found if beside in open_ else found
                best.pop(beside, None)

    for slot, state in given.items():
        lay(slot, state)
    while pieces.free.any():
        rows, columns = [row for row, _ in lying], [column for _, column in lying]
        ends, others = (min(rows), min(columns)), (max(rows), max(columns))
        usable = [slot for slot in open_ if _fits(ends, others, slot, size)]
        for slot in usable:
            if slot not in best or not pieces.free[best[slot][0] // pieces.ways]:
                best[slot] = pieces.best(open_[slot])
        slot = min(usable, key=lambda one: (best[one][1], one))
        lay(slot, best[slot][0])
    return lying


def _mutual(pieces: Pieces, lying: dict[Slot, int]) -> list[Joint]:
    """Return the joints that are the first choice of the blocks on both sides."""
    found = []
    for slot, state in lying.items():
        for side in (1, 3):
            beside = (slot[0] + AROUND[side][0], slot[1] + AROUND[side][1])
            other = lying.get(beside)
            if other is None or pieces.first(state, side) != other:
                continue
            if pieces.first(other, OPPOSITE[side]) == state:
                found.append((slot, beside))
    return found


def _largest(lying: dict[Slot, int], joints: list[Joint]) -> dict[Slot, int]:
    """Return the largest part that joints hold together."""
    slots = {slot: number for number, slot in enumerate(lying)}
    ends = np.array([(slots[one], slots[other]) for one, other in joints], np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(slots), len(slots)))
    _, parts = connected_components(graph, directed=False)
    largest = int(np.bincount(parts).argmax())
    return {slot: lying[slot] for slot, part in zip(slots, parts, strict=True) if part == largest}


def _fits(ends: Slot, others: Slot, slot: Slot, size: tuple[int, int]) -> bool:
    """Tell whether what lies between two corners is no larger than the picture with one more slot."""
    height = max(others[0], slot[0]) - min(ends[0], slot[0]) + 1
    width = max(others[1], slot[1]) - min(ends[1], slot[1]) + 1
    return (height <= size[0] and width <= size[1]) or (height <= size[1] and width <= size[0])


def _in_rows(lying: dict[Slot, int], size: tuple[int, int], pieces: Pieces) -> list[tuple[int, int]]:
    top, left = min(row for row, _ in lying), min(column for _, column in lying)
    found = {(row - top, column - left): divmod(state, pieces.ways) for (row, column), state in lying.items()}
    height = max(row for row, _ in found) + 1
    if height != size[0]:  # it lies on its side
        turned = pieces_turned(pieces.ways)
        found = {
            (size[0] - 1 - column, row): (piece, turned[way]) for (row, column), (piece, way) in found.items()
        }
    return [found[row, column] for row in range(size[0]) for column in range(size[1])]


def pieces_turned(ways: int) -> list[int]:
    """Return which way a block is after a quarter turn to the left, for each way that it can be.

    Ways count colours fastest, then turns, then signs; see :func:`noli.ops.decipher.pairs.ways_of`. Eight are
    turns alone.
    """
    colours = max(1, ways // 16)
    turned = []
    for way in range(ways):
        sign, rest = divmod(way, 8 * colours)
        turn, colour = divmod(rest, colours)
        after = (turn + 1) % 4 + 4 * (turn // 4)
        turned.append(sign * 8 * colours + after * colours + colour)
    return turned
