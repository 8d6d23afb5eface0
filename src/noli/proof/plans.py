"""Plans: what a proof of each kind needs so that it finds a marked model, or why that cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from noli.ops.evalues import StopRule, hit_log_evidence
from noli.ops.exact import TINY
from noli.proof import power
from noli.proof.protocol import TestName

_INDEPENDENT = "Hits are taken to be independent of each other; where they come in clusters, plan for more."
_JUST_AS_MANY = "Ask just as many: with one more the power can be a little lower."
_LOOK_ONCE = " A test that is looked at once may need fewer."
_AS_GIVEN = "The effect is taken as it was given, without a margin for the error of the pilot behind it."
_SIMULATED = f"Simulated {power.RUNS:,} times; enough by the lower end of the power's 90 % interval."
_ERRORS = "Wrong bits are taken to be independent; those that all pictures share do not average out."


@dataclass(frozen=True)
class Goal:
    """What a plan is to reach.

    Attributes:
        alpha: Probability of accusing somebody wrongly, shared among `tests` tests.
        tests: Tests in the family.
        power: Probability with which a marked model is to be found.
        limit: Most secrets (or pictures, or triggers) that there can be.
        seed: Of what is simulated.
    """

    alpha: float = 1e-6
    tests: int = 1
    power: float = 0.9
    limit: int = 100_000
    seed: int = 0

    @property
    def level(self) -> float:
        """What the p-value of one test must not exceed."""
        return self.alpha / self.tests


@dataclass(frozen=True)
class MarkPlan:
    """What a proof of one kind needs.

    Attributes:
        kind: Kind of secret assignment.
        goal: What was to be reached.
        unit: What `needed` and the goal's limit count.
        needed: The smallest number that is enough; None if none within the limit is.
        power: Probability of evidence with that number, or with as many as there can be. Where it was
            simulated, `needed` is enough by the lower end of its 90 % interval.
        rule: What is evidence then, in words.
        critical: The number in `rule`; None where nothing can be evidence, or no one number decides.
        smallest_p: The smallest p-value that so many can give at all.
        reason: Why it is not reachable, in a sentence; empty if it is.
        given: What was assumed: hit rate or effect, chance, sizes.
        error: Standard error of `power` where it was simulated, else 0.
        looks: ``fixed``: one test at the end; ``sequential``: evidence that may be looked at any time.
        figures: Of sequential plans: median and 90 % quantile of the queries to evidence (None: more than
            the limit), and the share of sequences that reach it within the limit.
        notes: What the plan rests on, in sentences.
        method, settings: A mark whose claim has this very test, and the options with which it does; empty
            where nothing is enough.
    """

    kind: TestName
    goal: Goal
    unit: str
    needed: int | None
    power: float
    rule: str
    critical: int | None
    smallest_p: float
    reason: str = ""
    given: Mapping[str, float] = field(default_factory=dict)
    error: float = 0.0
    looks: Literal["fixed", "sequential"] = "fixed"
    figures: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reachable(self) -> bool:
        """Whether some number within the limit is enough."""
        return self.needed is not None

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for machines."""
        return {"reachable": self.reachable, **asdict(self)}


@dataclass(frozen=True)
class Hits:
    """Queries that hit or miss.

    Attributes:
        kind: ``labels`` or ``choices``.
        unit: What is asked, in the plural.
        chance: Chance of a hit under the null.
        rate: Hit rate of a marked model.
        notes: Further notes.
    """

    kind: TestName
    unit: str
    chance: float
    rate: float
    notes: tuple[str, ...] = ()


def plan_hits(hits: Hits, goal: Goal) -> MarkPlan:
    """Plan a test that is looked at once; exact."""
    chance, rate, needed = hits.chance, hits.rate, None
    if rate > chance:
        needed = power.fewest_trials(chance, rate, goal.level, goal.power, goal.limit)
    count = needed or goal.limit
    trials = np.array([count])
    fewest = power.fewest_hits(trials, chance, goal.level)
    reached, critical = float(power.at_least(fewest, trials, rate)[0]), int(fewest[0])
    possible = critical <= count
    return MarkPlan(
        kind=hits.kind,
        goal=goal,
        unit=hits.unit,
        needed=needed,
        power=reached,
        rule=f"at least {critical:,} hits of {count:,}" if possible else "no number of hits is enough",
        critical=critical if possible else None,
        smallest_p=max(TINY, chance**count),
        reason="" if needed else _no_hits(hits, goal, reached),
        given={"hit_rate": rate, "chance": chance},
        notes=(*hits.notes, _INDEPENDENT, *((_JUST_AS_MANY,) if needed else ())),
    )


def plan_sequence(hits: Hits, goal: Goal, futile: float = 0.01) -> MarkPlan:
    """Plan a test that may stop after every query; simulated.

    Args:
        hits: The queries.
        goal: What is to be reached.
        futile: Evidence below which it gives up, as in the protocol.
    """
    chance, taken = hits.chance, np.full(power.RUNS, np.inf)
    if hits.rate > chance:
        rule = StopRule(goal.level, goal.limit, futile)
        taken = power.queries_to_evidence(chance, hits.rate, rule, goal.seed)
    needed = _finite(taken[power.runs_for(goal.power) - 1])
    count = needed or goal.limit
    reached, share = float((taken <= count).mean()), float(np.isfinite(taken).mean())
    best = hit_log_evidence([True] * count, [chance] * count)[-1]
    return MarkPlan(
        kind=hits.kind,
        goal=goal,
        unit=hits.unit,
        needed=needed,
        power=reached,
        rule=f"an e-value of at least {1 / goal.level:,.0f}, at any time; given up below {futile:g}",
        critical=round(1 / goal.level),
        smallest_p=max(TINY, math.exp(-best)),
        reason=""
        if needed
        else _no_hits(hits, goal, power.assured(reached)) + _LOOK_ONCE * (hits.rate > chance),
        given={"hit_rate": hits.rate, "chance": chance, "futile": futile},
        error=power.share_error(reached),
        looks="sequential",
        figures={"median": _quantile(taken, 0.5), "quantile_90": _quantile(taken, 0.9), "share": share},
        notes=(*hits.notes, _INDEPENDENT, _SIMULATED),
    )


def plan_ranks(
    law: Sequence[float], goal: Goal, given: Mapping[str, float], notes: Sequence[str] = ()
) -> MarkPlan:
    """Plan a test of the released variants' ranks that is looked at once; exact for the given law.

    Args:
        law: ``[K + 1]`` probability of every rank: how many counterfactuals score at least as high.
        goal: What is to be reached.
        given: What the law was made from.
        notes: Further notes.
    """
    others, ranks = len(law) - 1, np.asarray(law, dtype=np.float64)
    mean, chance = float(ranks @ np.arange(others + 1)), others / 2
    needed = None
    if hopeful := mean < chance:
        needed = power.smallest(
            lambda n: power.rank_power(ranks, n, goal.level), goal.power, goal.limit, scanned=256
        )
    count = needed or goal.limit
    cut, reached = (
        power.largest_rank_sum(count, others, goal.level),
        power.rank_power(ranks, count, goal.level),
    )
    reason = f"The mean rank, {mean:.3g}, is not below that by chance, {chance:g}."
    if hopeful:
        reason = _all_of(1 / (others + 1), "of the lowest rank", "documents", goal) or _weak(
            goal, "documents", reached
        )
    return MarkPlan(
        kind="texts",
        goal=goal,
        unit="documents",
        needed=needed,
        power=reached,
        rule=f"a sum of ranks of at most {cut:,}" if cut >= 0 else "no sum of ranks is small enough",
        critical=cut if cut >= 0 else None,
        smallest_p=max(TINY, (others + 1.0) ** -count),
        reason="" if needed else reason,
        given={**given, "mean_rank": mean, "mean_rank_by_chance": chance},
        notes=(*notes, _AS_GIVEN, "Documents are taken to be independent of each other."),
    )


def plan_bits(bits: int, accuracy: float, goal: Goal, notes: Sequence[str] = ()) -> MarkPlan:
    """Plan a test of one message over the votes of several pictures; exact for one picture, else simulated.

    Args:
        bits: Length B of the message.
        accuracy: Share of right bits in a picture of a marked model.
        goal: What is to be reached; its limit is the number of pictures.
        notes: Further notes.
    """
    fewest = int(power.fewest_hits(np.array([bits]), 0.5, goal.level)[0])
    hopeful = accuracy > 0.5 and fewest <= bits

    def power_of(pictures: int, wanted: float = goal.power) -> float:
        return power.votes_power(bits, accuracy, pictures, goal.level, goal.seed, wanted)

    def assured(pictures: int) -> float:
        found = power_of(pictures)
        return found if pictures == 1 else power.assured(found)

    needed = power.smallest(assured, goal.power, goal.limit, scanned=8) if hopeful else None
    count = needed or goal.limit
    reached, single = power_of(count, 0.0) if hopeful else 0.0, count == 1
    reason = f"A bit accuracy of {accuracy:.3g} is not above chance, which is 0.5."
    if accuracy > 0.5:
        least = reached if single else power.assured(reached)
        reason = _weak(goal, "pictures", least) if hopeful else _all_of(0.5, "right", "bits", goal, bits)
    rule = (
        f"at least {fewest} right bits of {bits}" if single else f"the votes have p of at most {goal.level:g}"
    )
    return MarkPlan(
        kind="bits",
        goal=goal,
        unit="pictures",
        needed=needed,
        power=reached,
        rule=rule if fewest <= bits else "no message is long enough",
        critical=fewest if single and hopeful else None,
        smallest_p=max(TINY, 0.5**bits),
        reason="" if needed else reason,
        given={"bits": bits, "accuracy": accuracy},
        error=0.0 if single else power.share_error(reached),
        notes=(*notes, _ERRORS, *(_votes_notes(bits * count) if hopeful and not single else ())),
    )


def _votes_notes(votes: int) -> list[str]:
    bounded = ["So many votes were judged by a bound, so that the power is at least this."]
    return [_SIMULATED, *(bounded if votes > power.MANY_VOTES else ())]


def plan_decoys(
    goal: Goal, *, rate: float | None, effect: float = 0.0, notes: Sequence[str] = ()
) -> MarkPlan:
    """Plan a test of one true trigger among decoys; exact.

    Args:
        goal: What is to be reached; its limit is the number of triggers.
        rate: How often the true trigger of a marked model scores highest of all; None: use `effect`.
        effect: Its mean score, where those of decoys are independent and standard normal.
        notes: Further notes.
    """
    most = _largest_rank(goal.limit, goal.level)
    # How often another rank than the first comes is not known where a rate is given.
    ranks = most if rate is None else min(most, 1)

    def power_of(rank: int) -> float:
        return power.decoy_power(_triggers(rank, goal.level), rank, effect) if rate is None else rate

    rank = power.smallest(power_of, goal.power, ranks, scanned=64) if ranks else None
    count, best = (_triggers(rank, goal.level), rank) if rank else (goal.limit, most)
    reached = 0.0
    if best:
        reached = power.decoy_power(count, best, effect) if rate is None else rate
    return MarkPlan(
        kind="decoys",
        goal=goal,
        unit="triggers",
        needed=count if rank else None,
        power=reached,
        rule=f"a rank of at most {best:,} of {count:,}" if best else "no rank is good enough",
        critical=best or None,
        smallest_p=1 / count,
        reason="" if rank else _no_rank(goal, most, reached, rate),
        given={"effect": effect} if rate is None else {"hit_rate": rate},
        notes=(*notes, *(() if rate is not None else (_AS_GIVEN,)), "Scores are taken to have no ties."),
    )


def _no_rank(goal: Goal, ranks: int, reached: float, rate: float | None) -> str:
    if not ranks:
        return (
            f"The smallest p-value of {goal.limit:,} triggers is {1 / goal.limit:.2g}, and at most "
            f"{goal.level:.2g} is evidence: it takes {_triggers(1, goal.level):,} triggers."
        )
    if rate is not None:
        return f"The true trigger scores highest with probability {rate:.2g}, and {goal.power:g} is wanted."
    return _weak(goal, "triggers", reached)


def _triggers(rank: int, level: float) -> int:
    """Return the fewest triggers among which this rank is evidence."""
    count = math.ceil(rank / level) - 1
    while rank / count > level:
        count += 1
    return count


def _largest_rank(triggers: int, level: float) -> int:
    """Return the largest rank that is evidence among so many triggers, 0 if none is."""
    rank = int(triggers * level) + 1
    while rank and _triggers(rank, level) > triggers:
        rank -= 1
    return rank


def _quantile(taken: power.Floats, share: float) -> int | None:
    """Return a quantile of sorted counts; None if it is infinite."""
    return _finite(taken[math.ceil(share * taken.size) - 1])


def _finite(value: float) -> int | None:
    return int(value) if np.isfinite(value) else None


def _no_hits(hits: Hits, goal: Goal, reached: float) -> str:
    if hits.rate <= hits.chance:
        return f"A hit rate of {hits.rate:.3g} is not above chance, which is {hits.chance:.3g}."
    return _all_of(hits.chance, "hits", hits.unit, goal) or _weak(goal, hits.unit, reached)


def _all_of(chance: float, good: str, unit: str, goal: Goal, limit: int | None = None) -> str:
    """Say that not even the best result would be evidence; nothing if it would."""
    count = limit or goal.limit
    if chance**count <= goal.level:
        return ""
    least = math.ceil(math.log(goal.level) / math.log(chance))
    return (
        f"Even {count:,} {unit}, all of them {good}, have a p-value of {chance**count:.2g}, and at most "
        f"{goal.level:.2g} is evidence: it takes at least {least:,} {unit}."
    )


def _weak(goal: Goal, unit: str, reached: float) -> str:
    return f"With {goal.limit:,} {unit} the power is {reached:.3g}, and {goal.power:g} is wanted."
