"""Scrambled blocks put together by their borders, from a single picture and nothing else.

A block may have been turned, mirrored, negated and recoloured, which makes up to 96 ways to look at it; each
shows another border. A place beside what lies already is filled with the block and the way that continue it
best, by prediction across the border (Pomeranz, Shemesh, Ben-Shahar, CVPR 2011), the surest place first
(after Paikin and Tal, CVPR 2015): sure is where the second best block fits much worse. Negation and colours
cost the attacker nothing. The way of the first block stays unknown, and with it that of the whole picture.

Images ``uint8 [H, W, C]`` of whole blocks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError
from noli.ops.decipher.pairs import ways_of
from noli.ops.schemes import imaged, numbered
from noli.ops.scramble import Scramble

Image = npt.NDArray[np.uint8]
Costs = npt.NDArray[np.float32]
Slot = tuple[int, int]
# Left, right, above, below: where the neighbour lies, and which of a block's sides meets it.
_AROUND = ((0, -1), (0, 1), (-1, 0), (1, 0))
_OPPOSITE = (1, 0, 3, 2)


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
    pieces = _Pieces(image.reshape(-1)[ids], block, shape[2])
    laid = _assembled(pieces, (shape[0] // block, shape[1] // block))
    order, negated = np.empty(ids.shape, np.int64), np.zeros(ids.shape, bool)
    for place, (piece, way) in enumerate(laid):
        within, sign = ways[way]
        # Value i of the laid block is value within[i] of the scrambled piece.
        order[piece, within] = ids[place]
        negated[piece] = sign
    return Scramble(shape, imaged(order, shape, block), imaged(negated, shape, block))


class _Pieces:
    """Blocks in all ways, with the two outermost lines of every side: ``[4, N * ways, 2, block * C]``."""

    def __init__(self, blocks: Image, block: int, channels: int) -> None:
        self.ways = len(ways_of(block, channels))
        seen = np.stack(
            [
                255 - blocks[:, within] if sign else blocks[:, within]
                for within, sign in ways_of(block, channels)
            ],
            axis=1,
        )
        grid = seen.reshape(-1, block, block, channels).astype(np.int16)
        self.count = len(blocks)
        inner = min(1, block - 1)
        sides = (
            grid[:, :, [0, inner]].transpose(0, 2, 1, 3),
            grid[:, :, [-1, -1 - inner]].transpose(0, 2, 1, 3),
            grid[:, [0, inner]],
            grid[:, [-1, -1 - inner]],
        )
        self.sides = np.stack([side.reshape(len(grid), 2, -1) for side in sides])
        self.free = np.ones(self.count, bool)

    def costs(self, laid: int, side: int) -> Costs:
        """Return how badly every block in every way continues a laid one beyond one of its sides."""
        outer, inner = self.sides[side, laid, 0], self.sides[side, laid, 1]
        first, second = self.sides[_OPPOSITE[side], :, 0], self.sides[_OPPOSITE[side], :, 1]
        found: Costs = np.abs(2 * outer - inner - first).sum(1, dtype=np.float32)
        found += np.abs(2 * first - second - outer).sum(1, dtype=np.float32)
        return found

    def best(self, costs: Costs) -> tuple[int, float]:
        """Return the best free block in its best way, and how much worse the best other one is, in (0, 1]."""
        table = costs.reshape(self.count, self.ways)
        per = np.where(self.free, table.min(axis=1), np.inf)
        first = int(per.argmin())
        others = np.delete(per, first)
        second = float(others.min()) if others.size else np.inf
        sure = (float(per[first]) + 1) / (second + 1) if np.isfinite(second) else 0.0
        return first * self.ways + int(table[first].argmin()), sure


def _assembled(pieces: _Pieces, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return which block in which way lies where, row by row."""
    lying: dict[Slot, int] = {}
    open_: dict[Slot, Costs] = {}
    best: dict[Slot, tuple[int, float]] = {}

    def lay(slot: Slot, state: int) -> None:
        lying[slot] = state
        pieces.free[state // pieces.ways] = False
        open_.pop(slot, None)
        best.pop(slot, None)
        for side, (down, right) in enumerate(_AROUND):
            beside = (slot[0] + down, slot[1] + right)
            if beside not in lying:
                known = open_.get(beside)
                found = pieces.costs(state, side)
                open_[beside] = found if known is None else known + found
                best.pop(beside, None)

    lay((0, 0), _start(pieces))
    while pieces.free.any():
        usable = [slot for slot in open_ if _fits(lying, slot, size)]
        for slot in usable:
            if slot not in best or not pieces.free[best[slot][0] // pieces.ways]:
                best[slot] = pieces.best(open_[slot])
        slot = min(usable, key=lambda one: (best[one][1], one))
        lay(slot, best[slot][0])
    return _in_rows(lying, size, pieces)


def _start(pieces: _Pieces) -> int:
    """Begin with the block that varies most: flat ones continue everything."""
    spread = pieces.sides[:, :: pieces.ways, 0].std(axis=2).min(axis=0)
    return int(spread.argmax()) * pieces.ways


def _fits(lying: dict[Slot, int], slot: Slot, size: tuple[int, int]) -> bool:
    rows, columns = [row for row, _ in (*lying, slot)], [column for _, column in (*lying, slot)]
    height, width = max(rows) - min(rows) + 1, max(columns) - min(columns) + 1
    return (height <= size[0] and width <= size[1]) or (height <= size[1] and width <= size[0])


def _in_rows(lying: dict[Slot, int], size: tuple[int, int], pieces: _Pieces) -> list[tuple[int, int]]:
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

    Ways count colours fastest, then turns, then signs; see :func:`noli.ops.decipher.pairs.ways_of`.
    """
    colours = ways // 16
    turned = []
    for way in range(ways):
        sign, rest = divmod(way, 8 * colours)
        turn, colour = divmod(rest, colours)
        after = (turn + 1) % 4 + 4 * (turn // 4)
        turned.append(sign * 8 * colours + after * colours + colour)
    return turned
