"""Synonyms of English words, in the form that the word has in the text."""

from __future__ import annotations

import hashlib
import lzma
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from noli.core.errors import DataError
from noli.ops.lexicon.inflect import RULES, form_of, inflect, lemmas, same_past
from noli.ops.lexicon.parts import Part
from noli.ops.lexicon.words import SPARED, STOP

_CACHED = 1 << 16
_MAGIC = b"\xfd7zXZ"
_RESOURCE = "english.txt.xz"
# Share of the uses of a word that must belong to the lemma and part of speech it is taken for.
_DOMINANT = 0.75
# Share of the uses of a lemma that the meanings considered must cover; a replacement needs less of both.
_CLEAR = 0.6
_LIKELY = 0.5
_VOWEL = re.compile(r"[aeiouy]")
_GENDER = re.compile(r"(?:wom|m)[ae]n$")
_ENDING = re.compile(r"(?:s|ed|ing|ly)$")


class Reading(NamedTuple):
    """What a word most probably is: part of speech, lemma, the forms it may be, share of its uses."""

    part: str
    lemma: str
    forms: frozenset[str]
    share: float


class Lexicon:
    """Words, their meanings, and which words share them. Made by :meth:`read`; never changes.

    Attributes:
        digest: SHA-256 of the data it was read from.
    """

    def __init__(self, parts: dict[str, Part], phrases: frozenset[str], digest: str) -> None:
        self._parts, self._phrases, self.digest = parts, phrases, digest
        self._cached = lru_cache(maxsize=_CACHED)(self._synonyms)
        self._cached_bases = lru_cache(maxsize=_CACHED)(self._bases)
        self._cached_reading = lru_cache(maxsize=_CACHED)(self._read)

    @classmethod
    def read(cls, data: bytes) -> Lexicon:
        """Read a lexicon.

        Args:
            data: Text in UTF-8, or such text compressed by xz. Sections ``[noun]``, ``[verb]``, ``[adj]`` and
                ``[adv]`` have one lemma a line with its senses (``*`` new group, number of a group, ``-``
                alone; then ``!`` if the lemma must not replace; then ``:count``); ``[noun forms]`` and so on
                irregular forms with their lemmas; ``[phrases]`` expressions of several words.

        Raises:
            DataError: The data are not such a text.
        """
        try:
            text = (lzma.decompress(data) if data.startswith(_MAGIC) else data).decode()
            parts = {name: Part() for name in RULES}
            phrases = []
            for section, line in _sections(text):
                name, _, forms = section.partition(" ")
                if name == "phrases":
                    phrases.append(line)
                elif forms:
                    parts[name].add_form(line)
                else:
                    parts[name].add(line)
        except (ValueError, KeyError, IndexError, lzma.LZMAError) as error:
            raise DataError("This is not a lexicon.", why=str(error)) from error
        return cls(parts, frozenset(phrases), hashlib.sha256(data).hexdigest())

    def synonyms(self, word: str, senses: int = 1) -> tuple[str, ...]:
        """Return the words that may replace a word, in its form and its case.

        A word gets none if it is not clear what it is: its part of speech (75 % of its uses), its lemma, its
        meaning (60 % of the uses of the lemma), or the form (a past that is a participle as well needs a
        replacement of which that is true too). Of a replacement these are asked as well, half of its uses
        being enough, and the meaning must be among its own first ones.

        Args:
            word: Any inflected form, in lower case, Title case or UPPER case.
            senses: How many meanings count, the most frequent ones first; at least 1.

        Returns:
            In the order of the alphabet; never the word itself or a form of its lemma.
        """
        cased = _case_of(word)
        return tuple(cased(found) for found in self._cached(word.lower(), senses)) if cased else ()

    def is_clear(self, word: str) -> bool:
        """Whether it is clear what a lower-case word is: part of speech (75 % of its uses), lemma, form."""
        return self._clear(word) is not None

    def fitting(self, word: str, others: Iterable[str]) -> tuple[str, ...]:
        """Return those of other words that may stand in a word's place as to their form, in its case.

        They need not share a meaning; they are asked for the same part of speech, the same form and ending
        (*-s*, *-ed*, *-ing*, *-ly*), and as of a synonym, half of their uses must be that. A capital where
        the word has none makes a name.

        Args:
            word: As for :meth:`synonyms`; none fits if it is not clear what it is.
            others: Any words, function words and unknown ones included, which never fit.

        Returns:
            In the given order, each once; never the word itself or a form of one of its lemmas.
        """
        cased, own = _case_of(word), self._clear(word.lower())
        if cased is None or own is None:
            return ()
        lower = (other.lower() for other in others if not (word.islower() and not other.islower()))
        return tuple(cased(other) for other in dict.fromkeys(lower) if self._fits(word.lower(), other, own))

    def bases(self, word: str) -> tuple[str, ...]:
        """Return the lemmas that a lower-case word may be a form of, of any part of speech."""
        return self._cached_bases(word)

    def reading(self, word: str) -> Reading | None:
        """Return what a lower-case word most probably is; None if it is unknown."""
        return self._cached_reading(word)

    def is_phrase(self, words: tuple[str, ...]) -> bool:
        """Whether lower-case words together are an expression, the first or the last one inflected or not."""
        first, last = (words[0], *self.bases(words[0])), (words[-1], *self.bases(words[-1]))
        between = words[1:-1]
        return any(" ".join((a, *between, z)) in self._phrases for a in first for z in last)

    def _bases(self, word: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(lemma for lemma, _, _ in self._analyses(word)))

    def _analyses(self, word: str) -> Iterator[tuple[str, str, str]]:
        for name, part in self._parts.items():
            found = dict.fromkeys((lemma, form) for lemma, form in lemmas(word, name) if lemma in part.senses)
            found |= dict.fromkeys((lemma, form_of(word, name)) for lemma in part.bases.get(word, ()))
            for lemma, form in found:
                yield lemma, name, form

    def _read(self, word: str) -> Reading | None:
        forms: dict[tuple[str, str], set[str]] = defaultdict(set)
        for lemma, name, form in self._analyses(word):
            forms[name, lemma].add(form)
        if not forms:
            return None
        weights = {(name, lemma): self._parts[name].weight(lemma) for name, lemma in forms}
        most, (name, lemma) = max((weight, key) for key, weight in weights.items())
        return Reading(name, lemma, frozenset(forms[name, lemma]), most / sum(weights.values()))

    def _synonyms(self, word: str, senses: int) -> tuple[str, ...]:
        reading = self._clear(word)
        if reading is None:
            return ()
        part, lemma = self._parts[reading.part], reading.lemma
        if part.covered(lemma, senses) < _CLEAR:
            return ()
        own = part.senses[lemma][:senses]
        groups = {sense.group for sense in own if sense.group is not None}
        others = {other for group in groups for other in part.members[group]} - {lemma}
        found = set()
        for other in others:
            known = any(sense.group in groups for sense in part.senses[other][:senses])
            if known and part.covered(other, senses) >= _LIKELY:
                found.add(self._inflected(other, reading))
        return tuple(sorted(fit for fit in found if fit and self._replaces(word, fit, reading)))

    def _clear(self, word: str) -> Reading | None:
        reading = None if word in STOP else self.reading(word)
        return None if reading is None or reading.share < _DOMINANT or _past_as_base(reading) else reading

    def _fits(self, word: str, other: str, own: Reading) -> bool:
        if not self._replaces(word, other, own) or _ending(word) != _ending(other):
            return False
        read = self.reading(other)
        same_form = read is not None and read.forms == own.forms
        return same_form and set(self.bases(word)).isdisjoint(self.bases(other))

    def _replaces(self, word: str, other: str, reading: Reading) -> bool:
        bases = set(self.bases(other))
        if other == word or reading.lemma in bases or other in STOP or bases & SPARED:
            return False
        read = self.reading(other)
        likely = read is not None and read.part == reading.part and read.share >= _LIKELY
        return likely and bool(_VOWEL.search(other)) and _gender(word) == _gender(other)

    def _inflected(self, lemma: str, reading: Reading) -> str | None:
        irregular = self._parts[reading.part].irregular.get(lemma, [])
        found = {inflect(lemma, reading.part, form, irregular) for form in reading.forms}
        return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=1)
def english() -> Lexicon:
    """Return the bundled lexicon of English.

    Source: made from WordNet 3.1 (Princeton University, 2011; its licence is in the package).
    """
    return Lexicon.read((files(__package__) / _RESOURCE).read_bytes())


def _sections(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            yield section, line


def _case_of(word: str) -> Callable[[str], str] | None:
    if not (word.isascii() and word.isalpha()):
        return None
    if word.islower():
        return str
    if word.isupper() and len(word) > 1:
        return str.upper
    return str.capitalize if word == word.capitalize() else None


def _past_as_base(reading: Reading) -> bool:
    return reading.part == "verb" and "base" in reading.forms and same_past(reading.lemma)


def _gender(word: str) -> str:
    found = _GENDER.search(word)
    return found[0] if found else ""


def _ending(word: str) -> str:
    found = _ENDING.search(word)
    return found[0] if found else ""
