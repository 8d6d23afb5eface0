"""What the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from noli.core.errors import NoliError

MAX_ITEMS = 20


@dataclass(frozen=True)
class Output:
    """Where a command's words go.

    Attributes:
        json: The result is one JSON document on stdout and nothing else.
        quiet: No progress and no hints on stderr.
    """

    json: bool = False
    quiet: bool = False

    def result(self, document: Mapping[str, Any], *blocks: RenderableType) -> None:
        """Print the result: the document with ``--json``, otherwise the readable blocks."""
        if self.json:
            sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
            sys.stdout.flush()
            return
        console = _console(sys.stdout)
        for block in blocks:
            console.print(block)

    def hint(self, text: str) -> None:
        """Print a note for a person on stderr, unless ``--quiet`` or ``--json``."""
        if not (self.quiet or self.json):
            _console(sys.stderr).print(Text(text, style="dim"))

    def warn(self, text: str) -> None:
        """Print a warning on stderr, whatever the flags."""
        _console(sys.stderr).print(Text(f"warning: {text}", style="yellow"))


def _console(stream: Any) -> Console:
    # Piped output keeps long paths on one line, so that other programs can read it.
    width = None if stream.isatty() or "COLUMNS" in os.environ else 100
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty(), width=width)


def grid(rows: Sequence[tuple[str, object]]) -> Table:
    """Return label-value lines as a borderless table."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(Text(label), value if isinstance(value, Text) else Text(str(value)))
    return table


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: int = 0) -> Table:
    """Return a plain table; the last ``right`` columns are aligned to the right."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        numeric = place >= len(columns) - right
        made.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=numeric,
            header_style="bold",
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def show_error(error: NoliError, *, as_json: bool) -> None:
    """Print an error on stderr: what, where, why, what to do, and the items concerned."""
    if as_json:
        sys.stderr.write(json.dumps({"error": error_document(error)}, indent=2) + "\n")
        return
    console = _console(sys.stderr)
    console.print(Text.assemble(("noli: ", "bold red"), (error.what, "bold")))
    rows = [("where", error.where), ("why", error.why), ("do", error.fix)]
    lines = [(head, text) for head, text in rows if text]
    if lines:
        console.print(grid([(f"  {head}", text) for head, text in lines]))
    # What stands under `where` already is not listed again.
    items = () if error.items == (error.where,) else error.items
    for item in items[:MAX_ITEMS]:
        console.print(Text(f"  - {item}"))
    if len(items) > MAX_ITEMS:
        console.print(Text(f"  ... and {len(items) - MAX_ITEMS} more", style="dim"))


def error_document(error: NoliError) -> dict[str, object]:
    """Return an error as JSON-ready fields."""
    return {
        "type": type(error).__name__,
        "exit_code": error.exit_code,
        "what": error.what,
        "where": error.where,
        "why": error.why,
        "do": error.fix,
        "items": list(error.items),
    }


def percent(value: float | None) -> str:
    """Return a fraction as ``53.4 %``; ``-`` for None."""
    return "-" if value is None else f"{100 * value:.1f} %"


def size(count: float) -> str:
    """Return a number of bytes in the unit a person would use."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Return seconds as ``4 s``, ``2 min 10 s`` or ``3 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
