"""Write NumPy archives: same arrays, same keys, pixels replaced; streamed row by row."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from noli.data.assembled import AssembledWriter
from noli.data.npz import Member, NpzSource, array_split
from noli.data.parts import RowIndex
from noli.data.picture import Pixels
from noli.data.place import Place

_EPOCH = (1980, 1, 1, 0, 0, 0)
_NAMES = ("class_names", "classes", "label_names")
_COPY_ROWS = 4096


class NpzWriter(AssembledWriter):
    """One ``.npz`` file.

    Args:
        place: The output file.
        source: What is written.
        work: Private folder for parts and the ledger.
    """

    def __init__(self, place: Place, source: NpzSource, work: Path) -> None:
        super().__init__(place, work)
        self.source = source
        self._done: tuple[int, NpzSource] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_done": None}

    def finalise(self) -> None:
        """Assemble the archive; does nothing when no shard was written since the last time.

        Raises:
            RunError: The disk refused.
        """
        if not self._parts.indexes():
            return
        counts = {pair.images: self.source.members[pair.images].shape[0] for pair in self.source.pairs}
        indexes = self._indexes(counts)
        with self.place.create("") as handle:
            with zipfile.ZipFile(handle, "w", allowZip64=True) as archive:
                for member in self.source.members.values():
                    self._write_member(archive, member, indexes)
            size = handle.tell()
            for table, index in indexes.items():
                self._ledger.note(table, size, index.ranges)
        for table in indexes:
            self._ledger.settle(table, size)
        self._parts.clear()

    def _write_member(self, archive: zipfile.ZipFile, member: Member, indexes: dict[str, RowIndex]) -> None:
        info = zipfile.ZipInfo(member.name + ".npy", _EPOCH)
        info.compress_type = zipfile.ZIP_STORED if member.stored else zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        kept = self._kept(member, indexes)
        head = io.BytesIO()
        shape = member.shape if kept is None else (int(kept.sum()), *member.shape[1:])
        fortran = member.fortran and kept is None
        described = {"descr": npy.dtype_to_descr(member.dtype), "fortran_order": fortran, "shape": shape}
        npy.write_array_header_1_0(head, described)
        with archive.open(info, "w", force_zip64=True) as handle:
            handle.write(head.getvalue())
            if member.name in indexes:
                index = indexes[member.name]
                for row in np.flatnonzero(index.present):
                    handle.write(self._row(member.name, index, int(row)))
                return
            array = self.source.array(member.name)
            if fortran or array.ndim == 0:
                handle.write(array.tobytes("A"))
                return
            for start in range(0, len(array), _COPY_ROWS):
                block = array[start : start + _COPY_ROWS]
                handle.write((block if kept is None else block[kept[start : start + _COPY_ROWS]]).tobytes())

    def _kept(self, member: Member, indexes: dict[str, RowIndex]) -> npt.NDArray[np.bool_] | None:
        """Return which rows of an array stay: those of the images it runs beside; None for all."""
        if member.name in _NAMES or not member.shape:
            return None
        for pair in self.source.pairs:
            beside = member.name in (pair.images, pair.labels) or array_split(member.name)[1] == pair.split
            present = indexes[pair.images].present
            if beside and member.shape[0] == len(present):
                return None if present.all() else present
        return None

    def _file(self, table: str) -> str:
        return ""

    def _content(self, out_path: str, raw: bytes) -> Pixels:
        member = self.source.members[out_path.rpartition("#")[0]]
        shape = member.shape[1:] if len(member.shape) == 4 else (*member.shape[1:], 1)
        return np.frombuffer(raw, member.dtype).reshape(shape)

    def _finished(self, table: str, rank: int) -> Pixels:
        size, _ = self.place.stat()
        if self._done is None or self._done[0] != size:
            self._done = (size, NpzSource(Place(self.place.uri)))
        pixels = np.array(self._done[1].array(table)[rank])
        return pixels if pixels.ndim == 3 else pixels[..., None]
