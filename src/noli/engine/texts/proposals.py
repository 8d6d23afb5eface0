"""Places for approval: a table that the owner shortens before anything is marked."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from noli.core.errors import UsageError
from noli.ops.lexicon import Slot

COLUMNS = ("file", "text", "start", "word", "words", "sentence")
_Rows = dict[tuple[str, int, int, str], tuple[str, ...]]


def table(rows: Iterable[tuple[str, int, str, list[Slot]]], most: int) -> bytes:
    """Return proposals as a table of tab-separated values.

    Args:
        rows: File, number of the text in it, the text, its places.
        most: Words among which the key picks, the original included.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, number, raw, slots in rows:
        for slot in slots:
            sentence = " ".join(raw[slice(*slot.sentence)].split())
            words = ",".join(slot.options[: most - 1])
            writer.writerow([name, number, slot.start, slot.word, words, sentence])
    return out.getvalue().encode()


def approval(file: str | Path) -> Callable[[str, int, list[Slot]], list[Slot]]:
    """Read a table of approved places: lines that were deleted, and words that were, are left out.

    Raises:
        UsageError: It cannot be read, or has other columns.
    """
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        fix = "name the table that `noli mark words` wrote"
        raise UsageError(
            "The approved words cannot be read.", where=str(file), why=str(exc), fix=fix
        ) from exc
    lines = list(csv.reader(io.StringIO(text), delimiter="\t"))
    if not lines or tuple(lines[0]) != COLUMNS:
        fix = f"keep its first line: {', '.join(COLUMNS)}"
        raise UsageError("The table of approved words has other columns.", where=str(file), fix=fix)
    known: _Rows = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            name, text_number, start, word, words, *_ = line
            key = (name, int(text_number), int(start), word)
        except ValueError as exc:
            fix = "delete whole lines, or words among the fifth column"
            raise UsageError(
                "A line of the approved words cannot be read.", where=f"{file}:{number}", fix=fix
            ) from exc
        known[key] = tuple(one.strip() for one in words.split(",") if one.strip())

    def approve(name: str, number: int, slots: list[Slot]) -> list[Slot]:
        kept = []
        for slot in slots:
            allowed = known.get((name, number, slot.start, slot.word), ())
            options = tuple(one for one in slot.options if one in allowed)
            if options:
                kept.append(replace(slot, options=options))
        return kept

    return approve
