"""NumPy archives: arrays are mapped from disk, never loaded whole, and object arrays are never read."""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.picture import Pixels
from noli.data.place import Place

_IMAGES = ("x", "images", "image", "data", "pixels", "imgs")
_LABELS = ("y", "labels", "label", "targets", "target")
_SPLITS = ("train", "test", "val", "valid", "validation", "dev", "eval")


@dataclass(frozen=True)
class Member:
    """One array of an archive: its name, type, and whether it lies there uncompressed."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    stored: bool


@dataclass(frozen=True)
class Pair:
    """An image array and the label array that belongs to it."""

    images: str
    labels: str | None
    split: str | None


class NpzSource:
    """Images in a ``.npz`` file.

    Args:
        place: The file.
        labels: Name of the label array, or None to look for one.

    Raises:
        DataError: No image array, object arrays where images or labels should be, or shapes that differ.
    """

    def __init__(self, place: Place, labels: str | None = None) -> None:
        self.place = place
        self.members = {member.name: member for member in self._list_members()}
        self.pairs = self._find_pairs(labels)
        self._maps: dict[str, Pixels] = {}
        for pair in self.pairs:
            self._check(pair)

    @property
    def uri(self) -> str:
        """The file as it was given."""
        return self.place.uri

    @property
    def layout(self) -> str:
        """``npz``."""
        return "npz"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def refs(self) -> Iterator[Ref]:
        """Yield ``array#row`` for every row of every image array, in archive order."""
        index = 0
        names = self._class_names()
        for pair in self.pairs:
            labels = self.array(pair.labels) if pair.labels else None
            for row in range(self.members[pair.images].shape[0]):
                label = None if labels is None else _label(labels[row], names)
                yield Ref(f"{pair.images}#{row}", label=label, split=pair.split, index=index)
                index += 1

    def read(self, ref: Ref) -> Pixels:
        """Return the pixels ``[H, W, C]`` of one row (a copy).

        Raises:
            DataError: No such row.
        """
        name, _, row = ref.path.rpartition("#")
        if name not in self.members or not row.isdigit() or int(row) >= self.members[name].shape[0]:
            raise DataError("There is no such item.", where=f"{self.uri}: {ref.path}")
        pixels = np.array(self.array(name)[int(row)])
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Return size and modification time of the whole file."""
        return self.place.stat()

    def companions(self) -> Iterator[str]:
        """Yield nothing: an archive has no other files."""
        yield from ()

    def array(self, name: str) -> Pixels:
        """Return one array, mapped read-only (compressed ones from an anonymous temporary file)."""
        if name not in self._maps:
            self._maps[name] = self._map(self.members[name])
        return self._maps[name]

    def _list_members(self) -> Iterator[Member]:
        try:
            with self.place.open() as raw, zipfile.ZipFile(raw) as archive:
                for info in archive.infolist():
                    if info.filename.endswith(".npy"):
                        with archive.open(info) as handle:
                            shape, fortran, dtype = _read_header(handle)
                        stored = info.compress_type == zipfile.ZIP_STORED
                        yield Member(info.filename[:-4], shape, dtype, fortran, stored)
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            fix = "write it again with numpy.savez"
            raise DataError("The archive is damaged.", where=self.uri, why=str(error), fix=fix) from error

    def _map(self, member: Member) -> Pixels:
        if member.dtype.hasobject:
            fix = "store plain arrays (numpy.savez without object dtype)"
            raise DataError("Object arrays are never read.", where=f"{self.uri}: {member.name}", fix=fix)
        if 0 in member.shape:
            return np.empty(member.shape, member.dtype)
        order: Any = "F" if member.fortran else "C"
        try:
            with self.place.open() as raw, zipfile.ZipFile(raw) as archive:
                info = archive.getinfo(member.name + ".npy")
                if member.stored and self.place.local:
                    start = _data_start(raw, info) + _header_size(archive, info)
                    path = Path(self.place.full())
                    return np.memmap(path, member.dtype, "r", start, member.shape, order)
                with tempfile.TemporaryFile(prefix="noli-") as spool:
                    with archive.open(info) as handle:
                        _read_header(handle)
                        shutil.copyfileobj(handle, spool, 4 << 20)
                    spool.flush()
                    return np.memmap(spool, member.dtype, "r", 0, member.shape, order)
        except (zipfile.BadZipFile, ValueError, EOFError) as error:
            fix = "write it again with numpy.savez"
            where = f"{self.uri}: {member.name}"
            raise DataError("The archive is damaged.", where=where, why=str(error), fix=fix) from error

    def _find_pairs(self, labels: str | None) -> tuple[Pair, ...]:
        pairs = []
        for name in self.members:
            stem, split = array_split(name)
            if stem in _IMAGES:
                pairs.append(Pair(name, self._labels_for(split, labels), split))
        if not pairs:
            raise DataError(
                "The archive has no image array.",
                where=self.uri,
                why=f"arrays are {', '.join(self.members) or 'none'}",
                fix="name the images x (or images, x_train, x_test ...) and the labels y",
            )
        return tuple(pairs)

    def _labels_for(self, split: str | None, wanted: str | None) -> str | None:
        """Return the label array of a split: the wanted one, or the usual names in order of preference."""
        names = {array_split(name): name for name in self.members}
        if wanted:
            found = wanted if wanted in self.members else names.get((wanted.lower(), split))
            if found is None:
                fix = f"name one of {', '.join(self.members)}"
                raise DataError(f"There is no array {wanted!r}.", where=self.uri, fix=fix)
            return found
        return next((names[stem, split] for stem in _LABELS if (stem, split) in names), None)

    def _check(self, pair: Pair) -> None:
        images = self.members[pair.images]
        good = len(images.shape) == 3 or (len(images.shape) == 4 and images.shape[3] in (1, 2, 3, 4))
        if not good or images.dtype not in (np.uint8, np.uint16) or images.fortran:
            raise DataError(
                "Image arrays must be uint8 or uint16 [N, H, W] or [N, H, W, C].",
                where=f"{self.uri}: {pair.images}",
                why=f"got {images.dtype} {images.shape}{' in Fortran order' if images.fortran else ''}",
                fix="scale to 0..255, put channels last and save again",
            )
        if pair.labels:
            labels = self.members[pair.labels]
            rows = images.shape[0]
            if labels.dtype.kind not in "iuUSb" or labels.shape not in ((rows,), (rows, 1)):
                raise DataError(
                    "Labels must be integers or text, one for each image.",
                    where=f"{self.uri}: {pair.labels}",
                    why=f"got {labels.dtype} {labels.shape} for {rows} images",
                    fix="store class numbers or names as [N]",
                )

    def _class_names(self) -> list[str]:
        for name in ("class_names", "classes", "label_names"):
            member = self.members.get(name)
            if member is not None and member.dtype.kind in "US" and len(member.shape) == 1:
                return [_text(value) for value in self.array(name)]
        return []


def array_split(name: str) -> tuple[str, str | None]:
    """Split an array name into stem and split: ``x_train`` or ``train_images`` -> ``(.., "train")``."""
    lower = name.lower()
    match = re.fullmatch(rf"(.+)_({'|'.join(_SPLITS)})|({'|'.join(_SPLITS)})_(.+)", lower)
    if match is None:
        return lower, None
    return (match[1], match[2]) if match[1] else (match[4], match[3])


def _label(value: Any, names: list[str]) -> str | None:
    value = np.asarray(value).reshape(())[()]
    if isinstance(value, (str, bytes)):
        return _text(value) or None
    number = int(value)
    return names[number] if 0 <= number < len(names) else str(number)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _read_header(handle: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(handle)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = reader(handle)
    return tuple(shape), bool(fortran), dtype


def _header_size(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    with archive.open(info) as handle:
        _read_header(handle)
        return handle.tell()


def _data_start(raw: IO[bytes], info: zipfile.ZipInfo) -> int:
    raw.seek(info.header_offset + 26)
    name, extra = struct.unpack("<HH", raw.read(4))
    return info.header_offset + 30 + int(name) + int(extra)
