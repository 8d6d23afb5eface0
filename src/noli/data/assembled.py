"""What NumPy and Parquet outputs share: shards are kept as parts and assembled when the run closes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.parts import Ledger, Parts, RowIndex
from noli.data.place import Place

Content = bytes | npt.NDArray[Any]
Stored = Literal["ok", "missing", "changed"]


class AssembledWriter:
    """Base of writers whose items are rows (``table#row``) of a few files.

    Subclasses know which tables there are, which file holds each, and how to write one.

    Args:
        place: Output file or folder.
        work: Private folder for parts and the ledger.
    """

    def __init__(self, place: Place, work: Path) -> None:
        self.place = place
        self._parts = Parts(work)
        self._ledger = Ledger(work)
        self._known: tuple[tuple[str, int, int], list[list[int]]] | None = None

    @property
    def separate(self) -> bool:
        """False: items are rows, so whole shards are made again."""
        return False

    @property
    def uri(self) -> str:
        """Where the output lies."""
        return self.place.uri

    def reserve(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Do nothing: rows keep their names."""

    def target(self, ref: Ref, source_format: str, *, channels: int = 3, bits: int = 8) -> str:
        """Return ``table#row``, counted as in the source."""
        table, _, row = ref.path.rpartition("#")
        return f"{self._shown(table)}#{row}"

    def write_shard(self, index: int, items: Sequence[tuple[Ref, str, Content]]) -> None:
        """Store one shard as a part.

        Raises:
            RunError: The disk refused; nothing half-written stays.
        """
        self._parts.write(index, items)

    def exists(self, out_path: str) -> bool:
        """Tell whether an item is stored, in a part or in the assembled output."""
        return self._parts.locate(out_path) is not None or self._rank(out_path) is not None

    def state(self, out_path: str, size: int | None) -> Stored:
        """Tell whether an item is stored, and whether its file is as it was written."""
        if self.exists(out_path):
            return "ok"
        return "changed" if self.foreign(out_path) else "missing"

    def foreign(self, out_path: str) -> bool:
        """Tell whether the output file of an item exists but was not written by this run as it is."""
        table = self._table(out_path)
        name = self._file(table)
        return self.place.exists(name) and not self._ledger.ranges(table, self.place.stat(name)[0])

    def kept(self) -> Sequence[str]:
        """Return the companions left alone because they were changed in the output."""
        return ()

    def read(self, out_path: str) -> Content:
        """Return the stored bytes or pixels of an item.

        Raises:
            DataError: There is no such item.
        """
        found = self._parts.locate(out_path)
        if found is not None:
            return self._content(out_path, self._parts.content(*found))
        rank = self._rank(out_path)
        if rank is None:
            raise DataError("There is no such item.", where=f"{self.uri}: {out_path}")
        return self._finished(self._table(out_path), rank)

    def final_path(self, out_path: str) -> str:
        """Return ``table#row`` counted as in the output."""
        rank = self._rank(out_path)
        return out_path if rank is None else f"{out_path.rpartition('#')[0]}#{rank}"

    def _rank(self, out_path: str) -> int | None:
        """Return the row of an item in the assembled output, or None when it is not there."""
        row = out_path.rpartition("#")[2]
        if not row.isdigit():
            return None
        rank = 0
        for start, stop in self._held(self._table(out_path)):
            if start <= int(row) < stop:
                return rank + int(row) - start
            rank += stop - start
        return None

    def _held(self, table: str) -> list[list[int]]:
        """Return the source rows that the assembled output of a table holds."""
        name = self._file(table)
        if not self.place.exists(name):
            return []
        key = (table, *self.place.stat(name))
        if self._known is None or self._known[0] != key:
            self._known = (key, self._ledger.ranges(table, key[1]))
        return self._known[1]

    def _indexes(self, rows: dict[str, int]) -> dict[str, RowIndex]:
        """Return for each table (with its number of source rows) where the content of each row lies."""
        indexes = {table: RowIndex(count) for table, count in rows.items()}
        for table, index in indexes.items():
            index.inherit(self._held(table))
        for shard, path, _, offset, length in self._parts.rows():
            table, _, row = path.rpartition("#")
            if table in indexes and int(row) < len(indexes[table].shard):
                indexes[table].put(int(row), shard, offset, length)
        return indexes

    def _row(self, table: str, index: RowIndex, row: int) -> bytes:
        """Return the new content of one source row as bytes."""
        shard = int(index.shard[row])
        if shard >= 0:
            return self._parts.content(shard, int(index.offset[row]), int(index.length[row]))
        old = self._finished(table, int(index.old[row]))
        return old if isinstance(old, bytes) else old.tobytes()

    def _shown(self, table: str) -> str:
        """Return the name of a source table as out-paths show it."""
        return table

    def _table(self, out_path: str) -> str:
        """Return the source table that an out-path belongs to."""
        return out_path.rpartition("#")[0]

    def _file(self, table: str) -> str:
        """Return the output file of a source table, relative to the output place."""
        raise NotImplementedError

    def _content(self, out_path: str, raw: bytes) -> Content:
        """Turn stored bytes back into what `write_shard` was given."""
        raise NotImplementedError

    def _finished(self, table: str, rank: int) -> Content:
        """Read one row of the assembled output."""
        raise NotImplementedError
