"""The figures of one attack on a locked model, as rows that can be read, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from noli.core.attacks import DISPLACED, MATCHING, WRONG_KEYS
from noli.core.robustness import Robustness
from noli.core.theft import SCRATCH, Theft

# Under which name the results of a run say which attack was made alone.
ATTACK = "attack"


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
