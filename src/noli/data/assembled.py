"""What NumPy and Parquet outputs share: shards are kept as parts and assembled when the run closes."""

from __future__ import annotations

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Content, Ref, Source
from noli.core.errors import DataError, RunError
from noli.data.place import Place, write_errors

Ranges = list[list[int]]
_LEDGER = "ledger.json"


@dataclass
class Rows:
    """Where the new content of every source row of one table lies: 5 bytes a row.

    Attributes:
        held: Whether the output file, as it lies there, has the row.
        shard: The part that has it, or -1.
    """

    held: npt.NDArray[np.bool_]
    shard: npt.NDArray[np.int32]

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which rows will be in the output."""
        return np.asarray(self.held | (self.shard >= 0))


class AssembledWriter(ABC):
    """Base of writers whose items are rows (``table#row``) of a few files. Can be pickled.

    Only rows handed to `write_shard` are in the output. In the work folder, ``000007.zip`` has the contents
    of one finished shard. ``ledger.json`` says which source rows an output of a given size holds, so that it
    can be extended: it is written before the output is renamed into place, and so knows both states if a
    kill comes between the two.

    Args:
        place: Output file or folder.
        work: Private folder for both.
        names: Tables, as the source calls them and as the output does.
    """

    separate = False  # items are no files of their own

    def __init__(self, place: Place, work: Path, names: Mapping[str, str]) -> None:
        self.place = place
        self.work = Place(work)
        self._names = dict(names)
        self._tables = {out: table for table, out in names.items()}
        self._rows: dict[str, Rows] = {}
        self._part: tuple[int, zipfile.ZipFile] | None = None  # the one that was read last
        self._done: tuple[str, Source] | None = None
        self._held: dict[str, Ranges] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": {}, "_part": None, "_done": None, "_held": {}}

    def reserve(self, pairs: Iterable[tuple[str, str]]) -> None:  # noqa: B027
        """Do nothing: rows keep their names."""

    def target(self, ref: Ref, source_format: str, *, channels: int = 3) -> str:
        """Return ``table#row``, counted as in the source."""
        table, _, row = ref.path.rpartition("#")
        return f"{self._names[table]}#{row}"

    def write_shard(self, index: int, items: Sequence[tuple[Ref, str, Content]]) -> None:
        """Store ``(ref, out-path, content)`` as a part; a full disk is `RunError`."""
        with self.work.create(_part_name(index)) as handle, zipfile.ZipFile(handle, "w") as archive:
            for ref, _, content in items:
                raw = content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
                archive.writestr(zipfile.ZipInfo(_member(ref.path)), raw)

    def state(self, out_path: str, size: int | None = None) -> Literal["ok", "missing", "changed"]:
        """Tell whether an item is stored, and whether its file is as it was written."""
        table, row = self._locate(out_path)
        rows = self._index().get(table)
        if rows is not None and row < len(rows.held) and (rows.held[row] or rows.shard[row] >= 0):
            return "ok"
        return "changed" if self.foreign(out_path) else "missing"

    def foreign(self, out_path: str) -> bool:
        """Tell whether the output file of an item exists but was not written by this run as it is."""
        table, _ = self._locate(out_path)
        return self.place.exists(self._file(table)) and not self._ranges(table)

    def read(self, out_path: str) -> Content:
        """Return the bytes or pixels of an item in the finished output, or raise `DataError`."""
        table, row = self._locate(out_path)
        rows = self._index().get(table)
        if rows is None or not rows.held[row : row + 1].any():
            raise DataError("There is no such item.", where=f"{self.place.uri}: {out_path}")
        return self._finished(table, int(np.count_nonzero(rows.held[:row])))

    def finalise(self, done: Iterable[tuple[str, str]]) -> list[str]:
        """Assemble the files that got new rows; returns the companions that differ in the output."""
        self._forget()
        if shards := self._shards():
            self._assemble()
            self._forget()
            with write_errors(self.work.root):
                for number in shards:
                    Path(self.work.full(_part_name(number))).unlink()
        return []

    @abstractmethod
    def _file(self, table: str) -> str:
        """Return the output file of a source table, relative to the output place."""

    @abstractmethod
    def _counts(self) -> dict[str, int]:
        """Return the number of rows of every source table."""

    @abstractmethod
    def _assemble(self) -> None:
        """Write the output files from `_contents`, through `_create`."""

    @abstractmethod
    def _reopen(self, name: str) -> Source:
        """Open the output as it lies there; only its table `name` is read."""

    def _finished(self, table: str, rank: int) -> Content:
        name = self._names[table]
        if self._done is None or self._done[0] != name:
            self._done = (name, self._reopen(name))
        return self._done[1].read(Ref(f"{name}#{rank}"))

    def _contents(self, table: str) -> Iterator[bytes]:
        """Yield the new content of all present rows of a table, in order."""
        rows, rank = self._index()[table], 0
        for row in map(int, np.flatnonzero(rows.present)):
            if rows.shard[row] >= 0:
                yield self._stored(table, row, int(rows.shard[row]))
            else:
                old = self._finished(table, rank)
                yield old if isinstance(old, bytes) else old.tobytes()
            rank += int(rows.held[row])

    @contextmanager
    def _create(self, file: str, tables: Iterable[str]) -> Iterator[IO[bytes]]:
        """Write an output file, and note which rows of these tables it holds."""
        with self.place.create(file) as handle:
            yield handle
            ledger, size = self._ledger(), str(handle.tell())
            for table in tables:
                edges = np.flatnonzero(np.diff(self._index()[table].present, prepend=False, append=False))
                ledger.setdefault(table, {})[size] = edges.reshape(-1, 2).tolist()
            self.work.write(_LEDGER, json.dumps(ledger, sort_keys=True).encode())

    def _index(self) -> dict[str, Rows]:
        """Return where the rows of all tables lie that the source or the ledger knows."""
        if not self._rows:
            counts = self._counts()
            for table in {**counts, **self._ledger()}:
                ranges = self._ranges(table)
                length = max([counts.get(table, 0), *(stop for _, stop in ranges)])
                held = np.zeros(length, bool)
                for start, stop in ranges:
                    held[start:stop] = True
                self._rows[table] = Rows(held, np.full(length, -1, np.int32))
            for number in self._shards():
                for member in self._open(number).namelist():
                    table, _, row = unquote(member, errors="surrogateescape").rpartition("#")
                    if int(row) < counts.get(table, 0):
                        self._rows[table].shard[int(row)] = number
        return self._rows

    def _locate(self, out_path: str) -> tuple[str, int]:
        """Split an out-path into the source table and the row."""
        name, _, row = out_path.rpartition("#")
        return self._tables.get(name, name), int(row)

    def _ranges(self, table: str) -> Ranges:
        """Return the source rows that the output, as it lies there, holds."""
        if table not in self._held:
            file = self._file(table)
            size = str(self.place.stat(file)[0]) if self.place.exists(file) else ""
            self._held[table] = self._ledger().get(table, {}).get(size, [])
        return self._held[table]

    def _ledger(self) -> dict[str, dict[str, Ranges]]:
        found: dict[str, dict[str, Ranges]] = {}
        if self.work.exists(_LEDGER):
            found = json.loads(self.work.read(_LEDGER))
        return found

    def _shards(self) -> list[int]:
        names = self.work.listing()[1] if self.work.exists() else []
        return sorted(int(name[:-4]) for name in names if name.endswith(".zip"))

    def _stored(self, table: str, row: int, shard: int) -> bytes:
        return self._open(shard).read(_member(f"{table}#{row}"))

    def _open(self, shard: int) -> zipfile.ZipFile:
        """Open a part; it stays open, because rows are asked for in order."""
        if self._part is None or self._part[0] != shard:
            path = self.work.full(_part_name(shard))
            try:
                self._part = (shard, zipfile.ZipFile(path))
            except (OSError, zipfile.BadZipFile) as error:
                fix = "delete this file and run the same command again"
                raise RunError("A finished shard is damaged.", where=path, why=str(error), fix=fix) from error
        return self._part[1]

    def _forget(self) -> None:
        """Look again at the next question, because files changed."""
        self._rows, self._part, self._done, self._held = {}, None, None, {}


def _part_name(shard: int) -> str:
    return f"{shard:06d}.zip"


def _member(path: str) -> str:
    return quote(path, safe="#/", errors="surrogateescape")
