"""Write image folders: one file an item, names kept, companions copied, tables rewritten."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.batch import write_files
from noli.data.companions import Companions
from noli.data.folders import FolderSource, TableSource
from noli.data.formats import SUFFIXES, output_format, suffix_of
from noli.data.parts import Parts
from noli.data.picture import FormatPolicy
from noli.data.place import Place, check_name
from noli.data.tables import Table

Content = bytes | npt.NDArray[Any]
Stored = Literal["ok", "missing", "changed"]
_REMEMBERED = 8


class FolderWriter:
    """A folder of image files.

    Args:
        place: Root of the output.
        source: What is written.
        work: Private folder; used only for sources with tables.
        policy: ``png``, ``webp`` or ``same``.
        strip: Leave out XMP files beside the pictures.
    """

    def __init__(
        self, place: Place, source: FolderSource, work: Path, policy: FormatPolicy, *, strip: bool = False
    ) -> None:
        self.place = place
        self.source = source
        self.policy = policy
        self.strip = strip
        self._tables = source.tables if isinstance(source, TableSource) else ()
        self._parts = Parts(work)
        self._companions = Companions(work)
        self._stems: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._owners = np.empty((0, 2), np.uint64)

    @property
    def separate(self) -> bool:
        """True: every item is a file of its own, so single items can be made again."""
        return True

    @property
    def uri(self) -> str:
        """Where the output lies."""
        return self.place.uri

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stems": OrderedDict()}

    def reserve(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Remember, in 16 bytes each, the renamed out-paths of an earlier run and whose they are."""
        renamed = [(_hash(out.casefold()), _hash(path)) for path, out in pairs if path != out]
        table = np.array(renamed, np.uint64).reshape(-1, 2)
        self._owners = table[np.argsort(table[:, 0])]

    def target(self, ref: Ref, source_format: str, *, channels: int = 3, bits: int = 8) -> str:
        """Choose the out-path of an item.

        The name is kept when its suffix suits the output format, otherwise the suffix is replaced. Where
        another file of the folder has the same stem (``a.jpg`` beside ``a.png``), or an earlier run gave
        the name away, the suffix is appended instead (``a.jpg.png``).
        """
        name, suffix = output_format(source_format, self.policy, channels=channels)
        folder, _, base = ref.path.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        if suffix_of(base) in SUFFIXES[name]:
            stem, suffix = base, ""
        else:
            stem = base[: len(base) - len(suffix_of(base))] if suffix_of(base) else base
            if self._count(folder, stem) > 1:
                stem = base
                while self._count(folder, stem):
                    stem += suffix
        while self._foreign(prefix + stem + suffix, ref.path):
            suffix += SUFFIXES[name][0]
        return prefix + stem + suffix

    def write_shard(self, index: int, items: Sequence[tuple[Ref, str, Content]]) -> None:
        """Store the files of one shard.

        Raises:
            RunError: The disk refused; nothing half-written stays.
            DataError: An array, or an out-path that leaves the output.
        """
        files: list[tuple[str, bytes]] = []
        for ref, out, content in items:
            if not isinstance(content, bytes):
                raise DataError("Folders hold encoded images, not arrays.", where=ref.path)
            files.append((check_name(out, self.uri), content))
        write_files(self.place, files)
        if self._tables:
            self._parts.write(index, items, contents=False)

    def exists(self, out_path: str) -> bool:
        """Tell whether an item is stored."""
        return self.place.exists(out_path)

    def state(self, out_path: str, size: int | None) -> Stored:
        """Tell whether a stored item is there and has the size it was written with."""
        if not self.place.exists(out_path):
            return "missing"
        return "ok" if size is None or self.place.stat(out_path)[0] == size else "changed"

    def foreign(self, out_path: str) -> bool:
        """Tell whether something lies where a new item is to go."""
        return self.place.exists(out_path)

    def kept(self) -> Sequence[str]:
        """Return the companions and tables left alone because they were changed in the output."""
        return self._companions.kept

    def read(self, out_path: str) -> bytes:
        """Return the stored bytes of an item.

        Raises:
            DataError: There is no such item.
        """
        return self.place.read(out_path)

    def finalise(self) -> None:
        """Copy the companions and rewrite the tables.

        Raises:
            RunError: The disk refused.
        """
        beside = self.source.companions()
        wanted = (name for name in beside if not (self.strip and suffix_of(name) == ".xmp"))
        self._companions.copy(self.source.place, self.place, wanted)
        if isinstance(self.source, TableSource):
            names = {path: out for _, path, out, _, _ in self._parts.rows()}
            for table in self.source.tables:
                known = self.place.exists(table.name)
                if known and not self._companions.ours(self.place, table.name, unknown=True):
                    self._companions.keep(table.name)
                    continue
                self._rewrite(self.source, table, names)
                self._companions.note(self.place, table.name)

    def final_path(self, out_path: str) -> str:
        """Return the same path: files do not move."""
        return out_path

    def _rewrite(self, source: TableSource, table: Table, names: dict[str, str]) -> None:
        folder = table.name.rpartition("/")[0]
        changed = False

        def rename(row: dict[str, Any]) -> str | None:
            nonlocal changed
            path = source.path_in(table, row)
            out = names.get(path)
            changed |= out != path
            if out == path:
                return table.cell(row, table.columns.path)  # as it was written, "./" and all
            return out.removeprefix(f"{folder}/") if out is not None and folder else out

        for row in table.rows():
            rename(row)
        with self.place.create(table.name) as handle:
            pieces = table.rewritten(rename) if changed else [source.place.read(table.name)]
            for piece in pieces:
                handle.write(piece)

    def _count(self, folder: str, stem: str) -> int:
        """Count the names in a source folder that have this stem, whatever their case."""
        if folder not in self._stems:
            stems: dict[str, int] = {}
            for entry in self.source.place.entries(folder):
                key = entry.name[: len(entry.name) - len(suffix_of(entry.name))].casefold()
                stems[key] = stems.get(key, 0) + 1
            self._stems[folder] = stems
            if len(self._stems) > _REMEMBERED:
                self._stems.popitem(last=False)
        return self._stems[folder].get(stem.casefold(), 0)

    def _foreign(self, out: str, path: str) -> bool:
        """Tell whether an earlier run gave this out-path to another item."""
        if not len(self._owners):
            return False
        key = np.uint64(_hash(out.casefold()))
        at = int(np.searchsorted(self._owners[:, 0], key))
        return bool(
            at < len(self._owners) and self._owners[at, 0] == key and self._owners[at, 1] != _hash(path)
        )


def _hash(text: str) -> int:
    raw = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
