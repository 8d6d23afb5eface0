"""What all kinds of secret assignment share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from noli.core.key import Key
from noli.ops.evalues import StopRule, anytime_p, hit_log_evidence
from noli.ops.exact import poisson_binomial_tail
from noli.proof.outcome import Outcome
from noli.proof.protocol import Protocol
from noli.proof.records import Damaged, Record

Answer = tuple[str | float, ...]
# Purpose of the stream that every assignment is drawn from.
ASSIGNMENT = "proof/assignment"
DRAWN = "The owner drew the secrets at random; no public randomness took part, and nothing shows that he did."
PUBLIC = (
    "The assignments follow from secrets that were committed before the public randomness was known, and "
    "from that."
)
BLIND = "The suspect does not know the secrets and cannot tell which answer would count."


class Seen(NamedTuple):
    """What came back for one secret.

    Attributes:
        answers: One per query of this secret (a text has one per variant), None where there was none.
    """

    answers: tuple[Answer | None, ...]


def number(answer: Answer) -> float:
    """Return the one number of an answer.

    Raises:
        Damaged: It is none.
    """
    try:
        (value,) = answer
        found = float(value)
    except ValueError as error:
        raise Damaged(f"an answer is no number: {str(answer)[:60]}") from error
    if not math.isfinite(found):
        raise Damaged(f"an answer is no finite number: {found}")
    return found


class Kind(ABC):
    """One kind of assignment.

    Attributes:
        cfg: Its parameters, from the protocol.
        level: What the p-value must not exceed.
    """

    def __init__(self, protocol: Protocol, paid: float | None = None) -> None:
        self.protocol = protocol
        self.level = protocol.alpha / (paid or protocol.tests)
        try:
            self.cfg: Any = self.Parameters.model_validate(protocol.parameters)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise Damaged(f"the protocol's parameters: {place}: {first['msg']}") from error

    class Parameters(Record):
        """Parameters of this kind."""

    @property
    def drawn(self) -> str:
        """What is assumed of the assignments."""
        return PUBLIC if self.protocol.beacon else DRAWN

    @property
    def queries(self) -> int:
        """Queries per secret."""
        return 1

    @abstractmethod
    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the assignment that follows from a secret and public randomness (empty where none is)."""

    @abstractmethod
    def ideal(self, drawn: tuple[int, ...]) -> Seen:
        """Return the answers that would speak most for the claim."""

    @abstractmethod
    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Test what was seen; both in the order of the secrets."""

    def integer(self, secret: Key, beacon: str, bound: int) -> tuple[int, ...]:
        """Return one uniform integer below `bound`."""
        return (secret.stream(ASSIGNMENT, beacon).choice(bound),)

    def _hits(
        self, hits: Sequence[bool], chances: Sequence[float], refused: int, words: str, *more: str
    ) -> Outcome:
        """Return the outcome of independent hits, looked at once or after every query."""
        facts: dict[str, Any] = {
            "statistic": words,
            "value": float(sum(hits)),
            "expected": float(sum(chances)),
            "n": len(hits),
            "refused": refused,
            "assumptions": (self.drawn, BLIND, *more),
        }
        if self.protocol.looks == "fixed":
            return Outcome(p=poisson_binomial_tail(chances, sum(hits)), **facts)
        return self._sequence(hit_log_evidence(hits, chances), facts)

    def _sequence(self, log_evidence: np.ndarray[Any, Any], facts: dict[str, Any]) -> Outcome:
        rule = StopRule(self.level, self.protocol.budget, self.protocol.futile)
        ended = rule.stop(log_evidence)
        used = log_evidence[: ended[0]] if ended else log_evidence
        last = float(used[-1]) if used.size else 0.0
        return Outcome(
            p=anytime_p(used),
            e=math.exp(min(last, 700.0)),
            anytime=True,
            stopped=ended[1] if ended else "going on",
            running=tuple(map(float, used)),
            **facts,
        )
