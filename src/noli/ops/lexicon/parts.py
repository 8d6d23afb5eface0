"""What a lexicon holds of one part of speech."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Sense(NamedTuple):
    """A meaning: the group of words that share it (None: there is no other word), how often it was met."""

    group: int | None
    met: int


# Half of the words: shared, as making them anew takes most of the time of reading.
_ALONE = {" ".join("-" * number): (Sense(None, 0),) * number for number in range(1, 6)}


@dataclass
class Part:
    """A part of speech.

    Attributes:
        senses: Lemma -> its senses, most frequent first.
        members: Group -> the words of it that may replace another one.
        bases: Irregular form -> lemmas.
        irregular: Lemma -> irregular forms.
    """

    senses: dict[str, tuple[Sense, ...]] = field(default_factory=dict)
    members: list[list[str]] = field(default_factory=list)
    bases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    irregular: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, line: str) -> None:
        """Add a lemma from its line: ``lemma sense ...``."""
        lemma, _, written = line.partition(" ")
        self.senses[lemma] = _ALONE.get(written) or tuple(self._sense(lemma, one) for one in written.split())

    def _sense(self, lemma: str, written: str) -> Sense:
        mark, _, count = written.partition(":")
        replaces = not mark.endswith("!")
        mark = mark.rstrip("!")
        if mark == "-":
            return Sense(None, int(count or 0))
        if mark == "*":
            self.members.append([])
        group = len(self.members) - 1 if mark == "*" else int(mark)
        if replaces:
            self.members[group].append(lemma)
        return Sense(group, int(count or 0))

    def add_form(self, line: str) -> None:
        """Add an irregular form from its line: ``form lemma ...``."""
        form, *found = line.split()
        for lemma in found:
            if lemma in self.senses and lemma != form:
                self.bases[form].append(lemma)
                self.irregular[lemma].append(form)

    def weight(self, lemma: str) -> float:
        """Return how often a lemma was met; half a time more for each sense, as most were never met."""
        return _met(self.senses[lemma])

    def covered(self, lemma: str, senses: int) -> float:
        """Return the share of the uses of a lemma that its first senses are."""
        return _met(self.senses[lemma][:senses]) / self.weight(lemma)


def _met(senses: Sequence[Sense]) -> float:
    return sum(sense.met + 0.5 for sense in senses)
