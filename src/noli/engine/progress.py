"""Progress on stderr: a bar for people, a line every few seconds for logs, nothing for quiet."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar

PLAIN_EVERY_S = 5.0


class Progress(Protocol):
    """What the runner tells about its work. Stages follow each other; each is started and finished."""

    def start(self, total: int | None, label: str) -> None:
        """Begin a stage of `total` items (None when the number is not known)."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more items as done."""

    def finish(self) -> None:
        """End the stage; harmless when none was started."""


class Quiet:
    """Says nothing."""

    def start(self, total: int | None, label: str) -> None:
        """Do nothing."""

    def advance(self, n: int = 1) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class RichProgress:
    """A bar with the time left, redrawn in place and removed when a stage ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr)
        self._bar: RichBar | None = None
        self._task: TaskID | None = None

    def start(self, total: int | None, label: str) -> None:
        """Show a new bar."""
        self.finish()
        self._bar = RichBar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(label, total=total)
        self._bar.start()

    def advance(self, n: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n)

    def finish(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None


class PlainProgress:
    """One line when a stage starts, at most one every few seconds, one when it ends."""

    def __init__(self, stream: TextIO | None = None, every: float = PLAIN_EVERY_S) -> None:
        self._stream = stream
        self._every = every
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
        if self._label is not None and now - self._told >= self._every:
            self._told = now
            self._say(eta=self._eta(now))

    def finish(self) -> None:
        """Tell the final count."""
        if self._label is not None:
            self._say(eta=f"in {time.monotonic() - self._begun:.1f} s")
        self._label = None

    def _eta(self, now: float) -> str:
        if not self._total or not self._done:
            return f"{now - self._begun:.0f} s so far"
        left = (now - self._begun) * max(0, self._total - self._done) / self._done
        return f"about {left:.0f} s left"

    def _say(self, eta: str) -> None:
        count = f"{self._done}/{self._total}" if self._total else f"{self._done}"
        stream = self._stream or sys.stderr
        stream.write(f"{self._label}: {count}, {eta}\n")
        stream.flush()


def for_terminal(*, quiet: bool = False) -> Progress:
    """Return the progress that fits stderr: nothing, a bar on a terminal, or plain lines."""
    if quiet:
        return Quiet()
    return RichProgress() if sys.stderr.isatty() else PlainProgress()
