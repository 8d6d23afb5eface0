"""Words and sentences of a text, and the places in it that have to stay literal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from noli.ops.lexicon.words import ABBREVIATIONS

# Stands where letters on both sides may belong to one word.
GLUE = "\x00"

_TOKEN = re.compile(r"\w+(?:[-'\u2010\u2011\u2019]\w+)*")
_BREAK = re.compile(r"\n(?:[ \t\r]*\n)+")
# Looking back, and never giving back: a long row of full stops is read once, not once per full stop.
_END = re.compile(r"(?<![.!?\u2026])[.!?\u2026]++[\"')\]}\u201d\u2019\u00bb]*+(?=\s)")
_SPACE = re.compile(r"\s+")
_LOOK_AHEAD = 16
_BRACKETS = re.compile(r"[(\[][^()\[\]]{0,400}[)\]]")
_QUOTED = (
    re.compile(
        r"\u201c[^\u201c\u201d]*[\u201d]?|\u201e[^\u201c\u201d]*[\u201c\u201d]?|\u00ab[^\u00bb]*\u00bb?"
    ),
    re.compile(r"(?<![\w.,;:!?%])\"[^\"]*\"?"),
    re.compile(r"``(?:[^`']|'(?!'))*(?:'')?"),
    re.compile(r"(?<!\w)\u2018(?:[^\u2018\u2019]|\u2019(?=\w))*\u2019(?!\w)"),
    re.compile(r"(?<![\w'])'(?=\w)(?:[^']|(?<=\w)'(?=\w))*(?<![\s'])'(?![\w'])"),
)


class Token(NamedTuple):
    """A word as it is written, with the hyphens and apostrophes inside it: ``prose[start:end] == text``."""

    start: int
    end: int
    text: str


def tokens(prose: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """Yield the words of a text, or of a part of it."""
    for match in _TOKEN.finditer(prose, start, len(prose) if end is None else end):
        yield Token(match.start(), match.end(), match[0])


def paragraphs(prose: str) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of what stands between breaks: two or more ends of line."""
    start = 0
    for match in _BREAK.finditer(prose):
        yield start, match.start()
        start = match.end()
    yield start, len(prose)


def sentences(prose: str) -> list[tuple[int, int]]:
    """Return the (start, end) of the sentences, without the white space around them.

    A sentence ends at a break of the paragraph, and after ``.``, ``!`` or ``?`` with white space behind it,
    unless a lower-case letter follows, or an abbreviation or an initial stands before a single ``.``.
    """
    found = []
    for start, end in paragraphs(prose):
        for match in _END.finditer(prose, start, end):
            if _ends(prose, start, match, end):
                found.append((start, match.end()))
                start = match.end()
        found.append((start, end))
    return [span for span in (_trimmed(prose, *span) for span in found) if span[0] < span[1]]


def _ends(prose: str, start: int, match: re.Match[str], end: int) -> bool:
    following = _next_letter(prose, match.end(), end)
    if following.islower():
        return False
    if not match[0].startswith(".") or match[0].startswith(".."):
        return True
    at = match.start()
    while at > start and prose[at - 1].isalpha():
        at -= 1
    word = prose[at : match.start()]
    return not (len(word) == 1 or word.lower() in ABBREVIATIONS)


def _next_letter(prose: str, at: int, end: int) -> str:
    return next((letter for letter in prose[at : min(end, at + _LOOK_AHEAD)] if letter.isalnum()), "")


def _trimmed(prose: str, start: int, end: int) -> tuple[int, int]:
    text = prose[start:end]
    return start + len(text) - len(text.lstrip()), start + len(text.rstrip())


def one_line(part: str) -> str:
    """Return a part of a text as a model reads it: without :data:`GLUE`, each white space one space."""
    return _SPACE.sub(" ", part.replace(GLUE, ""))


def literal(prose: str, *, quotes: bool) -> bytearray:
    """Mark what must stay as it is: 1 for each character in brackets with a digit, or in a quotation."""
    marks = bytearray(len(prose))
    for start, end in paragraphs(prose):
        for match in _BRACKETS.finditer(prose, start, end):
            if any(letter.isdigit() for letter in match[0]):
                _mark(marks, match)
        for pattern in _QUOTED if quotes else ():
            for match in pattern.finditer(prose, start, end):
                _mark(marks, match)
    return marks


def _mark(marks: bytearray, match: re.Match[str]) -> None:
    marks[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
