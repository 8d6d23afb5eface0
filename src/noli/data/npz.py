"""NumPy archives: arrays are mapped from disk, never loaded whole, and object arrays are never read."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.embedded import may_travel
from noli.data.picture import Pixels
from noli.data.place import Place, write_errors

CLASS_NAMES = ("class_names", "classes", "label_names")
_IMAGES = ("x", "images", "image", "data", "pixels", "imgs")
_LABELS = ("y", "labels", "label", "targets", "target")
_ROW = 784  # values or bytes for each item: 28 x 28 pixels
_SPLITS = ("train", "test", "val", "valid", "validation", "dev", "eval")


class Header(NamedTuple):
    """What an array of the archive is, known without reading it."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


class Pair(NamedTuple):
    """An image array and the label array that belongs to it."""

    images: str
    labels: str | None
    split: str | None


def _may_hold(name: str, header: Header) -> bool:
    """Tell whether an array may hold pictures: three axes, long rows or texts, objects."""
    shape, _, kind = header
    row = int(np.prod(shape[1:])) * (kind.itemsize if kind.kind in "SUV" else 1)
    return len(shape) >= 3 or row >= _ROW or (kind.hasobject and name not in CLASS_NAMES)


class NpzSource:
    """Images in a ``.npz`` file.

    Attributes:
        headers: Of all arrays, by name.
        pairs: The image arrays.

    Args:
        place: The file.
        labels: Name of the label array, or None to look for one.

    Raises:
        DataError: No image array, object arrays where images or labels should be, shapes that differ, or
            other files inside than texts.
    """

    layout = "npz"

    def __init__(self, place: Place, labels: str | None = None) -> None:
        self.place = place
        self.uri = place.uri
        self._maps: dict[str, Pixels] = {}
        with self._archive() as (_, archive):
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise ValueError("two members have the same name")
            self.headers = {
                name[:-4]: _read_header(archive.open(name)) for name in names if name.endswith(".npy")
            }
        if others := list(self.left_out()):
            raise DataError(
                "The archive has further files that may hold pictures.",
                where=self.uri,
                why=f"{', '.join(others)} would be published; only text without pictures inside may be",
                fix="take them out of the archive",
                items=others,
            )
        self.pairs = self._find_pairs(labels)
        for pair in self.pairs:
            self._check(pair)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def refs(self) -> Iterator[Ref]:
        """Yield ``array#row`` for every row of every image array, in archive order."""
        index = 0
        names = self._class_names()
        for pair in self.pairs:
            labels = self.array(pair.labels) if pair.labels else None
            for row in range(self.headers[pair.images].shape[0]):
                label = None if labels is None else _label(labels[row], names)
                yield Ref(f"{pair.images}#{row}", label=label, split=pair.split, index=index)
                index += 1

    def read(self, ref: Ref) -> Pixels:
        """Return the pixels ``[H, W, C]`` of one row (a copy); `DataError` if there is no such row."""
        name, _, row = ref.path.rpartition("#")
        if name not in self.headers or not row.isdigit() or int(row) >= self.headers[name].shape[0]:
            raise DataError("There is no such item.", where=f"{self.uri}: {ref.path}")
        pixels = np.array(self.array(name)[int(row)])
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Return size and modification time of the whole file."""
        return self.place.stat()

    def left_out(self, *, strip: bool = False) -> Iterator[str]:
        """Yield the files of the archive that are no arrays and not copied: see `may_travel`."""
        with self._archive() as (_, archive):
            for name in archive.namelist():
                if not name.endswith((".npy", "/")) and not may_travel(name, archive.open(name), strip=strip):
                    yield name

    def array(self, name: str) -> Pixels:
        """Return one array, mapped read-only (compressed ones from an anonymous temporary file)."""
        if name not in self._maps:
            if self.headers[name].dtype.hasobject:
                fix = "store plain arrays (numpy.savez without object dtype)"
                raise DataError("Object arrays are never read.", where=f"{self.uri}: {name}", fix=fix)
            self._maps[name] = self._map(name)
        return self._maps[name]

    def _map(self, name: str) -> Pixels:
        shape, fortran, dtype = self.headers[name]
        if 0 in shape:
            return np.empty(shape, dtype)
        with self._archive() as (raw, archive), tempfile.TemporaryFile(prefix="noli-") as spool:
            member, file = archive.getinfo(name + ".npy"), raw
            if member.compress_type == zipfile.ZIP_STORED and self.place.local:
                raw.seek(member.header_offset + 26)
                raw.seek(sum(struct.unpack("<HH", raw.read(4))), 1)  # the name and the extra field
            else:
                file = spool
                with write_errors(tempfile.gettempdir()):
                    shutil.copyfileobj(archive.open(member), spool, 4 << 20)
                    spool.seek(0)
            _read_header(file)
            return np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")

    @contextmanager
    def _archive(self) -> Iterator[tuple[IO[bytes], zipfile.ZipFile]]:
        try:
            with self.place.open() as raw, zipfile.ZipFile(raw) as archive:
                yield raw, archive
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
            fix = "write it again with numpy.savez"
            raise DataError("The archive is damaged.", where=self.uri, why=str(error), fix=fix) from error
        except RuntimeError as error:  # encrypted, or packed in a way that this Python cannot read
            fix = "write it again with numpy.savez, without a password"
            raise DataError("The archive cannot be read.", where=self.uri, why=str(error), fix=fix) from error

    def _find_pairs(self, labels: str | None) -> list[Pair]:
        pairs = []
        for name in self.headers:
            stem, split = array_split(name)
            if stem in _IMAGES:
                pairs.append(Pair(name, self._labels_for(split, labels), split))
        used = {name for pair in pairs for name in (pair.images, pair.labels)}
        others = [
            name for name, header in self.headers.items() if name not in used and _may_hold(name, header)
        ]
        if pairs and others:
            raise DataError(
                "The archive has further arrays that may hold pictures.",
                where=self.uri,
                why=f"{', '.join(others)} would be published as they are",
                fix="leave them out of the archive, or name them as a split (x_train, x_test)",
            )
        if not pairs:
            raise DataError(
                "The archive has no image array.",
                where=self.uri,
                why=f"arrays are {', '.join(self.headers) or 'none'}",
                fix="name the images x (or images, x_train, x_test ...) and the labels y",
            )
        return pairs

    def _labels_for(self, split: str | None, wanted: str | None) -> str | None:
        """Return the label array of a split: the wanted one, or the usual names in order of preference."""
        names = {array_split(name): name for name in self.headers}
        if not wanted:
            return next((names[stem, split] for stem in _LABELS if (stem, split) in names), None)
        found = wanted if wanted in self.headers else names.get((wanted.lower(), split))
        if found is None:
            fix = f"name one of {', '.join(self.headers)}"
            raise DataError(f"There is no array {wanted!r}.", where=self.uri, fix=fix)
        return found

    def _check(self, pair: Pair) -> None:
        shape, fortran, dtype = self.headers[pair.images]
        good = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 2, 3, 4))
        if not good or dtype not in (np.uint8, np.uint16) or fortran:
            raise DataError(
                "Image arrays must be uint8 or uint16 [N, H, W] or [N, H, W, C].",
                where=f"{self.uri}: {pair.images}",
                why=f"got {dtype} {shape}{' in Fortran order' if fortran else ''}",
                fix="scale to 0..255, put channels last and save again",
            )
        if pair.labels:
            labels, rows = self.headers[pair.labels], shape[0]
            if labels.dtype.kind not in "iuUSb" or labels.shape not in ((rows,), (rows, 1)):
                raise DataError(
                    "Labels must be integers or text, one for each image.",
                    where=f"{self.uri}: {pair.labels}",
                    why=f"got {labels.dtype} {labels.shape} for {rows} images",
                    fix="store class numbers or names as [N]",
                )

    def _class_names(self) -> list[str]:
        for name in CLASS_NAMES:
            header = self.headers.get(name)
            if header is not None and header.dtype.kind in "US" and len(header.shape) == 1:
                return [_text(value) for value in self.array(name)]
        return []


def array_split(name: str) -> tuple[str, str | None]:
    """Split an array name into stem and split: ``x_train`` or ``train_images`` -> ``(.., "train")``."""
    lower = name.lower()
    for split in _SPLITS:
        stem = lower.removesuffix(f"_{split}").removeprefix(f"{split}_")
        if stem and stem != lower:
            return stem, split
    return lower, None


def _label(value: Any, names: list[str]) -> str | None:
    value = np.asarray(value).reshape(())[()]
    if isinstance(value, (str, bytes)):
        return _text(value) or None
    number = int(value)
    return names[number] if 0 <= number < len(names) else str(number)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _read_header(handle: IO[bytes]) -> Header:
    """Read the header of a ``.npy`` file and leave the file where its data begins."""
    version = npy.read_magic(handle)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return Header(*reader(handle))
