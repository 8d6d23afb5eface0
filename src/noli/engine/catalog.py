"""What a run already knows about its items: a scratch database on disk, so that memory stays flat.

The truth lies in the index files and shard records; this file can be deleted at any time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noli.core.dataset import Source
from noli.core.errors import RunError

Known = tuple[int, int, str]
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -4000;
CREATE TABLE items (
  path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT, label BLOB, failed INTEGER,
  seen INTEGER DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE contents (id TEXT PRIMARY KEY, label BLOB, path BLOB) WITHOUT ROWID;
CREATE TABLE made (out BLOB PRIMARY KEY, sha256 TEXT, record TEXT, used INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE INDEX made_sha256 ON made (sha256);
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an item; `failed` items have no digest."""

    sha256: str
    label: str | None
    failed: bool


class Catalog(Mapping[str, Known]):
    """Known items by path: ``(size, mtime_ns, sha256)``, the mapping that gives the scan its short cut.

    Items that failed are stored but not part of the mapping, so that the scan looks at them again. For an
    undo it also holds the records of the protected run.
    """

    def __init__(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        self.file = file
        self._seen = 0
        # The scan may look items up from its threads.
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.executescript(_TABLES)
        # One transaction that is never committed: nothing here has to survive, and it is fast.
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Close and delete the scratch file."""
        self._db.close()
        self.file.unlink(missing_ok=True)

    def add(self, row: Mapping[str, Any]) -> None:
        """Remember an index row; a later row for the same path (a repaired item) replaces it."""
        self._run(
            "INSERT OR REPLACE INTO items (path, size, mtime_ns, sha256, label, failed) VALUES (?,?,?,?,?,?)",
            _text(row["path"]),
            row["size"],
            row["mtime_ns"],
            row.get("sha256", ""),
            None if row.get("label") is None else _text(row["label"]),
            int("error" in row),
        )
        if "id" in row and row.get("label") is not None:
            self.claim(row["id"], row["label"], row["path"])

    def claim(self, identity: str, label: str, path: str) -> tuple[str, str]:
        """Note under which label a content entered; return ``(label, path)`` of its first appearance."""
        values = (identity, _text(label), _text(path))
        self._run("INSERT OR IGNORE INTO contents VALUES (?, ?, ?)", *values)
        found = self._run("SELECT label, path FROM contents WHERE id = ?", identity).fetchone()
        return _plain(found[0]), _plain(found[1])

    def enters(self, path: str) -> bool:
        """Tell whether a path is new, or failed last time."""
        return path not in self

    def see(self, path: str) -> Seen | None:
        """Count a path as still present; return what is known of it, or None when it is new."""
        found = self._run("SELECT sha256, label, failed FROM items WHERE path = ?", _text(path)).fetchone()
        if found is None:
            return None
        self._seen += not found[2]
        return Seen(found[0], None if found[1] is None else _plain(found[1]), bool(found[2]))

    def unseen(self, source: Source) -> Iterator[str]:
        """Iterate over the known paths that are not in the source any more, sorted.

        Called after :meth:`see` was called for every item of the source. Nearly always nothing is gone,
        which the count tells; only otherwise every path is looked at again.
        """
        if self._seen == len(self):
            return
        for ref in source.refs():
            self._run("UPDATE items SET seen = 1 WHERE path = ?", _text(ref.path))
        for (path,) in self._run("SELECT path FROM items WHERE seen = 0 AND failed = 0 ORDER BY path"):
            yield _plain(path)

    def add_made(self, record: Mapping[str, Any]) -> None:
        """Remember a record of the protected run."""
        line = json.dumps(record)
        self._run(
            "INSERT OR REPLACE INTO made (out, sha256, record) VALUES (?, ?, ?)",
            _text(record["out"]),
            record["sha256_out"],
            line,
        )

    def unused(self) -> Iterator[str]:
        """Iterate over the protected items that :meth:`made` never returned: they are missing."""
        for (out,) in self._run("SELECT out FROM made WHERE used = 0 ORDER BY out"):
            yield _plain(out)

    def made(self, out: str, sha256: str) -> dict[str, Any] | None:
        """Return the record of a protected item: same name and content, else same content, else same name.

        Content counts more than the name because files get renamed, and because rows of arrays and tables
        move up when others are left out.
        """
        query = (
            "SELECT record FROM made WHERE out = ?1 OR sha256 = ?2"
            " ORDER BY (out = ?1 AND sha256 = ?2) DESC, sha256 = ?2 DESC, out LIMIT 1"
        )
        found = self._run(query, _text(out), sha256).fetchone()
        if found is None:
            return None
        record: dict[str, Any] = json.loads(found[0])
        self._run("UPDATE made SET used = 1 WHERE out = ?", _text(record["out"]))
        return record

    def __getitem__(self, path: str) -> Known:
        query = "SELECT size, mtime_ns, sha256 FROM items WHERE path = ? AND failed = 0"
        found: Known | None = self._run(query, _text(path)).fetchone()
        if found is None:
            raise KeyError(path)
        return found

    def __iter__(self) -> Iterator[str]:
        for (path,) in self._run("SELECT path FROM items WHERE failed = 0 ORDER BY path"):
            yield _plain(path)

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM items WHERE failed = 0").fetchone()[0])

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as exc:
            fix = "free some space on the disk of the run folder, then run the same command again"
            raise RunError(
                "The scratch database failed.", where=str(self.file), why=str(exc), fix=fix
            ) from exc


def _text(path: str) -> bytes:
    # File names that are no valid UTF-8 carry lone surrogates, which SQLite refuses as text.
    return path.encode("utf-8", "surrogatepass")


def _plain(path: bytes) -> str:
    return path.decode("utf-8", "surrogatepass")
