"""How well the borders of blocks go together, in all ways in which a block can have been changed.

The step from one block to the other should be as likely as those within either, in Mahalanobis distance
(Gallagher, CVPR 2012). All ways of all blocks are compared with one border at once: the distance is linear in
products and values of the other border, which is ours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from noli.ops.decipher.pairs import ways_of

Image = npt.NDArray[np.uint8]
Costs = npt.NDArray[np.float32]
# Left, right, above, below: where the neighbour lies, and which of a block's sides meets it.
AROUND = ((0, -1), (0, 1), (-1, 0), (1, 0))
OPPOSITE = (1, 0, 3, 2)
# Variance in levels that gradients have at least: what rounding to whole levels and noise of cameras add.
_FLOOR = 4.0


class Pieces:
    """Blocks in all ways, and how badly one continues another.

    A state is a block in one of its ways, ``block * ways + way``.

    Args:
        blocks: ``uint8 [N, block * block * channels]``.
        block: Side of a block in pixels.
        channels: 1 to 4.
    """

    def __init__(self, blocks: Image, block: int, channels: int) -> None:
        listed = ways_of(block, channels)
        self.count, self.ways = len(blocks), len(listed)
        seen = [255 - blocks[:, within] if sign else blocks[:, within] for within, sign in listed]
        grid = np.stack(seen, axis=1).reshape(-1, block, block, channels).astype(np.float32) - 127.5
        # The two outermost lines of every side, the outer one first.
        near, far = [0, min(1, block - 1)], [-1, -min(2, block)]
        sides = (
            grid[:, :, near].transpose(2, 0, 1, 3),
            grid[:, :, far].transpose(2, 0, 1, 3),
            grid[:, near].transpose(1, 0, 2, 3),
            grid[:, far].transpose(1, 0, 2, 3),
        )
        self.shown = [_shown(outer) for outer, _ in sides]
        self.asked = [_asked(outer, outer - inner) for outer, inner in sides]
        self.vivid: Costs = grid.std(axis=(1, 2, 3))[:: self.ways]
        self.free = np.ones(self.count, bool)
        self._first: dict[tuple[int, int], int] = {}

    def costs(self, laid: int, side: int) -> Costs:
        """Return how badly every block in every way continues a laid one beyond one of its sides."""
        other = OPPOSITE[side]
        there = self.shown[other] @ self.asked[side][laid]
        back = self.asked[other] @ self.shown[side][laid]
        found: Costs = np.sqrt(np.maximum(there, 0)) + np.sqrt(np.maximum(back, 0))
        own = laid // self.ways
        found[own * self.ways : (own + 1) * self.ways] = np.inf
        return found

    def first(self, laid: int, side: int, costs: Costs | None = None) -> int:
        """Return which of all other blocks, in which way, continues a laid one best."""
        if (laid, side) not in self._first:
            costs = self.costs(laid, side) if costs is None else costs
            self._first[laid, side] = int(costs.argmin())
        return self._first[laid, side]

    def best(self, costs: Costs) -> tuple[int, float]:
        """Return the best free block in its best way, and how much worse the best other one is, in (0, 1]."""
        table = costs.reshape(self.count, self.ways)
        per = np.where(self.free, table.min(axis=1), np.inf)
        first = int(per.argmin())
        others = np.delete(per, first)
        second = float(others.min()) if others.size else np.inf
        sure = (float(per[first]) + 1) / (second + 1) if np.isfinite(second) else 0.0
        return first * self.ways + int(table[first].argmin()), sure


def _shown(outer: Costs) -> Costs:
    """Return products, values and 1 of border lines ``[M, b, C]``; see :func:`_asked`."""
    products = np.einsum("mpc,mpd->mcd", outer, outer).reshape(len(outer), -1)
    return np.concatenate([products, outer.reshape(len(outer), -1), np.ones((len(outer), 1), np.float32)], 1)


def _asked(outer: Costs, steps: Costs) -> Costs:
    """Return the factors of the Mahalanobis distance from every border to a line beyond it.

    Over the pixels of a border, ``sum (y - x - m)^T S^-1 (y - x - m)`` for values x, mean m and covariance S
    of the steps towards it is linear in the products and values of y, so that it is one product of matrices.
    """
    count, length, channels = outer.shape
    mean = steps.mean(axis=1, keepdims=True)
    apart = steps - mean
    spread = np.einsum("mpc,mpd->mcd", apart, apart) / max(1, length - 1)
    inverse = np.linalg.inv(spread + _FLOOR * np.eye(channels, dtype=np.float32)).astype(np.float32)
    goal = outer + mean
    pulled = np.einsum("mpc,mcd->mpd", goal, inverse)
    constant = (pulled * goal).sum(axis=(1, 2))[:, None]
    return np.concatenate([inverse.reshape(count, -1), -2 * pulled.reshape(count, -1), constant], axis=1)
