"""Accuracies with intervals; no dependence on global random state."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Correct = npt.NDArray[np.bool_]


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
