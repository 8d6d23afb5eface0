"""Parquet files with embedded images, as Hugging Face writes them; read in batches, memory flat in rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.folders import SPLIT_NAMES
from noli.data.place import Place
from noli.data.tables import LABELS, TEXTS

BATCH = 128
_BINARY_NAMES = ("image", "img", "images", "bytes", "content", "jpg", "jpeg", "png", "webp")
_LABEL_NAMES = (*LABELS, "fine_label")


@dataclass(frozen=True)
class Shape:
    """What the columns of one Parquet file mean.

    Attributes:
        image: Image column.
        struct: Whether it is a ``{bytes, path}`` struct (otherwise plain bytes).
        label: Label column or None.
        text: Caption column or None.
        names: Class names of integer labels; empty when unknown.
    """

    image: str
    struct: bool
    label: str | None
    text: str | None
    names: tuple[str, ...]


class ParquetSource:
    """Images in one Parquet file or in all ``.parquet`` files of a folder tree.

    Args:
        place: The file, or the folder.
        files: Paths inside the place; ``("",)`` for a single file.
        labels: Name of the label column, or None to look for one.

    Raises:
        DataError: Damaged files, no image column, or more than one.
    """

    def __init__(self, place: Place, files: tuple[str, ...], labels: str | None = None) -> None:
        self.place = place
        self.files = files
        self.labels = labels
        self._cursor: _Cursor | None = None
        self.shape_of(files[0])

    @property
    def uri(self) -> str:
        """The file or folder as it was given."""
        return self.place.uri

    @property
    def layout(self) -> str:
        """``parquet``."""
        return "parquet"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cursor": None}

    def shown(self, file: str) -> str:
        """Return the name of a file as item paths show it."""
        return file or self.place.root.rpartition("/")[2]

    def open(self, file: str) -> pq.ParquetFile:
        """Open one file.

        Raises:
            DataError: It is damaged or not Parquet.
        """
        try:
            return pq.ParquetFile(self.place.open(file), pre_buffer=False, buffer_size=1 << 20)
        except (pa.ArrowException, OSError) as error:
            fix = "get the file again"
            where = self.place.full(file)
            raise DataError("The Parquet file is damaged.", where=where, why=str(error), fix=fix) from error

    def shape_of(self, file: str) -> Shape:
        """Return what the columns of a file mean."""
        with self.open(file) as handle:
            return _describe(handle.schema_arrow, self.labels, self.place.full(file))

    def refs(self) -> Iterator[Ref]:
        """Yield ``file#row`` for every row; image columns are not read."""
        index = 0
        for file in self.files:
            shape, split = self.shape_of(file), _split(self.shown(file))
            with self.open(file) as handle:
                row = 0
                for labels, texts in _cells(handle, shape):
                    for label, text in zip(labels, texts, strict=True):
                        path = f"{self.shown(file)}#{row}"
                        yield Ref(path, _name(label, shape.names), split, text, index)
                        row, index = row + 1, index + 1

    def read(self, ref: Ref) -> bytes:
        """Return the embedded bytes of one row; cheap when rows are read in order.

        Raises:
            DataError: No such row, or no embedded bytes.
        """
        file, row = self.locate(ref.path)
        if self._cursor is None or self._cursor.file != file:
            self._cursor = _Cursor(self, file)
        return self._cursor.read(row, f"{self.uri}: {ref.path}")

    def locate(self, path: str) -> tuple[str, int]:
        """Split an item path into the file (as in ``files``) and the row.

        Raises:
            DataError: The path names no file of this source.
        """
        shown, _, row = path.rpartition("#")
        file = next((name for name in ("", shown) if name in self.files and self.shown(name) == shown), None)
        if file is None or not row.isdigit():
            raise DataError("There is no such item.", where=f"{self.uri}: {path}")
        return file, int(row)

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Return size and modification time of the file that holds the row."""
        return self.place.stat(self.locate(ref.path)[0])

    def companions(self) -> Iterator[str]:
        """Yield the other files of the folder."""
        if self.files != ("",):
            known = set(self.files)
            yield from (name for name, _ in self.place.walk() if name not in known)


class _Cursor:
    """A position in one file; keeps one batch of encoded images and moves forward cheaply."""

    def __init__(self, source: ParquetSource, file: str) -> None:
        self.file = file
        self._handle = source.open(file)
        self._shape = source.shape_of(file)
        counts = [self._handle.metadata.row_group(i).num_rows for i in range(self._handle.num_row_groups)]
        self._starts = [sum(counts[:i]) for i in range(len(counts) + 1)]
        self._group = -1
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first = 0
        self._column: pa.Array | None = None

    def read(self, row: int, where: str) -> bytes:
        """Return the bytes of one row."""
        if row >= self._starts[-1]:
            raise DataError("There is no such item.", where=where)
        if self._column is None or not self._first <= row < self._first + len(self._column):
            self._seek(row, where)
        assert self._column is not None  # noqa: S101 - _seek either sets it or raises
        value = self._column[row - self._first].as_py()
        data = value["bytes"] if self._shape.struct and value is not None else value
        if not isinstance(data, bytes):
            fix = "embed the images (datasets: embed_external_files=True), or --on-error skip"
            raise DataError("The row has no embedded image.", where=where, fix=fix)
        return data

    def _seek(self, row: int, where: str) -> None:
        group = next(i for i in range(len(self._starts) - 1) if row < self._starts[i + 1])
        if group != self._group or self._column is None or row < self._first:
            self._group, self._column = group, None
            self._first = self._starts[group]
            columns = [self._shape.image]
            self._batches = self._handle.iter_batches(BATCH, row_groups=[group], columns=columns)
        try:
            while self._column is None or row >= self._first + len(self._column):
                self._first += 0 if self._column is None else len(self._column)
                self._column = next(self._batches).column(0)
        except (pa.ArrowException, OSError, StopIteration) as error:
            self._column = None
            fix = "get the file again, or --on-error skip"
            raise DataError("The Parquet file is damaged.", where=where, why=str(error), fix=fix) from error


def _describe(schema: pa.Schema, labels: str | None, where: str) -> Shape:
    features = _features(schema)
    images = [field.name for field in schema if _is_struct(field.type) or features.get(field.name) == "Image"]
    if not images:
        binary = [field.name for field in schema if _is_binary(field.type)]
        images = [name for name in binary if name.lower() in _BINARY_NAMES] or binary
    if len(images) != 1:
        raise DataError(
            "A Parquet file must have one image column.",
            where=where,
            why=f"image columns: {', '.join(images) or 'none'}; all columns: {', '.join(schema.names)}",
            fix="keep one column with image bytes: what is not protected would be published as it is",
        )
    image = schema.field(images[0])
    if labels and labels not in schema.names:
        fix = f"name one of {', '.join(schema.names)}"
        raise DataError(f"There is no column {labels!r}.", where=where, fix=fix)
    coded = [name for name, kind in features.items() if isinstance(kind, tuple)]
    label = labels or _first(_LABEL_NAMES, schema.names) or (coded[0] if len(coded) == 1 else None)
    names = features.get(label) if label else None
    text = _first(TEXTS, schema.names)
    return Shape(image.name, _is_struct(image.type), label, text, names if isinstance(names, tuple) else ())


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return column -> ``"Image"``, or the tuple of class names, from the Hugging Face schema metadata."""
    try:
        raw = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = raw.get("info", {}).get("features", {})
        kinds = {name: value for name, value in features.items() if isinstance(value, dict)}
    except (ValueError, AttributeError):
        return {}
    found: dict[str, Any] = {}
    for name, value in kinds.items():
        if value.get("_type") == "ClassLabel" and isinstance(value.get("names"), list):
            found[name] = tuple(map(str, value["names"]))
        elif value.get("_type") == "Image":
            found[name] = "Image"
    return found


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_struct(kind: pa.DataType) -> bool:
    at = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    return at >= 0 and _is_binary(kind.field(at).type)


def _first(wanted: tuple[str, ...], names: list[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in wanted if name in lower), None)


def _cells(handle: pq.ParquetFile, shape: Shape) -> Iterator[tuple[list[Any], list[str | None]]]:
    columns = [name for name in (shape.label, shape.text) if name]
    if not columns:
        for start in range(0, handle.metadata.num_rows, 4096):
            size = min(4096, handle.metadata.num_rows - start)
            yield [None] * size, [None] * size
        return
    for batch in handle.iter_batches(4096, columns=columns):
        empty = [None] * batch.num_rows
        labels = batch.column(shape.label).to_pylist() if shape.label else empty
        texts = batch.column(shape.text).to_pylist() if shape.text else empty
        yield labels, [text if isinstance(text, str) else None for text in texts]


def _name(label: Any, names: tuple[str, ...]) -> str | None:
    if label is None or label == "" or (isinstance(label, int) and label < 0):
        return None  # -1 is Hugging Face's mark for "no label"
    if isinstance(label, int) and label < len(names):
        return names[label]
    return str(label)


def _split(shown: str) -> str | None:
    for part in shown.lower().split("/"):
        head = re.split(r"[-_.]", part, maxsplit=1)[0]
        if head in SPLIT_NAMES:
            return head
    return None
