"""What a suspect is asked about a passage: the text of every variant, or one question about them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from noli.data.plain_text import readable
from noli.proof.releases import Ask, Passage

# Private-use characters that stand around a varied word while markup is taken away.
OPEN, CLOSE = "\ue000", "\ue001"
_GAP = "_____"
_CHOICE = (
    "One of the following texts was published word for word; the others differ from it in single words. "
    "Which one was published? Answer with its number only."
)
_CLOZE = "Fill the gap with the word of the published text. Answer with one of these words only: {words}."
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


class Variant(NamedTuple):
    """A variant as a reader sees it.

    Attributes:
        text: The passage.
        spans: Where its varied words stand, as pairs of character positions.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


def variant(layout: str, passage: Passage, picks: Sequence[int]) -> Variant:
    """Return a variant of a passage without the markup of its document."""
    marked = passage.rendered(picks)
    for start, end in reversed(passage.spans(picks)):
        marked = f"{marked[:start]}{OPEN}{marked[start:end]}{CLOSE}{marked[end:]}"
    parts, spans, length = [], [], 0
    for piece in re.split(f"({OPEN}[^{CLOSE}]*{CLOSE})", readable(layout, marked)):
        word = piece.strip(OPEN + CLOSE)
        if word != piece:
            spans.append((length, length + len(word)))
        parts.append(word)
        length += len(word)
    return Variant("".join(parts), tuple(spans))


def complete(layout: str, passage: Passage) -> bool:
    """Whether a reader sees all varied words of a passage, and each place has different ones."""
    found = variant(layout, passage, [0] * len(passage.places))
    seen = [found.text[start:end] for start, end in found.spans]
    varied = all(len(set(place.words)) == len(place.words) for place in passage.places)
    return varied and seen == [place.words[0] for place in passage.places]


def questions(ask: Ask, variants: Sequence[Variant]) -> list[str]:
    """Return what is sent for a passage: its variants, or one question about them, in their order."""
    if ask == "scores":
        return [one.text for one in variants]
    if ask == "choice":
        listed = "\n\n".join(f"{number}. {one.text}" for number, one in enumerate(variants, start=1))
        return [f"{_CHOICE}\n\n{listed}\n\nNumber:"]
    first = variants[0]
    (start, end), words = first.spans[0], ", ".join(gap_words(variants))
    gap = first.text[:start] + _GAP + first.text[end:]
    return [f"{_CLOZE.format(words=words)}\n\n{gap}\n\nWord:"]


def gap_words(variants: Sequence[Variant]) -> list[str]:
    """Return the word that stands in the gap in every variant."""
    return [one.text[slice(*one.spans[0])] for one in variants]


def chosen(ask: Ask, answer: str, variants: Sequence[Variant]) -> int | None:
    """Return which variant an answer in words names; None where it names none, or more than one.

    The first number of a choice counts, since models like to explain themselves afterwards.
    """
    if ask == "choice":
        found = re.search(r"\d+", answer)
        number = int(found[0]) - 1 if found and len(found[0]) < 6 else -1
        return number if 0 <= number < len(variants) else None
    said = {word.lower() for word in _WORD.findall(answer)}
    named = [number for number, word in enumerate(gap_words(variants)) if word.lower() in said]
    return named[0] if len(named) == 1 else None
