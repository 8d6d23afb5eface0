"""Write NumPy archives: same arrays, same keys, pixels replaced; streamed row by row."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from noli.data.assembled import AssembledWriter
from noli.data.npz import CLASS_NAMES, NpzSource, array_split
from noli.data.place import Place


class NpzWriter(AssembledWriter):
    """One ``.npz`` file; `strip` leaves out its XMP files and texts with positions."""

    def __init__(self, place: Place, source: NpzSource, work: Path, *, strip: bool = False) -> None:
        super().__init__(place, work, {pair.images: pair.images for pair in source.pairs})
        self.source = source
        self.strip = strip

    def _file(self, table: str) -> str:
        return ""  # the place is the file

    def _counts(self) -> dict[str, int]:
        return {name: self.source.headers[name].shape[0] for name in self._names}

    def _assemble(self) -> None:
        left = set(self.source.left_out(strip=self.strip))
        with (
            self._create("", self._names) as handle,
            zipfile.ZipFile(handle, "w") as new,
            self.source.place.open() as raw,
            zipfile.ZipFile(raw) as old,
        ):
            for member in (one for one in old.infolist() if one.filename not in left):
                info = zipfile.ZipInfo(member.filename)
                info.compress_type = member.compress_type
                info.external_attr = 0o644 << 16
                with new.open(info, "w", force_zip64=True) as target, old.open(member) as source:
                    name = member.filename[:-4] if member.filename.endswith(".npy") else ""
                    kept = self._kept(name) if name else None
                    if name in self._names:
                        self._write_images(name, target)
                    elif kept is not None:
                        npy.write_array(target, self.source.array(name)[kept], allow_pickle=False)
                    else:
                        shutil.copyfileobj(source, target, 4 << 20)

    def _write_images(self, name: str, target: Any) -> None:
        shape, _, dtype = self.source.headers[name]
        rows = int(np.count_nonzero(self._index()[name].present))
        descr = npy.dtype_to_descr(dtype)
        npy.write_array_header_1_0(
            target, {"descr": descr, "fortran_order": False, "shape": (rows, *shape[1:])}
        )
        for raw in self._contents(name):
            target.write(raw)

    def _kept(self, name: str) -> npt.NDArray[np.bool_] | None:
        """Return which rows of an array stay: those of the images it runs beside; None for all."""
        shape = self.source.headers[name].shape
        if name in CLASS_NAMES or not shape:
            return None
        for pair in self.source.pairs:
            present = self._index()[pair.images].present
            beside = name == pair.labels or array_split(name)[1] == pair.split
            if beside and shape[0] == len(present):
                return None if present.all() else present
        return None

    def _reopen(self, name: str) -> NpzSource:
        return NpzSource(self.place)
