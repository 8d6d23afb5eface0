"""Assignments that decide which variant of a text is released."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from noli.core.key import Key
from noli.ops.evalues import tilt_log_evidence
from noli.ops.exact import rank_sum_tail
from noli.proof.kinds.base import BLIND, Kind, Seen
from noli.proof.kinds.base import number as value_of
from noli.proof.outcome import Outcome
from noli.proof.records import Record


class Texts(Kind):
    """One of several variants of a text drawn for release; the suspect scores all of them."""

    class Parameters(Record):
        """Parameters.

        Attributes:
            variants: Number of variants per text, the released one among them.
        """

        variants: Annotated[int, Field(ge=2, le=10_000)]

    @property
    def queries(self) -> int:
        """One per variant."""
        return int(self.cfg.variants)

    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the number of the released variant."""
        return self.integer(secret, beacon, self.cfg.variants)

    def ideal(self, drawn: tuple[int, ...]) -> Seen:
        """Return a better score for the released variant than for all others."""
        return Seen(tuple((float(number == drawn[0]),) for number in range(self.queries)))

    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Rank the released variants, exactly; or tilt their standardised scores, at any time."""
        rows = [self._released_first(number, one) for (number,), one in zip(drawn, seen, strict=True)]
        others = self.cfg.variants - 1
        ranks = [others if row is None else sum(other >= row[0] for other in row[1:]) for row in rows]
        facts: dict[str, Any] = {
            "statistic": "sum of the released variants' ranks (small is evidence)",
            "value": float(sum(ranks)),
            "expected": len(rows) * others / 2,
            "n": len(rows),
            "refused": sum(None in one.answers for one in seen),
            "assumptions": (self.drawn, BLIND, "The counterfactual variants were never released."),
        }
        if self.protocol.looks == "fixed":
            return Outcome(p=rank_sum_tail(ranks, [others] * len(rows)), **facts)
        return self._sequence(tilt_log_evidence(rows, variants=self.cfg.variants), facts)

    def _released_first(self, number: int, seen: Seen) -> list[float] | None:
        if None in seen.answers:  # lost: the worst that it can have been
            return None
        scores = [value_of(answer) for answer in seen.answers if answer is not None]
        return [scores[number], *scores[:number], *scores[number + 1 :]]
