"""Autoregressive processes on the pixel grid: generate many at once, and tell them apart by their filters.

A process has 8 weights, one for each pixel of a 3 x 3 window but the last (below right), which is their
weighted sum. Everything follows from the first two rows and columns, the edge. As a filter, the same weights
minus the pixel give 0 on the process's own noise and something else on any other picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noli.core.keystream import Floats

# Window positions in reading order as (rows up, columns left).
LAGS = ((2, 2), (2, 1), (2, 0), (1, 2), (1, 1), (1, 0), (0, 2), (0, 1))
# Weights ``[8, 2]`` of the processes that copy the pixel to the left and the pixel above.
COPIES = np.array([[lag == copied for copied in ((0, 1), (1, 0))] for lag in LAGS], np.float64)


def edge_size(height: int, width: int) -> int:
    """Number of pixels in the first two rows and columns of a picture of at least 2 x 2."""
    return 2 * (height + width) - 4


def sweep(weights: Floats, edge: Floats, height: int, width: int) -> Floats:
    """Generate M pictures, each from its own weights and edge.

    Pixels of one diagonal (row + column = t) depend on earlier diagonals only, so a diagonal of all pictures
    is one step. Only products and sums in a fixed order: the same bits on every machine and in every batch.
    Unstable processes overflow silently to infinite or undefined values.

    Args:
        weights: ``[8, M]`` in the order of :data:`LAGS`.
        edge: ``[edge_size, M]``, pixels of the edge in reading order.
        height: Rows, at least 2.
        width: Columns, at least 2.

    Returns:
        ``float64 [height, width, M]``.
    """
    rows, columns = np.indices((height, width))
    on_edge = (rows < 2) | (columns < 2)
    skew = np.zeros((height + width - 1, height, edge.shape[1]))  # pixel (i, j) lies at [i + j, i]
    skew[(rows + columns)[on_edge], rows[on_edge]] = edge
    scratch = np.empty(skew.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(4, height + width - 1):
            first, last = max(2, t - width + 1), min(height, t - 1)
            total, term = skew[t, first:last], scratch[: last - first]
            for weight, (up, left) in zip(weights, LAGS, strict=True):
                np.multiply(skew[t - up - left, first - up : last - up], weight, out=term)
                total += term
    made: Floats = skew[rows + columns, rows]
    return made


def tiles(length: int, largest: int) -> tuple[int, int]:
    """Number and side of the equal tiles along an axis; together they may be longer than it."""
    count = -(-length // largest)
    return count, -(-length // count)


def lay_tiles(made: Floats) -> Floats:
    """Lay tiles ``[h, w, N, down, across, C]``, each scaled to norm 1, side by side: ``[N, C, H, W]``."""
    h, w, n, down, across, channels = made.shape
    power = np.square(made).sum(axis=(0, 1)).sum(axis=-1, keepdims=True)
    even = made / np.sqrt(np.where(power > 0, power, 1.0))
    whole = even.transpose(2, 3, 0, 4, 1, 5).reshape(n, down * h, across * w, channels)
    return whole.transpose(0, 3, 1, 2)


def moments(noise: Floats) -> Floats:
    """Second moments of the 3 x 3 windows of noise ``[h, w, M]`` over its mean square: ``[M, 9, 9]``."""
    height, width, _ = noise.shape
    windows = np.stack([noise[2 - u : height - u, 2 - v : width - v] for u, v in (*LAGS, (0, 0))])
    raw = np.einsum("ihwm,jhwm->mij", windows, windows) / ((height - 2) * (width - 2))
    relative: Floats = raw / np.square(noise).mean(axis=(0, 1))[:, None, None]
    return relative


def response(weights: Floats, seen: Floats) -> Floats:
    """Root mean square of what every filter answers to every noise, over the noise's own.

    Args:
        weights: ``[8, A]``.
        seen: ``[B, 9, 9]`` from :func:`moments`.

    Returns:
        ``[A, B]``: 0 where the noise comes from the same weights.
    """
    taps = np.concatenate([weights, np.full((1, weights.shape[1]), -1.0)])
    power: Floats = np.einsum("ia,bij,ja->ab", taps, seen, taps)
    return np.sqrt(np.maximum(power, 0.0))


@dataclass(frozen=True)
class Processes:
    """M processes, and the second moments of their noise.

    Attributes:
        weights: ``[8, M]``.
        seen: ``[M, 9, 9]``.
    """

    weights: Floats
    seen: Floats

    def distance(self, others: Processes) -> Floats:
        """How far each process is from the nearest of the others: the weakest answer, ``[M]``."""
        answers = np.minimum(response(self.weights, others.seen), response(others.weights, self.seen).T)
        nearest: Floats = answers.min(axis=1)
        return nearest

    def join(self, other: Processes, index: int) -> Processes:
        """These processes and one of the others."""
        weights = np.concatenate([self.weights, other.weights[:, [index]]], axis=1)
        return Processes(weights, np.concatenate([self.seen, other.seen[[index]]]))


def try_out(
    weights: Floats, starts: Floats, side: int, warm: int, limit: float = np.inf
) -> tuple[list[int], Processes]:
    """Generate noise and keep the processes whose root mean square stays within a limit in all trials.

    Args:
        weights: ``[8, M]``.
        starts: Edges ``[edge_size, trials]`` with values of standard deviation 1; the same for all.
        side: Side of the square that is generated.
        warm: Rows and columns of it that are cut off.
        limit: Largest root mean square.

    Returns:
        The places of the processes within the limit (of the smallest one if none is), and these processes.
    """
    count, trials = weights.shape[1], starts.shape[1]
    edges = np.repeat(starts, count, axis=1)
    noise = sweep(np.tile(weights, trials), edges, side, side)[warm:, warm:]
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.square(noise).mean(axis=(0, 1)).reshape(trials, count).max(axis=0)
    power = np.where(np.isfinite(power), power, np.inf)
    kept: list[int] = np.flatnonzero(power <= limit**2).tolist() or [int(np.argmin(power))]
    return kept, Processes(weights[:, kept], moments(noise[..., kept]))
