"""Key recovery where every place of a block has a key of its own, but the same one in all pictures (ELE).

One place shows a block a picture, so what statistics read from many blocks of a picture they read here from
one place over many pictures: which halves of its bytes are high ones, where they belong and their signs
(:mod:`noli.ops.decipher.statistics`). What is left is a jigsaw whose pieces are stacks of blocks, and two
stacks that belong together continue each other in every picture, which settles where each lies and how it is
turned. Signs follow from how brightness goes together over all places, colours from the neighbours. The turn,
the sign and the order of colours of whole pictures stay unknown. The attack is ours.

Images ``uint8 [N, H, W, C]``, whole blocks, all under one key; public ones may have another size and number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from noli.ops.decipher.borders import OPPOSITE, Costs, Pieces
from noli.ops.decipher.jigsaw import assembled
from noli.ops.decipher.scores import COLOURS
from noli.ops.decipher.statistics import Fit, Images, assign, block_rows, correlations, halves_of, leading
from noli.ops.schemes import Shape, imaged, numbered, turns
from noli.ops.scramble import Order, Scramble, padded

Floats = npt.NDArray[np.float32]
# Starts of each assignment beside that from the barycentre, and pictures by which borders are compared.
RESTARTS, COMPARED = 20, 256
# Rounds in which stacks take the order of colours that suits their neighbours best.
ROUNDS = 10
# Share of the time that is for what lies within the places; the rest is for putting stacks together.
WITHIN = 0.75


class Stacks(Pieces):
    """Stacks of blocks in eight turns, and how badly one continues another; see :class:`Pieces`.

    Args:
        grey: ``[B, N, b, b]``: brightness of the pixels of every stack in every picture.
    """

    def __init__(self, grey: Floats) -> None:
        self.count, _, block, _ = grey.shape
        self.ways = 8
        pixels = grey[:, :COMPARED].reshape(self.count, -1, block * block)
        within = turns(block).reshape(8, block, block)
        sides = (within[:, :, 0], within[:, :, -1], within[:, 0], within[:, -1])
        self.edges = [pixels[:, :, side].transpose(0, 2, 1, 3).reshape(8 * self.count, -1) for side in sides]
        self.lengths = [(edge**2).sum(axis=1) for edge in self.edges]
        self.vivid = grey.std(axis=(1, 2, 3))
        self.free = np.ones(self.count, bool)
        self._first = {}

    def costs(self, laid: int, side: int) -> Costs:
        """Return how badly every stack in every turn continues a laid one beyond one of its sides."""
        other, own = OPPOSITE[side], laid // 8
        found: Costs = self.lengths[other] - 2 * (self.edges[other] @ self.edges[side][laid])
        found += self.lengths[side][laid]
        np.sqrt(np.maximum(found, 0), out=found)
        found[8 * own : 8 * own + 8] = np.inf
        return found


def recover(
    images: Images, public: Images, block: int, rng: np.random.Generator, seconds: float = np.inf
) -> Scramble:
    """Return what the attacker takes for the scrambling, up to turn, sign and colours of whole pictures.

    The low halves, which are noise, are anywhere in their block.

    Args:
        images: Scrambled, two or more.
        public: Plain ones.
        block: Side of a block in pixels.
        rng: Generator of the random starts.
        seconds: CPU seconds. One start in every place and one laying are made in any case; what is over is
            for further ones, for every place alike.

    Raises:
        DataError: Pictures that are not whole blocks of ``uint8``.
    """
    begun = time.process_time()
    shape: Shape = (images.shape[1], images.shape[2], images.shape[3])
    rows = block_rows(images, block).reshape(len(images), -1, block * block * shape[2])
    goal = public_correlations(public, block)
    ends = begun + WITHIN * seconds * (1 + np.arange(rows.shape[1])) / max(1, rows.shape[1])
    fits = list(within(rows, goal, rng, ends=ends))
    order, negated = np.stack([fit.order for fit in fits]), np.stack([fit.negated for fit in fits])
    plain = _undone(rows, order, negated)
    # Pictures are bright or dark in all places more or less alike.
    turned = leading(correlations(plain.mean(axis=2).T))
    negated ^= turned[:, None]
    plain[turned] *= -1
    stacks = plain.reshape(len(plain), len(images), block, block, shape[2])
    size = shape[0] // block, shape[1] // block
    laid = np.array(assembled(Stacks(stacks.mean(axis=4)), size, until=begun + seconds))
    colours = _coloured(stacks.mean(axis=(2, 3))[laid[:, 0]].transpose(0, 2, 1), size)
    return _scrambling(shape, block, order, negated, laid, colours)


def public_correlations(public: Images, block: int) -> npt.NDArray[np.float64]:
    """Return how the high halves of a block's values go together in public pictures, ``[d, d]``."""
    return correlations(block_rows(padded(public, block), block) >> 4)


def within(
    rows: Images,
    goal: npt.NDArray[np.float64],
    rng: np.random.Generator,
    restarts: int = RESTARTS,
    ends: npt.NDArray[np.float64] | None = None,
) -> Iterator[Fit]:
    """Iterate over places and find how the halves of each lie; those of low ones are arbitrary.

    Args:
        rows: Blocks ``uint8 [N, B, d]``, of N pictures.
        goal: See :func:`public_correlations`.
        rng: Generator of the random starts.
        restarts: Starts beside that from the barycentre.
        ends: For every place when its last start is made, ``[B]``, see :func:`assign`; None: no end.
    """
    values = rows.shape[2]
    for place in range(rows.shape[1]):
        found = correlations(halves_of(rows[:, place]))
        high = np.sort(np.argsort(-(found**2).sum(axis=1), kind="stable")[:values])
        low = np.setdiff1d(np.arange(2 * values), high)
        own = found[np.ix_(high, high)]
        order, negated = np.empty(2 * values, np.int64), np.zeros(2 * values, bool)
        until = np.inf if ends is None else float(ends[place])
        order[high] = assign(abs(own), abs(goal), rng, restarts, until)
        order[low] = np.arange(values, 2 * values)
        negated[high] = leading(own)
        yield Fit(order, negated, 0.0)


def _undone(rows: Images, order: Order, negated: npt.NDArray[np.bool_]) -> Floats:
    """Return the high halves where they belong, ``[B, N, d]``, each with mean 0 over the pictures."""
    count, places, values = rows.shape
    plain = np.empty((places, count, values), np.float32)
    for place in range(places):
        halves = halves_of(rows[:, place]).astype(np.float32)
        signs = np.where(negated[place], -1, 1)
        back = np.argsort(order[place])[:values]
        # A negated half is 15 minus itself: without its mean it only changes its sign.
        plain[place] = ((halves - halves.mean(axis=0)) * signs)[:, back]
    return plain


def _coloured(series: Floats, size: tuple[int, int]) -> Order:
    """Return in which order each laid stack shows its colours, ``[B, C]``; neighbours show them alike.

    Args:
        series: ``[B, C, N]``: each colour of each laid stack, row by row.
        size: Rows and columns.
    """
    count, channels = series.shape[:2]
    orders = np.tile(np.arange(channels), (6 if channels >= 3 else 1, 1))
    orders[:, :3] = COLOURS if channels >= 3 else orders[:, :3]
    chosen = np.full(count, -1)
    grid = np.arange(count).reshape(size)
    around = np.pad(grid, 1, constant_values=-1)
    beside = np.stack([around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1]], axis=-1)
    shown = series.copy()
    for _ in range(ROUNDS):
        before = chosen.copy()
        for place, near in enumerate(beside.reshape(count, 4)):
            known = [one for one in near if one >= 0 and chosen[one] >= 0]
            told = shown[known].sum(axis=0)
            # Where nothing lies beside it yet, all orders fit and the first is taken.
            chosen[place] = int((series[place][orders] * told).sum(axis=(1, 2)).argmax()) if known else 0
            shown[place] = series[place][orders[chosen[place]]]
        if (chosen == before).all():
            break
    found: Order = orders[chosen]
    return found


def _scrambling(
    shape: Shape, block: int, order: Order, negated: npt.NDArray[np.bool_], laid: Order, colours: Order
) -> Scramble:
    """Put together where each half comes from: its stack's place, turn and colours."""
    ids, channels = numbered(shape, block), shape[2]
    values = ids.shape[1]
    source = np.empty((len(ids), 2 * values), np.int64)
    for place, (stack, turn) in enumerate(laid):
        # Value i of the laid block is value shown[i] of the stack.
        shown = (turns(block)[turn][:, None] * channels + colours[place]).reshape(-1)
        lies = ids[place][np.argsort(shown)]
        source[stack] = np.concatenate([lies, lies + ids.size])[order[stack]]
    return Scramble(shape, imaged(source, shape, block), imaged(negated, shape, block), halves=True)
