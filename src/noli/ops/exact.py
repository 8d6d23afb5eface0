"""Exact tails in finite samples: what a secret-derived assignment can reach by chance.

Nothing here assumes anything about the suspect: the randomness is the owner's own, drawn from a secret that
the suspect's model cannot know. Every tail is a sum of non-negative terms, so that even a p-value of 1e-200
keeps its digits; none is reported below the smallest normal float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
TINY = float(np.finfo(np.float64).tiny)
# Real-valued weights are rounded to this many steps of the largest one: see `sign_flip_tail`.
STEPS = 4096


def poisson_binomial_tail(chances: Sequence[float] | Floats, hits: int) -> float:
    """P[at least `hits` successes] of independent trials with unequal chances; binomial if they are equal.

    Args:
        chances: ``[N]`` success probabilities under the null, each in [0, 1].
        hits: Observed number of successes.

    Raises:
        ValueError: A chance outside of [0, 1], or a number of hits that is not in 0 .. N.
    """
    p = np.asarray(chances, dtype=np.float64)
    if not (np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()):
        raise ValueError("chances must lie in [0, 1]")
    if not 0 <= hits <= p.size:
        raise ValueError(f"{hits} hits of {p.size} trials")
    if hits == 0:
        return 1.0
    # After i trials, law[j] is P[j successes] for j < hits; whoever reaches `hits` has passed and is counted.
    law, passed = np.zeros(hits), 0.0
    law[0] = 1.0
    for chance in p:
        passed += chance * law[-1]
        law[1:] = law[1:] * (1 - chance) + law[:-1] * chance
        law[0] *= 1 - chance
    return _bounded(passed)


def rank_sum_tail(ranks: Sequence[int], others: Sequence[int]) -> float:
    """P[sum of ranks <= observed] where every rank is uniform: small ranks are evidence.

    For each document the released variant is ranked among itself and its private counterfactuals, which are
    exchangeable under the null. Exact by convolution.

    Args:
        ranks: Per document, how many counterfactuals score at least as high as the released one, 0 .. K.
        others: Per document, its number K of counterfactuals, at least 1.

    Raises:
        ValueError: Unequal lengths, no counterfactual, or a rank outside of 0 .. K.
    """
    if len(ranks) != len(others) or any(not 0 <= r <= k or k < 1 for r, k in zip(ranks, others, strict=True)):
        raise ValueError("every rank must lie in 0 .. K, with K at least 1")
    total = sum(ranks)
    law = np.ones(1)
    for k in others:
        # A sum of k + 1 shifted copies is a difference of two cumulative sums; but differences lose digits.
        law = np.convolve(law, np.full(k + 1, 1 / (k + 1)))[: total + 1]
    return _bounded(float(law.sum()))


def sign_flip_tail(votes: Sequence[float] | Floats, signs: Sequence[int] | npt.NDArray[np.int64]) -> float:
    """P[sum of s_j * votes_j >= observed] over independent fair signs s_j: exact dynamic programme.

    The message bits are the owner's coins, so the votes may be biased, dependent, or pooled over any number
    of pictures. Integer votes are taken as they are; others are first rounded to 1 / 4096 of the largest,
    which only changes the statistic, not the exactness of its tail.

    Args:
        votes: ``[B]`` per message bit, votes for 1 minus votes for 0 (or summed logits).
        signs: ``[B]`` +1 where the message bit is 1, -1 where it is 0.

    Raises:
        ValueError: Unequal lengths, a vote that is not finite, or a sign that is neither 1 nor -1.
    """
    v, s = np.asarray(votes, dtype=np.float64), np.asarray(signs, dtype=np.int64)
    if v.shape != s.shape or v.ndim != 1 or not np.isfinite(v).all() or (np.abs(s) != 1).any():
        raise ValueError("votes must be finite numbers, with a sign of 1 or -1 each")
    whole = whole_votes(v)
    weights = np.abs(whole)
    # Of all signs, count those that fall short by at most what the observed ones fall short of the maximum.
    missing = int(weights.sum() - (whole * s).sum()) // 2
    law = np.zeros(missing + 1)
    law[0] = 1.0
    for weight in np.sort(weights):
        shifted = np.zeros_like(law)
        shifted[weight:] = law[: max(0, law.size - weight)]
        law = (law + shifted) / 2
    return _bounded(float(law.sum()))


def whole_votes(votes: Floats) -> npt.NDArray[np.int64]:
    """Votes as integers: themselves if they are whole, else in steps of 1 / 4096 of the largest."""
    if (votes == np.rint(votes)).all() and np.abs(votes).sum() < 2**20:
        return votes.astype(np.int64)
    scale = STEPS / np.abs(votes).max()
    rounded: npt.NDArray[np.int64] = np.rint(votes * scale).astype(np.int64)
    return rounded


def decoy_rank(true: float, decoys: Sequence[float]) -> float:
    """P-value of the true trigger's score among decoys drawn from the same set: ties count against it.

    Args:
        true: Score of the secret trigger.
        decoys: Scores of the M - 1 other candidates.
    """
    return (1 + sum(score >= true for score in decoys)) / (1 + len(decoys))


def monte_carlo(reached: int, draws: int) -> tuple[float, float]:
    """P-value of a statistic against redraws of the whole secret, and its standard error.

    ``(1 + reached) / (1 + draws)`` is itself a valid p-value, whatever the number of draws, because the real
    secret is one like the redrawn ones: among all 1 + draws, its rank is uniform. Decide by it as it is; the
    error is information, how far it may lie from the p-value of infinitely many draws. noli's own tests need
    no redraws.

    Args:
        reached: Redraws whose statistic is at least the observed one.
        draws: Number of redraws.

    Raises:
        ValueError: `reached` is not in 0 .. `draws`.
    """
    if not 0 <= reached <= draws:
        raise ValueError(f"{reached} of {draws} redraws")
    p = (1 + reached) / (1 + draws)
    return p, math.sqrt(p * (1 - p) / (1 + draws))


def _bounded(p: float) -> float:
    return float(min(1.0, max(TINY, p)))
