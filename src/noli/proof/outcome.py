"""What a test of a secret assignment says, whichever kind of assignment it was."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from noli.proof.records import Record

Reason = Literal["evidence reached", "futile", "budget spent", "going on"]


class Outcome(Record):
    """One test.

    Attributes:
        statistic: Its name in words.
        value: What it came to.
        expected: What it comes to on average under the null.
        n: Queries, documents or message bits that it rests on.
        p: Exact p-value, computed and never simulated, so that a decision by it needs no margin; in a
            sequential test, the reciprocal of the largest evidence (valid at any time).
        e: Evidence at the end; None for tests that are looked at once.
        anytime: Whether it could be looked at any time.
        monte_carlo_error: 0, and nothing else is read: part of the record's form.
        stopped: Why a sequence ended.
        running: Natural logarithm of the evidence after each query, for the picture in the report.
        refused: Queries without an answer; they count as misses.
        assumptions: What the figure rests on, in words.
    """

    statistic: str
    value: float
    expected: float
    n: int
    p: float
    e: float | None = None
    anytime: bool = False
    monte_carlo_error: Annotated[float, Field(ge=0, le=0)] = 0.0
    stopped: Reason = "budget spent"
    running: tuple[float, ...] = ()
    refused: int = 0
    assumptions: tuple[str, ...] = ()
