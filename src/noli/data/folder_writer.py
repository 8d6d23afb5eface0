"""Write image folders: one file an item, names kept, companions copied, tables rewritten."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from noli.core.dataset import Content, Ref
from noli.core.errors import DataError
from noli.data.batch import write_files
from noli.data.folders import FolderSource, TableSource
from noli.data.formats import PLAIN_SUFFIXES, SUFFIXES, output_format, suffix_of
from noli.data.picture import FormatPolicy
from noli.data.place import Place, inside
from noli.data.tables import Row, Table, cell

_LEDGER = "tables.json"


class FolderWriter:
    """A folder of image files. Can be pickled; every worker may have its own copy.

    Args:
        place: Root of the output.
        source: What is written.
        work: Private folder; remembers the tables that were written.
        policy: ``png``, ``webp`` or ``same``.
        strip: Leave out XMP files and positions beside the pictures.
    """

    separate = True  # every item is a file, so single items can be made again

    def __init__(
        self, place: Place, source: FolderSource, work: Path, policy: FormatPolicy, *, strip: bool = False
    ) -> None:
        self.place = place
        self.work = Place(work)
        self.source = source
        self.policy = policy
        self.strip = strip
        self._stems: dict[str, Counter[str]] = {}
        self._taken = np.empty((0, 2), np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stems": {}}

    def reserve(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Remember, in 16 bytes each, the out-paths of an earlier run and whose they are."""
        taken = sorted((hash(out.casefold()), hash(path)) for path, out in pairs)
        self._taken = np.array(taken, np.int64).reshape(-1, 2)

    def target(self, ref: Ref, source_format: str, *, channels: int = 3) -> str:
        """Choose the out-path of an item.

        The name is kept when its suffix suits the output format, otherwise the suffix is replaced. Where
        another file of the folder has the same stem (``a.jpg`` beside ``a.png``), or an earlier run gave
        the name away, the suffix is appended instead (``a.jpg.png``).
        """
        name, suffix = output_format(source_format, self.policy, channels=channels)
        folder, slash, base = ref.path.rpartition("/")
        # DICOM files are often named by a number, or listed in a DICOMDIR: never another suffix for them.
        if name == "DICOM" or suffix_of(base) in SUFFIXES[name]:
            out = base
        else:
            stem = _stem(base)
            if self._count(folder, stem) > 1:
                stem = base
                while self._count(folder, stem):
                    stem += suffix
            out = stem + suffix
        while self._is_taken(folder + slash + out, ref.path):
            out += SUFFIXES[name][0]
        return folder + slash + out

    def write_shard(self, index: int, items: Sequence[tuple[Ref, str, Content]]) -> None:
        """Store ``(ref, out-path, content)``; each file appears whole, or `RunError` says why not."""
        files: list[tuple[str, bytes]] = []
        for ref, out, content in items:
            if not isinstance(content, bytes):
                raise DataError("Folders hold encoded images, not arrays.", where=ref.path)
            name = inside(out)
            if name is None:
                raise DataError("An item would be written outside the output.", where=f"{ref.path}: {out!r}")
            files.append((name, content))
        write_files(self.place, files)

    def state(self, out_path: str, size: int | None = None) -> Literal["ok", "missing", "changed"]:
        """Tell whether an item is there and has the size it was written with (None: any)."""
        if not self.place.exists(out_path):
            return "missing"
        return "ok" if size is None or self.place.stat(out_path)[0] == size else "changed"

    def foreign(self, out_path: str) -> bool:
        """Tell whether something that this run did not write lies where a new item is to go."""
        return self.place.exists(out_path)

    def read(self, out_path: str) -> bytes:
        """Return the stored bytes of an item."""
        return self.place.read(out_path)

    def finalise(self, done: Iterable[tuple[str, str]]) -> list[str]:
        """Copy the companions and rewrite the tables; `done`: ``(in-path, out-path)`` of all stored items.

        Returns the companions and tables left alone because the output has other versions of them.
        """
        source = self.source
        kept = self.place.copy_missing(source.place, source.companions(strip=self.strip))
        if isinstance(source, TableSource):
            renamed = dict(done)
            kept += [table.name for table in source.tables if not self._put(source, table, renamed)]
        return kept

    def _put(self, source: TableSource, table: Table, names: dict[str, str]) -> bool:
        """Write a table, unless the output has a version of it that this writer did not make."""
        content = b"".join(_lines(source, table, names))
        there = self.place.read(table.name) if self.place.exists(table.name) else None
        if there == content:
            return True
        ledger: dict[str, list[str]] = {}
        if self.work.exists(_LEDGER):
            ledger = json.loads(self.work.read(_LEDGER))
        made = ledger.setdefault(table.name, [])
        if there is not None and hashlib.sha256(there).hexdigest() not in made:
            return False
        # Noted first: a kill after the table is in place must not make it look like somebody else's.
        made.append(hashlib.sha256(content).hexdigest())
        self.work.write(_LEDGER, json.dumps(ledger).encode())
        self.place.write(table.name, content)
        return True

    def _count(self, folder: str, stem: str) -> int:
        """Count the folders and pictures in a source folder that have this stem, whatever their case."""
        if folder not in self._stems:
            if not isinstance(self.source, TableSource):  # a walk finishes one folder before the next
                self._stems.clear()
            folders, files = self.source.place.listing(folder)
            rivals = [name for name in files if suffix_of(name) not in (*PLAIN_SUFFIXES, ".xmp")]
            self._stems[folder] = Counter(_stem(name).casefold() for name in folders + rivals)
        return self._stems[folder][stem.casefold()]

    def _is_taken(self, out: str, path: str) -> bool:
        """Tell whether an earlier run gave this out-path to another item."""
        key = hash(out.casefold())
        at = int(np.searchsorted(self._taken[:, 0], key))
        owner = self._taken[at].tolist() if at < len(self._taken) else []
        return owner[:1] == [key] and owner[1] != hash(path)


def _stem(base: str) -> str:
    return base[: len(base) - len(suffix_of(base))]


def _lines(source: TableSource, table: Table, names: dict[str, str]) -> Iterator[bytes]:
    """Yield a table with its pictures' new names, without left out rows; verbatim if that changes nothing."""
    folder = table.name.rpartition("/")[0]

    def rename(row: Row) -> str | None:
        path = source.path_in(table, row)
        out = names.get(path)
        if out == path:
            return cell(row, table.path)  # as it was written, "./" and all
        return out.removeprefix(f"{folder}/") if out is not None and folder else out

    if any(rename(row) != cell(row, table.path) for row in table.rows()):
        yield from table.rewritten(rename)
    else:
        yield source.place.read(table.name)
