"""What a run already knows about its items: a scratch database on disk, so that memory stays flat."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from noli.core.errors import RunError

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


class Seen(NamedTuple):
    """What is known of an item; `failed` items have no digest."""

    sha256: str
    label: str | None
    failed: bool


class Catalog:
    """Known items by path; for an undo also the records of the protected run."""

    def __init__(self) -> None:
        # The empty name makes a private file in the temporary folder, which vanishes with the connection.
        # The scan may look items up from its threads.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_TABLES)
        # One transaction that is never committed: nothing here has to survive, and it is fast.
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Close and delete the scratch file."""
        self._db.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Remember an index row; a later row for the same path (a repaired item) replaces it."""
        label = row.get("label")
        self._run(
            "INSERT OR REPLACE INTO items (path, size, mtime_ns, sha256, label, failed) VALUES (?,?,?,?,?,?)",
            _text(row["path"]),
            row["size"],
            row["mtime_ns"],
            row.get("sha256", ""),
            None if label is None else _text(label),
            "error" in row,
        )
        if "id" in row and label is not None:
            self.claim(row["id"], label, row["path"])

    def content(self, path: str) -> tuple[int, int, str] | None:
        """Return ``(size, mtime_ns, sha256)`` of an item, which spares the scan to read it again.

        None for new items and for those that failed: the scan looks at them.
        """
        query = "SELECT size, mtime_ns, sha256 FROM items WHERE path = ? AND failed = 0"
        found: tuple[int, int, str] | None = self._run(query, _text(path)).fetchone()
        return found

    def claim(self, identity: str, label: str, path: str) -> tuple[str, str]:
        """Note under which label a content entered; return ``(label, path)`` of its first appearance."""
        self._run("INSERT OR IGNORE INTO contents VALUES (?, ?, ?)", identity, _text(label), _text(path))
        found = self._run("SELECT label, path FROM contents WHERE id = ?", identity).fetchone()
        return _plain(found[0]), _plain(found[1])

    def see(self, path: str) -> Seen | None:
        """Count a path as still present; return what is known of it, or None when it is new."""
        update = "UPDATE items SET seen = 1 WHERE path = ? RETURNING sha256, label, failed"
        found = self._run(update, _text(path)).fetchone()
        return found and Seen(found[0], None if found[1] is None else _plain(found[1]), bool(found[2]))

    def unseen(self) -> Iterator[str]:
        """Iterate over the known paths that :meth:`see` was never called for, sorted."""
        for (path,) in self._run("SELECT path FROM items WHERE seen = 0 AND failed = 0 ORDER BY path"):
            yield _plain(path)

    def add_made(self, record: Mapping[str, Any]) -> None:
        """Remember a record of the protected run."""
        self._run(
            "INSERT OR REPLACE INTO made (out, sha256, record) VALUES (?, ?, ?)",
            _text(record["out"]),
            record["sha256_out"],
            json.dumps(record),
        )

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

    def unused(self) -> Iterator[str]:
        """Iterate over the protected items that :meth:`made` never returned: they are missing."""
        for (out,) in self._run("SELECT out FROM made WHERE used = 0 ORDER BY out"):
            yield _plain(out)

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as exc:
            fix = "free space for temporary files (or set SQLITE_TMPDIR) and run the same command again"
            raise RunError("The scratch database failed.", why=str(exc), fix=fix) from exc


def _text(path: str) -> bytes:
    # File names that are no valid UTF-8 carry lone surrogates, which SQLite refuses as text.
    return path.encode("utf-8", "surrogatepass")


def _plain(path: bytes) -> str:
    return path.decode("utf-8", "surrogatepass")
