"""Evidence that may be looked at any time: e-values, their products, and when to stop.

An e-value is a non-negative number whose expectation is at most 1 under the null; the running product of
conditional e-values passes 1 / alpha with probability at most alpha, whenever one looks (Ville). A mixture of
such products over alternatives that are fixed beforehand is one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

Floats = npt.NDArray[np.float64]
# Hit rates of a marked model, and spreads of a text's score, over which the evidence is mixed.
HIT_RATES = tuple(k / 10 for k in range(2, 10))
TILTS = (0.25, 0.5, 1.0, 2.0, 4.0)
Stop = Literal["evidence reached", "futile", "budget spent"]


def hit_log_evidence(hits: Sequence[bool], chances: Sequence[float]) -> Floats:
    """Running log evidence of a sequence of hits, ``[N]``, natural logarithm.

    Mixes likelihood ratios of the hit rates ``0.2 .. 0.9`` against the chances. A rate that is not above the
    chance bets on nothing, and a trial that cannot miss or cannot hit says nothing.

    Args:
        hits: Whether trial i hit.
        chances: Its chance under the null, in [0, 1]; may depend on earlier trials, not on the secret.

    Raises:
        ValueError: Unequal lengths, a chance outside of [0, 1], or a hit of chance 0.
    """
    hit, p = np.asarray(hits, dtype=bool), np.asarray(chances, dtype=np.float64)
    if hit.shape != p.shape or not ((p >= 0) & (p <= 1)).all() or (hit & (p == 0)).any():
        raise ValueError("every trial needs a chance in [0, 1], above 0 where it hit")
    told = (p > 0) & (p < 1)
    p = np.where(told, p, 0.5)
    rates = np.where(told, np.maximum(np.asarray(HIT_RATES)[:, None], p), p)
    steps = np.where(hit, np.log(rates / p), np.log((1 - rates) / (1 - p)))
    return _mixed(np.cumsum(steps, axis=1))


def tilt_log_evidence(scores: Sequence[Sequence[float] | None], variants: int = 2) -> Floats:
    """Running log evidence that released variants score higher than their counterfactuals, ``[N]``.

    ``exp(t z_0) / mean_k exp(t z_k)`` per document, with scores standardised over all of its variants (which
    does not depend on which one was released) and mixed over the tilts t = 0.25 .. 4.

    Args:
        scores: Per document the released variant's score, then those of its K >= 1 counterfactuals; None
            where they were lost, which counts as less evidence than any scores can give.
        variants: Variants of the documents that were lost.

    Raises:
        ValueError: A document without counterfactuals, or a score that is not finite.
    """
    steps = np.zeros((len(TILTS), len(scores)))
    for d, row in enumerate(scores):
        if row is None:
            # No standardised score lies further from 0 than the root of the number of the others.
            steps[:, d] = -2 * np.asarray(TILTS) * np.sqrt(variants - 1)
            continue
        values = np.asarray(row, dtype=np.float64)
        if values.size < 2 or not np.isfinite(values).all():
            raise ValueError(f"document {d} needs finite scores of at least two variants")
        spread = values.std()
        if spread > 0:
            z = (values - values.mean()) / spread
            tilted = np.asarray(TILTS)[:, None] * z
            steps[:, d] = tilted[:, 0] - logsumexp(tilted, axis=1) + np.log(values.size)
    return _mixed(np.cumsum(steps, axis=1))


def _mixed(log_products: Floats) -> Floats:
    mixed: Floats = logsumexp(log_products, axis=0) - np.log(len(log_products))
    return mixed


@dataclass(frozen=True)
class StopRule:
    """When a sequence of queries ends; fixed beforehand.

    Attributes:
        alpha: Evidence of 1 / alpha is enough.
        budget: Most queries.
        futile: Stop when the evidence falls below this value; 0 never stops for that reason. It costs power,
            never validity.
    """

    alpha: float
    budget: int
    futile: float = 0.01

    def stop(self, log_evidence: Floats) -> tuple[int, Stop] | None:
        """Return after how many queries the sequence ends, and why; None while it goes on.

        Args:
            log_evidence: ``[N]`` running log evidence after each query so far.
        """
        floor = np.log(self.futile) if self.futile > 0 else -np.inf
        for count, value in enumerate(log_evidence[: self.budget], start=1):
            if value >= -np.log(self.alpha):
                return count, "evidence reached"
            if value < floor:
                return count, "futile"
        return (self.budget, "budget spent") if log_evidence.size >= self.budget else None


def anytime_p(log_evidence: Floats) -> float:
    """P-value that holds at any stopping time: the reciprocal of the largest evidence so far, at most 1."""
    best = float(log_evidence.max(initial=0.0))
    return float(np.exp(-max(0.0, best)))
