"""Finished shards of outputs that are one file in the end: stored beside the run, assembled at its close."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Ref
from noli.core.errors import RunError
from noli.data.place import Place, write_errors

Content = bytes | npt.NDArray[Any]


class Parts:
    """A folder of shard files: ``000007.bin`` (contents end to end) and ``000007.json`` (what lies where).

    The JSON file is written last, so its presence says that the shard is complete.

    Args:
        folder: Private folder of the run; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder)
        self._recent: tuple[int, dict[str, tuple[int, int]]] | None = None
        self._open: tuple[int, BinaryIO] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recent": None, "_open": None}

    def write(self, index: int, items: Sequence[tuple[Ref, str, Content]], *, contents: bool = True) -> None:
        """Store one shard; the same items give the same bytes.

        Args:
            index: Shard number.
            items: ``(ref, out-path, content)``.
            contents: False stores only the paths.

        Raises:
            RunError: The disk refused.
        """
        self.close()
        rows: list[list[Any]] = []
        at = 0
        if contents:
            with self.place.create(f"{index:06d}.bin") as handle:
                for ref, out, content in items:
                    raw = content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
                    handle.write(raw)
                    rows.append([ref.path, out, at, len(raw)])
                    at += len(raw)
        else:
            # Single items of a shard may be made again; the others keep their entries.
            table = {row[0]: row for row in self._load(index)} if self._has(index) else {}
            table.update({ref.path: [ref.path, out, 0, 0] for ref, out, _ in items})
            rows = list(table.values())
        self.place.write(f"{index:06d}.json", json.dumps(rows).encode())
        self._recent = (index, {row[1]: (row[2], row[3]) for row in rows})

    def indexes(self) -> list[int]:
        """Return the numbers of all complete shards."""
        if not self.place.exists():
            return []
        names = [entry.name for entry in self.place.entries() if entry.name.endswith(".json")]
        return sorted(int(name[:-5]) for name in names if name[:-5].isdigit())

    def rows(self) -> Iterator[tuple[int, str, str, int, int]]:
        """Yield ``(shard, in-path, out-path, offset, length)`` of everything stored.

        Raises:
            RunError: A damaged index file.
        """
        for index in self.indexes():
            for path, out, offset, length in self._load(index):
                yield index, path, out, offset, length

    def locate(self, out_path: str) -> tuple[int, int, int] | None:
        """Return ``(shard, offset, length)`` of an out-path, or None.

        The shard of the last hit is tried first and then the others in a circle from there, so that asking
        for all items in order reads every index file once.
        """
        at = self._recent[0] if self._recent else 0
        if self._recent and out_path in self._recent[1]:
            return (at, *self._recent[1][out_path])
        indexes = self.indexes()
        for index in sorted(indexes, key=lambda i: (i < at, i)):
            table = {out: (offset, length) for _, out, offset, length in self._load(index)}
            if out_path in table:
                self._recent = (index, table)
                return (index, *table[out_path])
        return None

    def content(self, index: int, offset: int, length: int) -> bytes:
        """Return ``length`` bytes of a shard."""
        if self._open is None or self._open[0] != index:
            self.close()
            self._open = (index, self.place.open(f"{index:06d}.bin"))
        self._open[1].seek(offset)
        return self._open[1].read(length)

    def close(self) -> None:
        """Close the shard that was read last."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def clear(self) -> None:
        """Delete all shards, after their content has reached its final place."""
        self.close()
        self._recent = None
        folder = Path(self.place.root)
        with write_errors(str(folder)):
            for index in self.indexes():
                (folder / f"{index:06d}.json").unlink(missing_ok=True)
                (folder / f"{index:06d}.bin").unlink(missing_ok=True)

    def _has(self, index: int) -> bool:
        return self.place.exists(f"{index:06d}.json")

    def _load(self, index: int) -> list[list[Any]]:
        try:
            rows: list[list[Any]] = json.loads(self.place.read(f"{index:06d}.json"))
        except ValueError as error:
            where = self.place.full(f"{index:06d}.json")
            fix = "delete this file and run the same command again"
            raise RunError("A shard index is damaged.", where=where, why=str(error), fix=fix) from error
        return rows


class RowIndex:
    """Where the new content of every row of one table lies: 20 bytes a row.

    Args:
        rows: Number of rows of the source table.
    """

    def __init__(self, rows: int) -> None:
        self.shard = np.full(rows, -1, np.int32)
        self.offset = np.zeros(rows, np.int64)
        self.length = np.zeros(rows, np.int64)
        self.old = np.full(rows, -1, np.int64)

    def put(self, row: int, shard: int, offset: int, length: int) -> None:
        """Note where a row's content lies."""
        self.shard[row], self.offset[row], self.length[row] = shard, offset, length

    def inherit(self, ranges: Sequence[Sequence[int]]) -> None:
        """Note the rows that an earlier, finished output already holds, in its order."""
        rank = 0
        for start, stop in ranges:
            stop = min(stop, len(self.old))
            self.old[start:stop] = np.arange(rank, rank + stop - start)
            rank += stop - start

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which rows will be in the output."""
        return np.asarray((self.shard >= 0) | (self.old >= 0))

    @property
    def ranges(self) -> list[list[int]]:
        """The present rows as ``[start, stop)`` pairs."""
        flags = np.concatenate(([False], self.present, [False])).astype(np.int8)
        edges = np.flatnonzero(np.diff(flags))
        return [[int(a), int(b)] for a, b in edges.reshape(-1, 2)]


class Ledger:
    """Which source rows each finished output file holds, so that it can be extended later.

    Kept as candidates by file size: the entry is written before the file is renamed into place, so a kill
    between the two leaves a ledger that still tells both states apart.

    Args:
        folder: Private folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder)

    def ranges(self, name: str, size: int) -> list[list[int]]:
        """Return the row ranges of the output ``name`` when its size is ``size``; empty when unknown."""
        found: list[list[int]] = self._load().get(name, {}).get(str(size), [])
        return found

    def note(self, name: str, size: int, ranges: list[list[int]]) -> None:
        """Add what an output holds, before it is put into place."""
        table = self._load()
        table.setdefault(name, {})[str(size)] = ranges
        self.place.write("ledger.json", json.dumps(table, sort_keys=True).encode())

    def settle(self, name: str, size: int) -> None:
        """Forget older states of an output, after the new one is in place."""
        table = self._load()
        table[name] = {str(size): table[name][str(size)]}
        self.place.write("ledger.json", json.dumps(table, sort_keys=True).encode())

    def _load(self) -> dict[str, dict[str, list[list[int]]]]:
        if not self.place.exists("ledger.json"):
            return {}
        table: dict[str, dict[str, list[list[int]]]] = json.loads(self.place.read("ledger.json"))
        return table
