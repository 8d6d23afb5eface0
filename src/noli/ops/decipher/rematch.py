"""Which picture belongs to which code: assignment, the share that is right, and learning from the sure part.

Carlini et al. (arXiv 2108.07256) break NeuraCrypt by boosting: whatever matches pictures and codes slightly
better than chance is used to train something that matches them better, until all are matched. Only the
abstract could be read. Here least squares in both directions takes the place of the trained network: it has
a closed form, needs seconds, and is enough.

Scores are ``[N, N]``, larger for pictures (rows) and codes (columns) that go together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.stats import beta

from noli.core.errors import DataError
from noli.ops.decipher.tokens import Floats, Order, summary

# Share of the pairs that are learned from in the first round and how it grows; components, and for how many
# pictures there is one; rounds.
FIRST, MORE, FEW, MANY, EACH, ROUNDS = 0.3, 0.03, 20, 40, 5, 40
_SMALL = 1e-9


@dataclass(frozen=True)
class Match:
    """Pictures with their codes.

    Attributes:
        codes: ``int64 [N]``: code of every picture, each taken once.
        sure: ``[N]``: how much better the score of the pair is than the next one of that picture.
    """

    codes: Order
    sure: Floats


@dataclass(frozen=True)
class Rate:
    """A share of pictures that were matched, beside what guessing gives.

    Attributes:
        share: Right ones among all, in [0, 1].
        low, high: Exact interval of Clopper and Pearson at 95 %.
        chance: 1 / N: what any assignment gets right on average that knows nothing.
    """

    share: float
    low: float
    high: float
    chance: float


def assigned(scores: npt.NDArray[np.floating]) -> Match:
    """Return the assignment with the largest sum of scores.

    Args:
        scores: ``[N, N]``.

    Raises:
        DataError: Scores of another shape.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise DataError(
            "As many codes as pictures are needed.", why=f"got scores {scores.shape}", fix="give [N, N]"
        )
    rows = np.arange(len(scores))
    codes: Order = linear_sum_assignment(scores, maximize=True)[1].astype(np.int64)
    others = scores.astype(np.float32).copy()
    others[rows, codes] = -np.inf
    best = others.max(axis=1, initial=-np.inf)
    sure = np.where(np.isfinite(best), scores[rows, codes] - best, 0).astype(np.float32)
    return Match(codes, sure)


def rate(right: int, count: int, confidence: float = 0.95) -> Rate:
    """Return the share of `count` pictures that were matched, with its exact interval.

    Raises:
        DataError: No pictures, or more right ones than there are.
    """
    if count < 1 or not 0 <= right <= count:
        raise DataError("A share needs pictures.", why=f"{right} of {count}", fix="give 0 .. N of N >= 1")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, right, count - right + 1)) if right else 0.0
    high = float(beta.ppf(1 - tail, right + 1, count - right)) if right < count else 1.0
    return Rate(right / count, low, high, 1 / count)


def nearness(one: Floats, other: Floats) -> Floats:
    """Return minus the squared distances of all rows ``[N, F]`` of one from all of the other."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None]
    found: Floats = 2 * one @ other.T - squares
    return found


def boosted(
    pictures: Floats, codes: Floats, start: Match, *, rounds: int = ROUNDS, seconds: float = np.inf
) -> Match:
    """Match again and again, each time by what the surest pairs of the round before teach.

    Args:
        pictures: ``[N, ...]``: features of the pictures, such as codes under a network of the attacker's.
        codes: ``[N, ...]``: the codes, their places in the same order in all.
        start: A match that is somewhat better than chance.
        rounds: How often; fewer components first, then more.
        seconds: CPU seconds after which no further round is begun.
    """
    begun, match = time.process_time(), start
    for most in (FEW, MANY):
        wanted = min(most, max(2, len(pictures) // EACH))
        one, other = summary(pictures, wanted), summary(codes, wanted)
        for step in range(rounds // 2):
            share = min(1.0, FIRST + MORE * step + (most == MANY))
            kept = np.argsort(-match.sure, kind="stable")[: max(2, round(share * len(one)))]
            before, match = match, assigned(taught(one, other, kept, match.codes[kept]))
            settled = share == 1.0 and (before.codes == match.codes).all()
            if settled or time.process_time() - begun > seconds:
                break
    return match


def taught(pictures: Floats, codes: Floats, known: Order, theirs: Order) -> Floats:
    """Return scores by least squares from pictures to codes and back, learned from some pairs.

    Args:
        pictures: ``[N, F]``, of about spread 1.
        codes: ``[N, G]``, the same.
        known: Numbers of the pictures that are learned from.
        theirs: The numbers of their codes.
    """
    x, y = pictures[known], codes[theirs]
    there, back = _ridge(x, y), _ridge(y, x)
    return _cosines(pictures @ there, codes) + _cosines(pictures, codes @ back)


def fitted(pictures: Floats, codes: Floats, known: Order, theirs: Order) -> Floats:
    """Return scores by an encoder that was fitted to pairs by least squares; see :func:`boosted`.

    The distance of a picture to every known one, under the attacker's own network, should be that of its code
    to the known codes: with k pairs that is k numbers per picture, the kernel of an infinitely wide encoder.

    Args:
        pictures: ``[N, ...]`` as for :func:`boosted`.
        codes: ``[N, ...]``, the same.
        known: Numbers of the pictures whose codes are known.
        theirs: Those codes.
    """
    parts = []
    for values, some in ((pictures, known), (codes, theirs)):
        rows = values.reshape(len(values), -1)
        far = np.sqrt(np.maximum(-nearness(rows, rows[some]), 0))
        parts.append((far - far.mean(axis=0)) / (far.std(axis=0) + _SMALL))
    return nearness(parts[0], parts[1])


def _ridge(x: Floats, y: Floats) -> Floats:
    inner = x.T @ x + 0.1 * len(x) * np.eye(x.shape[1], dtype=np.float32)
    found: Floats = np.linalg.solve(inner, x.T @ y)
    return found


def _cosines(one: Floats, other: Floats) -> Floats:
    unit = [x / (np.linalg.norm(x, axis=1, keepdims=True) + _SMALL) for x in (one, other)]
    found: Floats = unit[0] @ unit[1].T
    return found
