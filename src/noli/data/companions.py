"""Copy the files beside the pictures, and never replace one that the user edited in the output."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from noli.core.errors import RunError
from noli.data.place import Place

_CHUNK = 1 << 20
_LISTED = 1000
_TABLE = """
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS copied (name BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER) WITHOUT ROWID;
"""


class Companions:
    """What was put beside the pictures, with size and time, on disk so that memory stays flat.

    Attributes:
        kept: Names (at most 1,000) of files left alone because somebody changed them in the output.

    Args:
        work: Private folder of the run; made when the first file is copied.
    """

    def __init__(self, work: Path) -> None:
        self.file = work / "companions.sqlite"
        self.kept: list[str] = []

    def copy(self, source: Place, target: Place, names: Iterable[str]) -> None:
        """Bring companions up to date; files changed in the output stay as they are.

        Raises:
            DataError: A source file is unreadable.
            RunError: The disk refused.
        """
        for name in names:
            if not target.exists(name):
                target.copy_from(source, name)
            elif not self.ours(target, name):
                if not _same(source, target, name):
                    self.keep(name)
                    continue
            else:
                target.copy_from(source, name)
            self.note(target, name)

    def ours(self, target: Place, name: str, *, unknown: bool = False) -> bool:
        """Tell whether a file is as it was written; `unknown` answers for files never written here."""
        if not self.file.is_file():
            return unknown
        with self._open() as base:
            query = "SELECT size, mtime_ns FROM copied WHERE name = ?"
            found = base.execute(query, (_raw(name),)).fetchone()
        return unknown if found is None else tuple(found) == target.stat(name)

    def note(self, target: Place, name: str) -> None:
        """Remember a file as it is now."""
        with self._open() as base:
            base.execute("INSERT OR REPLACE INTO copied VALUES (?, ?, ?)", (_raw(name), *target.stat(name)))

    def keep(self, name: str) -> None:
        """Count a file that is left alone."""
        if len(self.kept) < _LISTED:
            self.kept.append(name)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, isolation_level=None)) as base:
                base.executescript(_TABLE)
                yield base
        except (sqlite3.Error, OSError) as error:
            fix = "free some space, or delete this file, and run the same command again"
            where = str(self.file)
            raise RunError(
                "The list of companions cannot be used.", where=where, why=str(error), fix=fix
            ) from error


def _same(source: Place, target: Place, name: str) -> bool:
    if source.stat(name)[0] != target.stat(name)[0]:
        return False
    with source.open(name) as one, target.open(name) as two:
        while block := one.read(_CHUNK):
            if block != two.read(_CHUNK):
                return False
    return True


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
