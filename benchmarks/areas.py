"""Areas under the ROC curve and how far they move, with an interval."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


def macro_auc(scores: Scores, labels: Labels) -> float:
    """Area under the ROC curve of every class against the rest, averaged over the classes that occur.

    The share of pairs (one item of the class, one of the rest) in which the first scores higher; ties count
    half. Computed from ranks (Mann and Whitney 1947).

    Args:
        scores: ``[N, K]``; only the order within a column matters.
        labels: ``int64 [N]`` in ``0 .. K - 1``, at least two classes among them.

    Returns:
        A value in [0, 1]; 0.5 is chance.

    Raises:
        ValueError: Fewer than two classes occur.
    """
    present = np.unique(labels)
    if len(present) < 2:
        raise ValueError(f"an area needs two classes, not {len(present)}")
    areas = []
    for label in present:
        mine = labels == label
        own, others = int(mine.sum()), int((~mine).sum())
        areas.append((rankdata(scores[:, label])[mine].sum() - own * (own + 1) / 2) / (own * others))
    return float(np.mean(areas))


def auc_difference(
    before: Scores, after: Scores, labels: Labels, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """How far :func:`macro_auc` moves when the same items are scored again, with a bootstrap interval.

    Items are drawn within their classes, the same ones for both scores, so that what makes an item hard for
    both cancels out. The interval covers the choice of items, not that of the model.

    Args:
        before: ``[N, K]``.
        after: ``[N, K]`` of the same items.
        labels: ``int64 [N]``.
        confidence: Two-sided coverage.
        draws: Bootstrap resamples.
        seed: Seed of a private generator.

    Returns:
        ``(difference, low, high)``, negative where the second scores are worse.

    Raises:
        ValueError: Fewer than two classes occur.
    """
    generator = np.random.default_rng(seed)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    moved = np.empty(draws)
    for draw in range(draws):
        rows = np.concatenate([group[generator.integers(len(group), size=len(group))] for group in groups])
        moved[draw] = macro_auc(after[rows], labels[rows]) - macro_auc(before[rows], labels[rows])
    tail = (1 - confidence) / 2
    low, high = (float(np.quantile(moved, share)) for share in (tail, 1 - tail))
    return macro_auc(after, labels) - macro_auc(before, labels), low, high
