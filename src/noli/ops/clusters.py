"""K-means whose start is drawn by a key."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2, vq

from noli.core.errors import DataError
from noli.core.keystream import Stream

Floats = npt.NDArray[np.floating]
ITERATIONS = 100


def k_means(points: Floats, count: int, stream: Stream) -> npt.NDArray[np.float64]:
    """Find cluster centres: k-means++ start (Arthur and Vassilvitskii 2007), then Lloyd's iterations.

    Args:
        points: ``[N, D]``.
        count: Number of clusters K.
        stream: Decides the start; the same stream and points give the same centres.

    Returns:
        Centres ``float64 [K, D]``; a cluster that lost all its points keeps its last centre.

    Raises:
        DataError: Fewer different points than clusters.
    """
    points = np.asarray(points, np.float64)
    chosen: list[int] = []
    distance = np.full(len(points), np.inf)
    for u in stream.uniform(count):
        weights = np.ones(len(points)) if not chosen else distance
        total = np.cumsum(weights)
        if not len(points) or total[-1] <= 0:
            raise DataError(
                "There are fewer different pictures than clusters.",
                why=f"{len(chosen)} different, {count} clusters",
                fix="set clusters to less, or add pictures",
            )
        # The last index whose weight is 0 could be hit only by rounding: never past the last positive one.
        place = int(np.searchsorted(total, u * total[-1], side="right"))
        chosen.append(min(place, int(np.flatnonzero(weights)[-1])))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a cluster lost its points
        centres, _ = kmeans2(points, points[chosen], iter=ITERATIONS, minit="matrix")
    found: npt.NDArray[np.float64] = centres
    return found


def nearest(points: Floats, centres: Floats) -> npt.NDArray[np.int64]:
    """Return the index of the nearest centre of every point, ``int64 [N]``."""
    if not len(points):
        return np.zeros(0, np.int64)
    return np.asarray(vq(np.asarray(points, np.float64), centres)[0], np.int64)
