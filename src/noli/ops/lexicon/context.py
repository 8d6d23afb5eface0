"""Whether the words around a word allow that it is replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from noli.ops.lexicon.lexicon import Lexicon, Reading
from noli.ops.lexicon.prose import Token
from noli.ops.lexicon.words import ABBREVIATIONS, STOP, UNITS, needs_an, words

_LONGEST_PHRASE = 4
# What may touch a word: white space, brackets, quotation marks, dashes; punctuation behind it.
_BEFORE = frozenset(' \t\r\n([{"\u201c\u2018\u00ab\u2014\u2013\u2026\u00a0')
_BEHIND = frozenset(' \t\r\n)]}"\u201d\u00bb\u2014\u2013\u2026\u00a0')
# Share of the uses of a word from which on its neighbours need not prove its part of speech.
_SURE = 0.97
_POINTS = frozenset(".,;:!?")
_HYPHENS = ("-", "\u2010", "\u2011", "\xad")
_NUMBER_NEXT = re.compile(r"\.?\s#?\d")
_DETERMINERS = words(
    "a an the this that these those my your his her its our their each every some any no whose"
)
_BEFORE_VERBS = words(
    """i you he she it we they who to will would can could may might must shall should cannot has have had"""
)
_BEHIND_NOUNS = words("of in is was are were to for on at has had have that who which with from by")


class Spot(NamedTuple):
    """A word in its sentence.

    Attributes:
        prose: The text.
        words: The words of the sentence.
        at: Place of the word among them.
        first: Place of the first one that begins with a letter.
    """

    prose: str
    words: list[Token]
    at: int
    first: int

    @property
    def token(self) -> Token:
        """The word itself."""
        return self.words[self.at]

    @property
    def left(self) -> str:
        """The word before, as written; empty if more than one space lies between."""
        return self.words[self.at - 1].text if self.at and self._next_to(self.at - 1) else ""

    @property
    def right(self) -> str:
        """The word behind, as written; empty if more than one space lies between."""
        return (
            self.words[self.at + 1].text if self.at + 1 < len(self.words) and self._next_to(self.at) else ""
        )

    def around(self) -> tuple[tuple[str, ...], int]:
        """Return the lower-case words within reach of an expression, and the place of this one."""
        first = last = self.at
        while first and self.at - first < _LONGEST_PHRASE - 1 and self._next_to(first - 1):
            first -= 1
        end = len(self.words) - 1
        while last < end and last - self.at < _LONGEST_PHRASE - 1 and self._next_to(last):
            last += 1
        return tuple(word.text.lower() for word in self.words[first : last + 1]), self.at - first

    def _next_to(self, left: int) -> bool:
        end = self.words[left].end
        return self.words[left + 1].start - end == 1 and self.prose[end] in " \n\t\u00a0"


def plain(text: str) -> bool:
    """Whether a word as written may be an ordinary word: letters, no capital inside, no function word."""
    ordinary = len(text) > 2 and text.isascii() and text.isalpha() and text[1:].islower()
    return ordinary and text.lower() not in STOP


def stands_free(spot: Spot) -> bool:
    """Whether nothing that could belong to the word touches it, not even across the end of a line."""
    prose, token = spot.prose, spot.token
    before = prose[token.start - 1] if token.start else " "
    behind = prose[token.end] if token.end < len(prose) else " "
    if behind in _POINTS:
        after = prose[token.end + 1 : token.end + 2]
        short = behind == "." and token.text.lower() in ABBREVIATIONS
        behind = "x" if short or after.isalnum() or after in {"_", "/", "\x00"} else " "
    broken = spot.at > 0 and prose.startswith(_HYPHENS, spot.words[spot.at - 1].end)
    return before in _BEFORE and behind in _BEHIND and not broken


def counted(spot: Spot, lexicon: Lexicon) -> bool:
    """Whether the word is a measure, is counted by digits, or is the label of a number (*step 3*)."""
    word = spot.token.text.lower()
    if spot.left[:1].isdigit() or not UNITS.isdisjoint(lexicon.bases(word)):
        return True
    reading = lexicon.reading(word) if _NUMBER_NEXT.match(spot.prose, spot.token.end) else None
    return reading is not None and reading.part != "verb"


def named(spot: Spot, names: set[str]) -> bool:
    """Whether the word is a name, or may be the first word of one."""
    if spot.token.text[0].islower():
        return False
    return spot.at != spot.first or spot.token.text.lower() in names or spot.right[:1].isupper()


def misread(spot: Spot, lexicon: Lexicon) -> bool:
    """Whether the neighbours say that the word is not what it mostly is, or belongs to a longer name."""
    reading = lexicon.reading(spot.token.text.lower())
    if reading is None or reading.part == "adv":
        return False
    rule = {"verb": _no_verb, "adj": _no_adjective, "noun": _no_noun}[reading.part]
    return rule(spot, lexicon, reading)


def _no_verb(spot: Spot, lexicon: Lexicon, reading: Reading) -> bool:
    left = spot.left.lower()
    if reading.share < _SURE:
        return left not in _BEFORE_VERBS
    return left in _DETERMINERS and not reading.forms <= {"ed", "ing"}


def _no_adjective(spot: Spot, lexicon: Lexicon, reading: Reading) -> bool:
    stops = spot.prose[spot.token.end : spot.token.end + 1] in _POINTS - {","}
    return spot.left.lower() in _DETERMINERS and (stops or spot.right in _BEHIND_NOUNS)


def _no_noun(spot: Spot, lexicon: Lexicon, reading: Reading) -> bool:
    singular = "base" in reading.forms
    if spot.left.lower() in _BEFORE_VERBS or (singular and spot.token.text[0].isupper()):
        return True
    if (spot.left[:1].isupper() and spot.at > 1) or spot.right[:1].isupper():
        return True
    # "oil price", "criminal charge": the noun describes the one behind it.
    following = None if spot.right in STOP else lexicon.reading(spot.right)
    described = {"noun"} if reading.share >= _SURE else {"noun", "adj"}
    return singular and following is not None and following.part in described


def in_phrase(spot: Spot, lexicon: Lexicon) -> bool:
    """Whether the word and its neighbours form an expression of the lexicon."""
    words, at = spot.around()
    return any(lexicon.is_phrase(words[i:j]) for i, j in _spans(at, len(words)))


def _spans(at: int, size: int) -> Iterator[tuple[int, int]]:
    for i in range(at + 1):
        for j in range(at + 1, min(size, i + _LONGEST_PHRASE) + 1):
            if j - i > 1:
                yield i, j


def agreeing(spot: Spot, choices: list[str]) -> list[str]:
    """Return the choices that the article before the word, if there is one, goes with."""
    article = spot.left.lower()
    if article not in {"a", "an"}:
        return choices
    return [choice for choice in choices if needs_an(choice) == (article == "an")]
