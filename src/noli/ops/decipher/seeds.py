"""Keys that are integers: try them. What published code calls a key is often the seed of a generator.

A seed of torch has 32 effective bits on a CPU, NumPy's legacy generator takes 32 bits, and examples take 0 or
30. The attack puts a few blocks back under every seed and keeps those that are smooth, as natural pictures
are; it needs nothing but the scrambled blocks. The keys of noli have 256 bits, so that it does not apply to
them: it is here for pictures that somebody else has scrambled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from noli.core.errors import DataError
from noli.ops.decipher.statistics import Images, block_rows
from noli.ops.scramble import Order

FEW = 8


class Guess(NamedTuple):
    """A seed, and the mean step in levels between neighbours in the blocks that it puts back."""

    seed: int
    roughness: float


def search(
    images: Images,
    block: int,
    permutation: Callable[[int], Order],
    seeds: Iterable[int],
    *,
    kept: int = 5,
    blocks: int = 64,
) -> list[Guess]:
    """Return the seeds under which scrambled blocks are smoothest, the best first.

    Args:
        images: Scrambled ``uint8 [N, H, W, C]``, values of all blocks permuted alike.
        block: Side of a block in pixels.
        permutation: Seed -> ``[d]``: value i of the scrambled block is value ``order[i]`` of the plain one.
        seeds: What to try.
        kept: How many are returned.
        blocks: How many blocks are looked at; those that vary most.

    Raises:
        DataError: Pictures that are not whole blocks of 8 bits, or a permutation of another length.
    """
    rows = block_rows(images, block).astype(np.int16)
    rows = rows[np.argsort(-rows.std(axis=1), kind="stable")[:blocks]]

    def rough(seed: int) -> Iterator[float]:
        order = np.asarray(permutation(seed))
        if order.shape != rows.shape[1:]:
            why = f"it has {order.shape}, a block has {rows.shape[1]} values"
            raise DataError(
                "The permutation does not fit the blocks.", why=why, fix="check block and colours"
            )
        yield _roughness(rows[:FEW], order, block)
        yield _roughness(rows, order, block)

    return smoothest(rough, seeds, kept)


def smoothest(rough: Callable[[int], Iterator[float]], seeds: Iterable[int], kept: int = 5) -> list[Guess]:
    """Return the seeds that leave least roughness, the best first.

    Args:
        rough: Seed -> roughness of a few parts, then of all; the second is asked for only where the first is
            not more than twice the worst that is kept: most seeds show on a few parts that they are wrong.
        seeds: What to try.
        kept: How many are returned.
    """
    best: list[Guess] = []
    for seed in seeds:
        limit = best[-1].roughness if len(best) == kept else np.inf
        found = rough(seed)
        if next(found) > 2 * limit:
            continue
        whole = next(found)
        if whole < limit:
            best = sorted([*best, Guess(seed, whole)], key=lambda one: one.roughness)[:kept]
    return best


def _roughness(rows: np.ndarray, order: Order, block: int) -> float:
    back = np.empty_like(rows)
    back[:, order] = rows
    grid = back.reshape(len(rows), block, block, -1)
    steps = [np.abs(np.diff(grid, axis=axis)) for axis in (1, 2)]
    count = sum(step.size for step in steps)
    return float(sum(step.sum() for step in steps) / count) if count else 0.0
