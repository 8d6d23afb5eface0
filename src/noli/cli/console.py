"""What the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from noli.core.errors import NoliError

if TYPE_CHECKING:
    from noli.engine.progress import Progress

MAX_ITEMS = 20
Rows = list[tuple[str, RenderableType]]
_VERDICTS = {"supported": "bold green", "not supported": "bold red", "inconclusive": "bold yellow"}
# Count in the results of a run -> label and meaning, shown where it is not zero.
_NOTICES = {
    "skipped": ("left out", "unusable, listed in {run}/events.jsonl"),
    "removed_from_source": ("gone", "no longer in the source; copies in the output stay"),
    "outputs_changed": ("changed", "in the output, not as noli wrote it; what you delete is made again"),
    "outputs_gone": ("lost", "gone from the output, and so is the original"),
    "companions_kept": ("kept", "of the other files were changed in the output and stay as they are"),
    "companions_left_out": (
        "not copied",
        "hidden, a key, or what may hold pictures; see {run}/events.jsonl",
    ),
    "protected_missing": ("missing", "gone from the protected data and left out"),
}


@dataclass(frozen=True)
class Output:
    """Where a command's words go.

    Attributes:
        json: The result is one JSON document on stdout and nothing else.
        quiet: No progress and no hints on stderr.
    """

    json: bool = False
    quiet: bool = False

    def progress(self) -> Progress:
        """Return where progress goes: nowhere, a bar on a terminal, or plain lines."""
        from noli.engine.progress import for_terminal

        return for_terminal(quiet=self.quiet or self.json)

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
            _console(sys.stderr).print(text, style="dim")

    def warn(self, text: str) -> None:
        """Print a warning on stderr, whatever the flags."""
        _console(sys.stderr).print(f"warning: {text}", style="yellow")

    def warn_of_dicom(self, count: int) -> None:
        """Say, whatever the flags, that DICOM files still tell who is on them."""
        if count:
            from noli.data.dicom import NOTE

            self.warn(f"{count:,} pictures are {NOTE}")

    def warn_of_windows(self, count: int) -> None:
        """Say, whatever the flags, that changed pixels left the values that a DICOM window does not show."""
        if count:
            self.warn(
                f"{count:,} pictures have values beyond their display window; where they were changed, these "
                "values are lost in the copy, also for another window (see docs/dicom.md)"
            )


def _console(stream: Any) -> Console:
    # Piped output keeps long paths on one line, so that other programs can read it. Names of files and
    # classes are shown as they are: no markup.
    terminal = stream.isatty()
    width = None if terminal or "COLUMNS" in os.environ else 100
    return Console(
        file=stream, highlight=False, markup=False, emoji=False, soft_wrap=not terminal, width=width
    )


def grid(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    """Return label-value lines as a borderless table."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[RenderableType]], right: int = 0
) -> Table:
    """Return a plain table; the last ``right`` columns are aligned to the right."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for left, column in enumerate(columns, start=right - len(columns)):
        align: Any = {"justify": "right", "no_wrap": True} if left >= 0 else {}
        made.add_column(column, overflow="fold", header_style="bold", **align)
    for row in rows:
        made.add_row(*row)
    return made


def notices(results: Mapping[str, Any], run: object) -> Rows:
    """Return what a run found different from what was expected, in words."""
    found = [(results.get(count), words) for count, words in _NOTICES.items()]
    return [(label, f"{n:,} {meaning.format(run=run)}") for n, (label, meaning) in found if n]


def show_error(error: NoliError, *, as_json: bool) -> None:
    """Print an error on stderr: what, where, why, what to do, and the items concerned."""
    if as_json:
        sys.stderr.write(json.dumps({"error": error_document(error)}, indent=2) + "\n")
        return
    console = _console(sys.stderr)
    console.print(Text.assemble(("noli: ", "bold red"), (error.what, "bold")))
    rows = [("  where", error.where), ("  why", error.why), ("  do", error.fix)]
    console.print(grid([(head, text) for head, text in rows if text]), end="")
    # What stands under `where` already is not listed again.
    items = () if error.items == (error.where,) else error.items
    for item in items[:MAX_ITEMS]:
        console.print(f"  - {item}")
    if len(items) > MAX_ITEMS:
        console.print(f"  ... and {len(items) - MAX_ITEMS} more", style="dim")


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


def verdict(word: str, text: str = "") -> Text:
    """Return a verdict in its colour; `text` replaces the word."""
    return Text(text or word, style=_VERDICTS[word])


def spread(mean: float | None, low: float | None, unit: str = " dB", digits: int = 1) -> str:
    """Return mean and worst of a data set; ``-`` for None."""
    if mean is None or low is None:
        return "-"
    return f"{mean:.{digits}f}{unit} on average, {low:.{digits}f}{unit} at worst"
