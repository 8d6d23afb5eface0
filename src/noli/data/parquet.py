"""Parquet files with embedded images, as Hugging Face writes them; read in batches, memory flat in rows."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from noli.core import foreign
from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.columns import DAMAGE, check_values, is_binary, pictures
from noli.data.folders import SPLIT_NAMES, Companions
from noli.data.place import Place
from noli.data.tables import LABELS, TEXTS, first_of

BATCH = 128
# What `datasets` calls columns of pictures, as files or as numbers.
_DESCRIBED = ("Image", "Array3D")
_LABEL_NAMES = (*LABELS, "fine_label")


class Columns(NamedTuple):
    """What the columns of one Parquet file mean.

    Attributes:
        image: Image column: bytes, or a ``{bytes, path}`` struct.
        label: Label column or None.
        text: Caption column or None.
        names: Class names of integer labels; empty when unknown.
    """

    image: str
    label: str | None
    text: str | None
    names: list[str]


class ParquetSource(Companions):
    """Images in one Parquet file or in all ``.parquet`` files of a folder tree.

    Args:
        place: The folder.
        files: Paths inside the folder.
        labels: Name of the label column, or None to look for one.
        single: The data set is one file, not the folder.

    Raises:
        DataError: Damaged files, no image column, or more than one.
    """

    layout = "parquet"

    def __init__(
        self, place: Place, files: list[str], labels: str | None = None, *, single: bool = False
    ) -> None:
        self.place = place
        self.uri = place.uri
        self.files = files
        self.labels = labels
        self.single = single
        self._file = ""
        self._next = self._end = 0
        self._values: Iterator[pa.Scalar] = iter(())
        self.columns(files[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": "", "_values": iter(())}

    def open(self, file: str) -> pq.ParquetFile:
        """Open one file; `DataError` if it is damaged or not Parquet."""
        try:
            return pq.ParquetFile(self.place.open(file), pre_buffer=False, buffer_size=1 << 20)
        except DAMAGE as error:
            raise _damaged(self.place.full(file), error, "get the file again") from error

    def columns(self, file: str) -> Columns:
        """Return what the columns of a file mean."""
        with self.open(file) as handle:
            return _describe(handle.schema_arrow, self.labels, self.place.full(file))

    def refs(self) -> Iterator[Ref]:
        """Yield ``file#row`` for every row; image columns are not read."""
        index = 0
        for file in self.files:
            columns, split = self.columns(file), _split(file)
            with self.open(file) as handle:
                check_values(handle, columns.image, self.place.full(file))
                for row, (label, text) in enumerate(_cells(handle, columns)):
                    text = text if isinstance(text, str) else None
                    yield Ref(f"{file}#{row}", _name(label, columns.names), split, text, index)
                    index += 1

    def read(self, ref: Ref) -> bytes:
        """Return the embedded bytes of one row, or raise `DataError`; cheap when rows are read in order."""
        file, row = self._locate(ref)
        where = f"{self.uri}: {ref.path}"
        try:
            if file != self._file or not self._next <= row < self._end:
                self._seek(file, row, where)
            value = next(islice(self._values, row - self._next, None)).as_py()
        except DAMAGE as error:
            self._file = ""
            raise _damaged(where, error, "get the file again, or --on-error skip") from error
        self._next = row + 1
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            fix = "embed the images (datasets: embed_external_files=True), or --on-error skip"
            raise DataError("The row has no embedded image.", where=where, fix=fix)
        return data

    def _seek(self, file: str, row: int, where: str) -> None:
        """Begin to read the row group that holds a row."""
        handle = self.open(file)
        meta = handle.metadata
        ends = list(accumulate(meta.row_group(i).num_rows for i in range(meta.num_row_groups)))
        group = bisect_right(ends, row)
        if group == len(ends):
            raise DataError("There is no such item.", where=where)
        batches = handle.iter_batches(BATCH, row_groups=[group], columns=[self.columns(file).image])
        self._file, self._next, self._end = file, ends[group - 1] if group else 0, ends[group]
        self._values = (value for batch in batches for value in batch.column(0))

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Return size and modification time of the file that holds the row."""
        return self.place.stat(self._locate(ref)[0])

    def _others(self) -> Iterator[str]:
        if not self.single:
            known = set(self.files)
            yield from (name for name in self.place.walk() if name not in known)

    def _locate(self, ref: Ref) -> tuple[str, int]:
        file, _, row = ref.path.rpartition("#")
        if file not in self.files or not row.isdigit():
            raise DataError("There is no such item.", where=f"{self.uri}: {ref.path}")
        return file, int(row)


def _damaged(where: str, error: Exception, fix: str) -> DataError:
    return DataError("The Parquet file is damaged.", where=where, why=str(error), fix=fix)


def _describe(schema: pa.Schema, labels: str | None, where: str) -> Columns:
    features = _features(schema)
    kinds = {name: feature.get("_type") for name, feature in features.items()}
    images = [
        field.name
        for field in schema
        for _ in range(pictures(field.type) or int(kinds.get(field.name) in _DESCRIBED))
    ]
    if len(images) != 1 or not (_is_struct(kind := schema.field(images[0]).type) or is_binary(kind)):
        raise DataError(
            "A Parquet file must have one image column.",
            where=where,
            why=f"image columns: {', '.join(images) or 'none'}; all columns: {', '.join(schema.names)}",
            fix="keep one column with image bytes: what is not protected would be published as it is",
        )
    if labels and labels not in schema.names:
        fix = f"name one of {', '.join(schema.names)}"
        raise DataError(f"There is no column {labels!r}.", where=where, fix=fix)
    named = {name: features[name].get("names") for name, kind in kinds.items() if kind == "ClassLabel"}
    coded = {name: list(map(str, names)) for name, names in named.items() if isinstance(names, list)}
    label = labels or first_of(_LABEL_NAMES, schema.names) or (next(iter(coded)) if len(coded) == 1 else None)
    return Columns(images[0], label, first_of(TEXTS, schema.names), coded.get(label or "", []))


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Return the Hugging Face description of each column, as far as the schema has one."""
    try:
        described = foreign.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: value for name, value in described.items() if isinstance(value, dict)}
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}


def _is_struct(kind: pa.DataType) -> bool:
    at = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    return at >= 0 and is_binary(kind.field(at).type)


def _cells(handle: pq.ParquetFile, columns: Columns) -> Iterator[tuple[Any, Any]]:
    """Yield ``(label, text)`` of every row."""
    wanted = [columns.label, columns.text]
    for batch in handle.iter_batches(4096, columns=[name for name in wanted if name]):
        empty = [None] * batch.num_rows
        yield from zip(*(batch.column(name).to_pylist() if name else empty for name in wanted), strict=True)


def _name(label: Any, names: list[str]) -> str | None:
    if label is None or label == "" or (isinstance(label, int) and label < 0):
        return None  # -1 is Hugging Face's mark for "no label"
    if isinstance(label, int) and label < len(names):
        return names[label]
    return str(label)


def _split(file: str) -> str | None:
    heads = (re.split(r"[-_.]", part, maxsplit=1)[0] for part in file.lower().split("/"))
    return next((head for head in heads if head in SPLIT_NAMES), None)
