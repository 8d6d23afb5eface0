"""Assignments behind generated pictures: a message of bits, and the one true trigger among decoys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from noli.core.key import Key
from noli.ops.exact import decoy_rank, sign_flip_tail
from noli.proof.kinds.base import ASSIGNMENT, BLIND, Kind, Seen
from noli.proof.kinds.base import number as value_of
from noli.proof.outcome import Outcome
from noli.proof.records import Damaged, Record


class Bits(Kind):
    """A message drawn once; the suspect's pictures are decoded to bits, or to one number per bit."""

    class Parameters(Record):
        """Parameters.

        Attributes:
            bits: Length B of the message.
            pictures: Number of pictures per message.
        """

        bits: Annotated[int, Field(ge=1, le=256)]
        pictures: Annotated[int, Field(ge=1, le=100_000)] = 1

    @property
    def queries(self) -> int:
        """One per picture."""
        return int(self.cfg.pictures)

    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the message, B bits."""
        return tuple(map(int, secret.stream(ASSIGNMENT, beacon).integers(self.cfg.bits, 2)))

    def ideal(self, drawn: tuple[int, ...]) -> Seen:
        """Return pictures that show every bit of the message."""
        return Seen((tuple(2.0 * bit - 1 for bit in drawn),) * self.queries)

    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Sum the votes of all pictures per bit, and test them against all messages."""
        signs = 2 * np.array(drawn, dtype=np.int64).reshape(-1) - 1
        votes = np.concatenate([self._votes(one) for one in seen]) if seen else np.zeros(0)
        missing = sum(one.answers.count(None) for one in seen)
        total = sum(len(one.answers) for one in seen)
        # Whoever may leave pictures out may leave out the worst: every choice of them is paid for.
        p = sign_flip_tail(votes, signs)
        if missing:
            # In logarithms: the number of choices may be too large for a float.
            p = math.exp(min(0.0, math.log(p) + math.log(math.comb(total, missing))))
        return Outcome(
            statistic=f"votes for the right bits minus votes for wrong ones, over {total - missing} pictures",
            value=float((votes * signs).sum()),
            expected=0.0,
            n=int(signs.size),
            p=p,
            refused=missing,
            assumptions=(self.drawn, BLIND, "Nothing is assumed of the decoder: its bits may be biased."),
        )

    def _votes(self, seen: Seen) -> np.ndarray[Any, Any]:
        try:
            rows = [np.array(answer, dtype=np.float64) for answer in seen.answers if answer is not None]
        except ValueError as error:
            raise Damaged("a picture was not decoded to numbers") from error
        if any(row.shape != (self.cfg.bits,) or not np.isfinite(row).all() for row in rows):
            raise Damaged(f"a picture was not decoded to {self.cfg.bits} values")
        return np.sum(rows, axis=0) if rows else np.zeros(self.cfg.bits)


class Decoys(Kind):
    """One of M triggers drawn as the true one; the suspect's answers to each are scored."""

    class Parameters(Record):
        """Parameters.

        Attributes:
            triggers: Number M of triggers.
        """

        triggers: Annotated[int, Field(ge=2, le=1_000_000)]

    @property
    def queries(self) -> int:
        """One per trigger."""
        return int(self.cfg.triggers)

    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the number of the true trigger."""
        return self.integer(secret, beacon, self.cfg.triggers)

    def ideal(self, drawn: tuple[int, ...]) -> Seen:
        """Return a better score for the true trigger than for all decoys."""
        return Seen(tuple((float(number == drawn[0]),) for number in range(self.queries)))

    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Rank the true trigger's score among all."""
        if len(seen) != 1:
            raise Damaged(f"{len(seen)} secrets name the true trigger, not one")
        ((number,),), (one,) = drawn, seen
        scores = [math.inf if a is None else value_of(a) for a in one.answers]
        true = -math.inf if one.answers[number] is None else scores[number]
        decoys = [score for i, score in enumerate(scores) if i != number]
        p = decoy_rank(true, decoys)
        return Outcome(
            statistic=f"rank of the true trigger among {len(scores)} (1 is evidence)",
            value=p * len(scores),
            expected=(1 + len(scores)) / 2,
            n=len(scores),
            p=p,
            refused=one.answers.count(None),
            assumptions=(self.drawn, BLIND),
        )
