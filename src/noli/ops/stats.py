"""Intervals for accuracies; exact where possible, no dependence on global random state."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

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


def bootstrap_means(correct: Correct, draws: int = 2000, seed: int = 0) -> npt.NDArray[np.float64]:
    """Means under resampling of seeds and of test items, which are crossed: all seeds share the items.

    Args:
        correct: ``[S, N]``, whether seed s classified item i correctly.
        draws: Number of resamples.
        seed: Seed of a private generator.

    Returns:
        Sorted ``float64 [draws]``.
    """
    seeds, items = correct.shape
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    # A resample is two vectors of counts, so its mean is a product with the small matrix `correct`.
    values = correct.astype(np.float32)
    for draw in range(draws):
        item_counts = np.bincount(generator.integers(items, size=items), minlength=items)
        seed_counts = np.bincount(generator.integers(seeds, size=seeds), minlength=seeds)
        per_seed = values @ item_counts.astype(np.float32)
        means[draw] = float(seed_counts @ per_seed) / (seeds * items)
    return np.sort(means)


def accuracy_interval(
    correct: Correct, confidence: float = 0.95, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean accuracy over seeds with an interval.

    One seed: Wilson, which covers the choice of test items only. Several: the wider side of Wilson
    (pooled over seeds) and of the hierarchical bootstrap, because a bootstrap over few seeds is too narrow.

    Args:
        correct: ``[S, N]`` with S and N at least 1.
        confidence: Two-sided coverage.
        draws: Bootstrap resamples.

    Returns:
        ``(mean, low, high)``.
    """
    seeds, items = correct.shape
    mean = float(correct.mean())
    low, high = wilson(mean * items, items, confidence)
    if seeds > 1:
        means = bootstrap_means(correct, draws)
        tail = (1 - confidence) / 2
        low = min(low, float(np.quantile(means, tail)))
        high = max(high, float(np.quantile(means, 1 - tail)))
    return mean, low, high
