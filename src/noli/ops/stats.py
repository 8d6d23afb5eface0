"""Accuracies and areas under the ROC curve with intervals; no dependence on global random state."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Correct = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


def wilson(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion.

    Args:
        successes: Number of successes, 0 .. trials (may be fractional: a mean over seeds times trials).
        trials: Number of independent trials, at least 1.
        confidence: Two-sided coverage.

    Returns:
        ``(low, high)`` in [0, 1].
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # The ends are exactly 0 and 1 in the extreme cases; rounding must not put them beside the estimate.
    low = 0.0 if successes == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if successes == trials else min(1.0, (centre + spread) / scale)
    return low, high


def accuracy_interval(correct: Correct, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean accuracy over seeds with an interval.

    One seed: Wilson, which covers the choice of test items only. Several: beside it Student's t over the
    means of the seeds, which share the items; both half-widths are added in quadrature. Two or three seeds
    say little about their spread, and t makes the interval as wide as that demands.

    Args:
        correct: ``[S, N]``, whether seed s classified item i correctly; S and N at least 1.
        confidence: Two-sided coverage.

    Returns:
        ``(mean, low, high)``.
    """
    seeds, items = correct.shape
    mean = float(correct.mean())
    low, high = wilson(mean * items, items, confidence)
    if seeds > 1:
        error = float(correct.mean(1).std(ddof=1)) / math.sqrt(seeds)
        spread = float(stdtrit(seeds - 1, (1 + confidence) / 2)) * error
        low = max(0.0, mean - math.hypot(mean - low, spread))
        high = min(1.0, mean + math.hypot(high - mean, spread))
    return mean, low, high


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
        _, place, counts = np.unique(scores[:, label], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts - 1) / 2  # ranks from 1; equal scores share theirs
        mine = labels == label
        own, others = int(mine.sum()), int((~mine).sum())
        areas.append((middle[place[mine]].sum() - own * (own + 1) / 2) / (own * others))
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
