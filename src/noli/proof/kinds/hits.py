"""Assignments that a single answer hits or misses: a class per query picture, an option per question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field

from noli.core.key import Key
from noli.proof.kinds.base import Kind, Seen
from noli.proof.kinds.base import number as value_of
from noli.proof.outcome import Outcome
from noli.proof.records import Record


def _unique(classes: tuple[str, ...]) -> tuple[str, ...]:
    # A class that stands twice is hit more often than its share of the names says.
    if len(set(classes)) < len(classes):
        raise ValueError("a class stands there twice")
    return classes


class Labels(Kind):
    """A class drawn for every query picture; the suspect returns a list of classes."""

    class Parameters(Record):
        """Parameters.

        Attributes:
            classes: Names of the owner's classes.
            k: How many of the classes that an answer names count: the first ones.
            queries: Queries per secret; the k classes that most answers name count. If one of them is not
                answered, none is.
        """

        classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=100_000), AfterValidator(_unique)]
        k: Annotated[int, Field(ge=1)] = 1
        queries: Annotated[int, Field(ge=1, le=1000)] = 1

    @property
    def queries(self) -> int:
        """As the protocol says."""
        return int(self.cfg.queries)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.cfg.classes)

    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the number of a class."""
        return self.integer(secret, beacon, len(self.cfg.classes))

    def ideal(self, drawn: tuple[int, ...]) -> Seen:
        """Return the drawn class alone, every time."""
        return Seen(((self.cfg.classes[drawn[0]],),) * self.queries)

    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Count hits: Poisson-binomial, because a list may cover more or fewer of the owner's classes."""
        classes = self.cfg.classes
        hits, chances = [], []
        # The worst that a lost answer can have been: a long list without a hit, but in a sequence, which
        # forgives a miss the more the likelier a hit was, a short one.
        least = min(self.cfg.k, len(classes)) if self.protocol.looks == "fixed" else 1
        for (number,), one in zip(drawn, seen, strict=True):
            listed = self._named(one)
            hits.append(classes[number] in listed)
            lost = None in one.answers
            chances.append((least if lost else len(listed)) / len(classes))
        refused = sum(None in one.answers for one in seen)
        where = "named first" if self.cfg.k == 1 else f"among the first {self.cfg.k}"
        return self._hits(hits, chances, refused, f"secret classes {where}")

    def _named(self, seen: Seen) -> set[str]:
        """Return the classes that count: those of the one answer, or those that most answers name."""
        known = self._known
        if None in seen.answers:
            return set()
        if len(seen.answers) == 1:
            # Cut before it is looked up: whoever could choose the length afterwards would choose the best.
            return {str(name) for name in (seen.answers[0] or ())[: self.cfg.k]} & known
        votes = Counter(str(name) for answer in seen.answers for name in set(answer or ()) if name in known)
        # Ties go by name, which the secret class has no part in.
        ranked = sorted(votes, key=lambda name: (-votes[name], name))
        return set(ranked[: self.cfg.k])


class Choices(Kind):
    """One of m options drawn per query; the suspect picks one (forced choice, cloze)."""

    class Parameters(Record):
        """Parameters.

        Attributes:
            options: Number m of options per query.
        """

        options: Annotated[int, Field(ge=2, le=1_000_000)] = 2

    def draw(self, secret: Key, beacon: str) -> tuple[int, ...]:
        """Return the number of the right option."""
        return self.integer(secret, beacon, self.cfg.options)

    def ideal(self, drawn: tuple[int, ...]) -> Seen:
        """Return the right option."""
        return Seen(((float(drawn[0]),),))

    def outcome(self, drawn: Sequence[tuple[int, ...]], seen: Sequence[Seen]) -> Outcome:
        """Count hits: binomial."""
        picked = [one.answers[0] for one in seen]
        hits = [
            answer is not None and value_of(answer) == number
            for (number,), answer in zip(drawn, picked, strict=True)
        ]
        chances = [1 / self.cfg.options] * len(hits)
        return self._hits(hits, chances, picked.count(None), f"right choices of {self.cfg.options}")
