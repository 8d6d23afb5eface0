"""The page of a marking of texts: every changed sentence, for the owner's eyes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noli.report.build import template

_SHOWN = 1000
_AROUND = 160
Piece = tuple[str, str | None]
Replaced = tuple[int, int, str]


@dataclass(frozen=True)
class ChangedText:
    """One text of a document.

    Attributes:
        name: Of the document.
        raw: The text before.
        edits: Start, end and new word of every replacement, in order.
    """

    name: str
    raw: str
    edits: Sequence[Replaced]


@dataclass(frozen=True)
class Page:
    """What the page shows."""

    title: str
    facts: Sequence[tuple[str, str]]
    words: Sequence[str]
    files: Sequence[tuple[str, Sequence[Sequence[Piece]]]]
    left: int


def render(title: str, results: Mapping[str, Any], texts: Sequence[ChangedText]) -> str:
    """Return the page.

    Args:
        title: Where the marked texts lie.
        results: Figures of the run.
        texts: The changed texts.
    """
    shown: dict[str, list[Sequence[Piece]]] = {}
    told = 0
    for text in texts:
        for pieces in _stretches(text):
            if told >= _SHOWN:
                break
            shown.setdefault(text.name, []).append(pieces)
            told += sum(new is not None for _, new in pieces)
    share = results["replaced"] / max(1, results["words"])
    facts = [
        ("Documents", f"{results['files']:,}"),
        ("Words", f"{results['words']:,}"),
        ("Replaced", f"{results['replaced']:,} ({share:.1%})"),
        ("Passages", f"{results['passages']:,}, {results['asked']:,} to be asked"),
    ]
    page = Page(title, facts, _words(results), list(shown.items()), max(0, results["replaced"] - told))
    return template("texts.html.j2").render(page=page)


def _words(results: Mapping[str, Any]) -> list[str]:
    if not results["passages"]:
        return [
            "Nothing in these replacements is random: they make training easier to see and prove nothing."
        ]
    return [
        f"{results['places']:,} words could vary; the key picked the one that stood there in "
        f"{results['places'] - results['replaced']:,} cases."
    ]


def _stretches(text: ChangedText) -> Iterator[list[Piece]]:
    """Cut out what is around replacements; those that lie close together are shown together."""
    group: list[Replaced] = []
    for edit in text.edits:
        if group and edit[0] - group[-1][1] > _AROUND:
            yield _pieces(text.raw, group)
            group = []
        group.append(edit)
    if group:
        yield _pieces(text.raw, group)


def _pieces(raw: str, edits: Sequence[Replaced]) -> list[Piece]:
    # Whole words: from the first space on, and up to the last.
    start = max(0, edits[0][0] - _AROUND // 2)
    start += raw[start : edits[0][0]].find(" ") + 1 if start else 0
    end = min(len(raw), edits[-1][1] + _AROUND // 2)
    if end < len(raw):
        end = max(edits[-1][1], raw.rfind(" ", edits[-1][1], end))
    pieces: list[Piece] = [("… " if start else "", None)]
    for first, last, new in edits:
        pieces += [(raw[start:first], None), (raw[first:last], new)]
        start = last
    return [*pieces, (raw[start:end] + (" …" if end < len(raw) else ""), None)]
