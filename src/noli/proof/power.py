"""How likely a test of secret assignments finds a marked model, before anything is released.

The law under the null is the exact one of :mod:`noli.proof.kinds`; how a marked model behaves is assumed. All
of it is computed but for two parts, which are simulated with a fixed seed: how long a sequence of queries
takes, and the votes of several pictures for one message. :mod:`noli.proof.plans` puts it into words.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import betainc, betaincinv, gammaln, ndtr, xlog1py, xlogy

from noli.ops.evalues import StopRule, hit_log_evidence
from noli.ops.exact import poisson_binomial_tail, rank_sum_tail, sign_flip_tail

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RUNS = 2_000
# More votes than this are judged by Hoeffding's bound, which is never below the exact p-value.
MANY_VOTES = 4_000
# P-values this close to the level, as a share of it, are computed as a check computes them.
_CLOSE = 1e-9


def pilot_bound(hits: int, trials: int) -> float:
    """Lower end of the 90 % Clopper-Pearson interval; the true rate lies below it in at most 5 of 100 pilots.

    Args:
        hits: Hits of a pilot.
        trials: Its queries, at least 1.
    """
    return float(betaincinv(hits, trials - hits + 1, 0.05)) if hits else 0.0


def smallest(power_of: Callable[[int], float], wanted: float, limit: int, scanned: int) -> int | None:
    """Return the smallest number with this power, None if the limit has less.

    Args:
        power_of: Power of a number of secrets, from 1 on.
        wanted: Power that is enough.
        limit: Largest number.
        scanned: So many are tried one by one; above, power is taken to rise with the number.
    """
    low = min(scanned, limit)
    for count in range(1, low + 1):
        if power_of(count) >= wanted:
            return count
    high = min(2 * low, limit)
    while low < limit and power_of(high) < wanted:
        low, high = high, min(2 * high, limit)
    if low >= limit:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= wanted else (middle, high)
    return high


def at_least(hits: Ints, trials: Ints, chance: float) -> Floats:
    """P[at least `hits` of `trials`]: the binomial tail, element by element."""
    inside = (hits > 0) & (hits <= trials)
    safe = np.where(inside, hits, 1)
    found = betainc(safe, np.maximum(trials - safe, 0) + 1, chance)
    tail: Floats = np.where(inside, found, (hits <= 0).astype(np.float64))
    return tail


def fewest_hits(trials: Ints, chance: float, level: float) -> Ints:
    """Return the fewest hits with a p-value of at most `level`; one more than there are trials if none has.

    Args:
        trials: ``[n]`` numbers of trials.
        chance: Chance of a hit under the null.
        level: What the p-value must not exceed.
    """
    low, high = np.zeros_like(trials), trials + 1
    while (low < high).any():
        middle = (low + high) // 2
        enough = at_least(middle, trials, chance) <= level * (1 - _CLOSE)
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    for i in np.flatnonzero(at_least(low - 1, trials, chance) <= level * (1 + _CLOSE)):
        low[i] -= poisson_binomial_tail([chance] * int(trials[i]), int(low[i]) - 1) <= level
    return low


def fewest_trials(chance: float, rate: float, level: float, wanted: float, limit: int) -> int | None:
    """Return the smallest number of trials whose hits are evidence with this power; every one is tried.

    Args:
        chance: Chance of a hit under the null.
        rate: Hit rate of a marked model.
        level: What the p-value must not exceed.
        wanted: Power that is enough.
        limit: Most trials.
    """
    for trials in _blocks(limit):
        enough = at_least(fewest_hits(trials, chance, level), trials, rate) >= wanted
        if enough.any():
            return int(trials[np.argmax(enough)])
    return None


def queries_to_evidence(chance: float, rate: float, rule: StopRule, seed: int) -> Floats:
    """Return after how many queries simulated sequences reach the evidence, sorted; infinity: never.

    Args:
        chance: Chance of a hit under the null.
        rate: Hit rate of a marked model.
        rule: When a sequence ends.
        seed: Of the simulation.
    """
    draws = (np.random.default_rng((seed, run)) for run in range(RUNS))
    return np.sort([_one_sequence(chance, rate, rule, draw) for draw in draws])


def _one_sequence(chance: float, rate: float, rule: StopRule, draw: np.random.Generator) -> float:
    hits: list[bool] = []
    while True:
        more = min(max(64, len(hits)), rule.budget - len(hits))
        hits += (draw.random(more) < rate).tolist()
        if ended := rule.stop(hit_log_evidence(hits, [chance] * len(hits))):
            return ended[0] if ended[1] == "evidence reached" else math.inf


def rank_law(others: int, effect: float) -> Floats:
    """Return the law of a released variant's rank in the normal model, ``[K + 1]``.

    Args:
        others: Number K of counterfactuals, whose scores are independent and standard normal.
        effect: Mean score of the released variant, of the same spread.
    """
    z, weight = _normal()
    beaten, rank = ndtr(-(z + effect))[:, None], np.arange(others + 1)
    ways = gammaln(others + 1) - gammaln(rank + 1) - gammaln(others - rank + 1)
    law: Floats = weight @ np.exp(ways + xlogy(rank, beaten) + xlog1py(others - rank, -beaten))
    law /= law.sum()
    return law


def largest_rank_sum(documents: int, others: int, level: float) -> int:
    """Return the largest sum of uniform ranks with a p-value of at most `level`; -1 if none has.

    Args:
        documents: How many ranks are summed.
        others: Number K of counterfactuals; ranks are 0 .. K.
        level: What the p-value must not exceed.
    """
    goal, rank = math.log(level), np.arange(others + 1)
    if -documents * math.log(others + 1) > goal + _CLOSE:
        return -1
    low, high = 0.0, 64.0
    for _ in range(60):  # the tilt whose Chernoff bound is the level: the tilted law has all its digits there
        tilt = (low + high) / 2
        weight = np.exp(-tilt * rank)
        bound = documents * (math.log(weight.mean()) + tilt * float(weight @ rank) / weight.sum())
        low, high = (tilt, high) if bound > goal else (low, tilt)
    tilted = _sum_law(weight / weight.sum(), documents)
    back = documents * math.log(weight.mean()) + tilt * np.arange(tilted.size)
    tail = np.cumsum(np.exp(np.minimum(back, 700)) * tilted)
    cut = int(np.searchsorted(tail, level * (1 - _CLOSE), side="right")) - 1
    if tail[cut + 1] <= level * (1 + _CLOSE):
        full, rest = divmod(cut + 1, others)
        ranks = ([others] * full + [rest] + [0] * documents)[:documents]
        cut += rank_sum_tail(ranks, [others] * documents) <= level
    return cut


def rank_power(law: Floats, documents: int, level: float) -> float:
    """Return the power of the sum of ranks of this law.

    Args:
        law: ``[K + 1]`` law of one rank of a marked model.
        documents: How many ranks are summed.
        level: What the p-value must not exceed.
    """
    cut = largest_rank_sum(documents, len(law) - 1, level)
    return float(_sum_law(law, documents)[: cut + 1].sum())


def votes_power(
    bits: int, accuracy: float, pictures: int, level: float, seed: int, wanted: float = 0.0
) -> float:
    """Return the power of the votes of several pictures for one message: exact for one, else simulated.

    Args:
        bits: Length B of the message.
        accuracy: Share of right bits in a picture of a marked model.
        pictures: How many vote.
        level: What the p-value must not exceed.
        seed: Of the simulation.
        wanted: The count ends once it is certain to stay below this power; what it returns then does, too.
    """
    if pictures == 1:
        trials = np.array([bits])
        return float(at_least(fewest_hits(trials, 0.5, level), trials, accuracy)[0])
    draw = np.random.default_rng((seed, pictures))
    votes = (2 * draw.binomial(pictures, accuracy, (RUNS, bits)) - pictures).astype(np.float64)
    total = np.maximum(votes.sum(1), 0.0)
    found = np.exp(-(total**2) / np.maximum(2 * (votes**2).sum(1), 1)) <= level
    if bits * pictures <= MANY_VOTES:
        signs = np.ones(bits, dtype=np.int64)
        unsure = np.flatnonzero(~found & (total > 0) & (0.5 ** (votes != 0).sum(1) <= level))
        for left, run in zip(range(unsure.size, 0, -1), unsure, strict=True):
            if found.sum() + left < wanted * RUNS:
                break
            found[run] = sign_flip_tail(votes[run], signs) <= level
    return float(found.mean())


def decoy_power(triggers: int, rank: int, effect: float) -> float:
    """Return how often the true trigger's rank is at most `rank`, in the normal model.

    Args:
        triggers: How many there are, the true one among them.
        rank: Largest rank that is evidence; 1 is the highest score.
        effect: Mean score of the true trigger, where those of decoys are standard normal.
    """
    z, weight = _normal()
    return float(weight @ betainc(triggers - rank, rank, ndtr(z + effect)))


def share_error(share: float) -> float:
    """Return the standard error of a simulated share."""
    return math.sqrt(share * (1 - share) / RUNS)


def assured(share: float) -> float:
    """Return the lower end of the 90 % interval of a simulated share; 1 where no run missed.

    Args:
        share: Of the ``RUNS`` simulated runs.
    """
    found = round(share * RUNS)
    return 1.0 if found == RUNS else pilot_bound(found, RUNS)


def runs_for(wanted: float) -> int:
    """Return in how many of the ``RUNS`` simulated runs it has to be found, so that this power is assured."""
    return 1 + bisect_left(range(1, RUNS + 1), wanted, key=lambda found: assured(found / RUNS))


def _normal() -> tuple[Floats, Floats]:
    """Return points and weights of a standard normal variable, as exact as floats are."""
    z = np.linspace(-9, 9, 1801)
    weight = np.exp(-(z**2) / 2)
    return z, weight / weight.sum()


def _sum_law(law: Floats, count: int) -> Floats:
    """Return the law of a sum of `count` independent variables of one law, by Fourier transform."""
    size = count * (len(law) - 1) + 1
    fast = next_fast_len(size, real=True)
    found: Floats = np.maximum(irfft(rfft(law, fast) ** count, fast)[:size], 0.0)
    return found


def _blocks(limit: int) -> Iterator[Ints]:
    start, size = 1, 1024
    while start <= limit:
        yield np.arange(start, min(limit, start + size - 1) + 1)
        start, size = start + size, 8 * size
