"""Progress on stderr: a bar for people, a line every few seconds for logs, nothing for quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar

PLAIN_EVERY_S = 5.0


class Progress:
    """What work in stages reports; this base says nothing. Stages follow each other."""

    def start(self, total: int | None, label: str) -> None:
        """Begin a stage of `total` items (None when the number is not known)."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more items as done."""

    def finish(self) -> None:
        """End the stage; harmless when none was started."""


class RichProgress(Progress):
    """A bar with the time left, redrawn in place and removed when a stage ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr)
        self._bar: RichBar | None = None
        self._task = TaskID(0)

    def start(self, total: int | None, label: str) -> None:
        """Show a new bar."""
        self.finish()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = RichBar(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task(label, total=total)
        self._bar.start()

    def advance(self, n: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(self._task, n)

    def finish(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None


class PlainProgress(Progress):
    """At most one line every few seconds while a stage lasts, one when it ends."""

    def __init__(self, stream: TextIO | None = None, every: float = PLAIN_EVERY_S) -> None:
        self._stream, self._every = stream, every
        self._label: str | None = None
        self._total: int | None = None
        self._done = 0
        self._begun = self._told = 0.0

    def start(self, total: int | None, label: str) -> None:
        """Note the stage."""
        self.finish()
        self._label, self._total, self._done = label, total, 0
        self._begun = self._told = time.monotonic()

    def advance(self, n: int = 1) -> None:
        """Count, and tell when it is time."""
        self._done += n
        now = time.monotonic()
        if self._label is None or now - self._told < self._every:
            return
        self._told, spent = now, now - self._begun
        if self._total and self._done:
            self._say(f"about {spent * max(0, self._total - self._done) / self._done:.0f} s left")
        else:
            self._say(f"{spent:.0f} s so far")

    def finish(self) -> None:
        """Tell the final count."""
        if self._label is not None:
            self._say(f"in {time.monotonic() - self._begun:.1f} s")
        self._label = None

    def _say(self, when: str) -> None:
        count = f"{self._done}/{self._total}" if self._total else f"{self._done}"
        stream = self._stream or sys.stderr
        stream.write(f"{self._label}: {count}, {when}\n")
        stream.flush()


def for_terminal(*, quiet: bool = False) -> Progress:
    """Return the progress that fits stderr: nothing, a bar on a terminal, or plain lines."""
    if quiet:
        return Progress()
    return RichProgress() if sys.stderr.isatty() else PlainProgress()


def stage(bar: Progress, label: str) -> Callable[[int, int, str], None]:
    """Return a callback for ``(done, all, what)`` that shows a stage of progress from its first call on."""
    told: int | None = None

    def tell(done: int, total: int, what: str) -> None:
        nonlocal told
        if told is None:
            bar.start(total, label)
            told = 0
        if done > told:
            bar.advance(done - told)
            told = done

    return tell
