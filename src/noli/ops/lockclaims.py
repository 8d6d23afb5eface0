"""What attacks on a locked model found, as rows that can be read; and what of its claim they break.

The claim of a lock, fixed beforehand: who lacks the key gets at most half of what it gives (used without it,
under the best of the wrong keys that are tried, or with few labelled pictures), and pictures that he changes
leave at least half of the accuracy. Levels L0 to L2 lack the key; of L3, who has it, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from noli.core.attacks import DISPLACED, MATCHING, WRONG_KEYS
from noli.core.robustness import LEVELS, Robustness
from noli.core.theft import NO_KEY, SCRATCH, WRONG_MOST, Theft
from noli.ops.metrics import percent

# Under which name the results of a run say which attack was made alone.
ATTACK = "attack"
# Rows of use that a lock is judged by.
CLAIMED = (NO_KEY, WRONG_MOST)


class Figure(NamedTuple):
    """One row.

    Attributes:
        who: What the attacker has: a level, or in words.
        what: What he does with it.
        value: Accuracy or mAP that is left, or that he reaches, in [0, 1].
        whole: What the key gives.
        lowers: Whether a low value is the attacker's success.
        counts: Whether it says something against the lock.
    """

    who: str
    what: str
    value: float
    whole: float
    lowers: bool
    counts: bool

    @property
    def broken(self) -> bool:
        """Whether less than half is left, or more than half is reached."""
        half = self.whole / 2
        return self.counts and (self.value < half if self.lowers else self.value > half)

    @property
    def words(self) -> str:
        """The row as a reason why a claim does not hold."""
        way = "less" if self.lowers else "more"
        return (
            f"{self.what}: {percent(self.value)}, {way} than half of the {percent(self.whole)} with the key"
        )


def figures(results: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Return the rows of the one attack that a run made; empty where there was nothing to attack with.

    Args:
        results: Of a run of :func:`noli.audit_model`, with ``robustness`` or ``theft``.
    """
    if "robustness" in results:
        record = Robustness.model_validate(results["robustness"])
        return tuple(
            Figure(one.level, one.way, one.accuracy, record.clean, lowers=True, counts=one.level != "L3")
            for one in record.attempts
        )
    return _of_theft(Theft.model_validate(results["theft"])) if "theft" in results else ()


def fallen(results: Mapping[str, Any], rows: str) -> tuple[str, ...]:
    """Return which parts of a lock's claim do not hold, in words; empty where all of it does.

    After one attack alone, its own figures decide. After an audit everything does that was measured: use
    without the key; of every level without the key the lowest accuracy, over all attacks that it has; of
    every way of theft the fewest labelled pictures that are enough. So an audit fails wherever a single
    attack would. Who has the key (L3), most of it (displaced places) or no model at all (from scratch)
    breaks nothing.

    Args:
        results: Of a run that measured a locked model.
        rows: Name of the table of use among them, such as ``accuracy``.
    """
    if ATTACK in results:
        return tuple(one.words for one in figures(results) if one.broken)
    table: Mapping[str, float] = results[rows]
    whole = table["clean"] if "clean" in table else table["key"]
    used = [Figure("", name, table[name], whole, lowers=False, counts=name in CLAIMED) for name in table]
    found = [one for one in used if one.broken]
    if "robustness" in results:
        found += [one for one in _by_level(Robustness.model_validate(results["robustness"])) if one.broken]
    if "theft" in results:
        found += _cheapest(Theft.model_validate(results["theft"]))
    return tuple(one.words for one in found)


def _by_level(record: Robustness) -> list[Figure]:
    return [
        Figure(level, f"{level}, who {LEVELS[level]}", left, record.clean, lowers=True, counts=level != "L3")
        for level, left in record.least.items()
    ]


def _cheapest(record: Theft) -> list[Figure]:
    """Return of every way of theft that breaks the claim the row with the fewest labels, which are named."""
    found: dict[str, Figure] = {}
    for one in _of_theft(record):
        # Wrong keys are rows of use already.
        if one.broken and one.who != WRONG_KEYS.has:
            what = one.what if one.who == MATCHING.has else f"{one.what} with {one.who}"
            found.setdefault(one.what, one._replace(what=what))
    return list(found.values())


def _of_theft(record: Theft) -> tuple[Figure, ...]:
    found: list[tuple[str, str, float, bool]] = []
    if record.wrong_mean is not None and record.wrong_most is not None:
        keys = f"{record.wrong_keys} wrong keys"
        found += [(WRONG_KEYS.has, f"{keys}, mean", record.wrong_mean, True)]
        found += [(WRONG_KEYS.has, f"{keys}, the best", record.wrong_most, True)]
    found += [
        (DISPLACED.has, f"{count} places of every layer wrong", score, False)
        for count, score in record.displaced.items()
    ]
    if record.matched is not None:
        what = "a permutation estimated from the public network"
        found += [(MATCHING.has, what, record.matched, True)]
    found += [
        (record.counted(row.labels), row.attack, row.score, row.attack != SCRATCH) for row in record.rows
    ]
    return tuple(
        Figure(who, what, score, record.score, lowers=False, counts=counts)
        for who, what, score, counts in found
    )
