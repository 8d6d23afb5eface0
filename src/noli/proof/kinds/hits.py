"""Assignments that a single answer hits or misses: a class per query picture, an option per question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from noli.core.key import Key
from noli.proof.kinds.base import Kind, Seen
from noli.proof.outcome import Outcome
from noli.proof.records import Record


class Labels(Kind):
    """A class drawn for every query picture; the suspect returns a list of classes."""

    class Parameters(Record):
        """Parameters.

        Attributes:
            classes: Names of the owner's classes.
            k: How many of the suspect's classes count.
        """

        classes: Annotated[tuple[str, ...], Field(min_length=2)]
        k: Annotated[int, Field(ge=1)] = 1

    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the number of a class."""
        return self.integer(secret, beacon, len(self.cfg.classes))

    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Count hits: Poisson-binomial, because a list may cover more or fewer of the owner's classes."""
        classes = self.cfg.classes
        hits, chances = [], []
        for (number,), (answer,) in zip(drawn, (one.answers for one in seen), strict=True):
            listed = set(answer or ()) & set(classes)
            hits.append(classes[number] in listed)
            chances.append((min(self.cfg.k, len(classes)) if answer is None else len(listed)) / len(classes))
        refused = sum(one.answers == (None,) for one in seen)
        where = "named first" if self.cfg.k == 1 else f"among the first {self.cfg.k}"
        return self._hits(hits, chances, refused, f"secret classes {where}")


class Choices(Kind):
    """One of m options drawn per query; the suspect picks one (forced choice, cloze)."""

    class Parameters(Record):
        """Parameters.

        Attributes:
            options: Number m of options per query.
        """

        options: Annotated[int, Field(ge=2)] = 2

    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the number of the right option."""
        return self.integer(secret, beacon, self.cfg.options)

    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Count hits: binomial."""
        picked = [one.answers[0] for one in seen]
        hits = [
            answer is not None and float(answer[0]) == number
            for (number,), answer in zip(drawn, picked, strict=True)
        ]
        chances = [1 / self.cfg.options] * len(hits)
        return self._hits(hits, chances, picked.count(None), f"right choices of {self.cfg.options}")
