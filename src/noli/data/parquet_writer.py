"""Write Parquet files: same names, columns, schema and metadata; image bytes replaced batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from noli.core.dataset import Ref
from noli.data.assembled import AssembledWriter
from noli.data.companions import Companions
from noli.data.formats import HEAD_BYTES, SUFFIXES, magic, suffix_of
from noli.data.parquet import BATCH, ParquetSource, Shape
from noli.data.parts import RowIndex
from noli.data.place import Place


class ParquetWriter(AssembledWriter):
    """One Parquet file or a folder of them.

    Args:
        place: Output folder, or output file for a single-file source.
        source: What is written.
        work: Private folder for parts and the ledger.
    """

    def __init__(self, place: Place, source: ParquetSource, work: Path) -> None:
        super().__init__(place, work)
        self.source = source
        self._companions = Companions(work)
        self._single = source.files == ("",) and place.root.lower().endswith(".parquet")
        self._done: tuple[str, int, ParquetSource] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_done": None}

    def finalise(self) -> None:
        """Assemble the files that got new rows and copy the companions.

        Raises:
            RunError: The disk refused.
        """
        if self._parts.indexes():
            tables = {self.source.shown(file): file for file in self.source.files}
            counts = {}
            for table, file in tables.items():
                with self.source.open(file) as handle:
                    counts[table] = handle.metadata.num_rows
            for table, index in self._indexes(counts).items():
                if (index.shard >= 0).any() or not self.place.exists(self._file(table)):
                    self._write_file(table, tables[table], index)
            self._parts.clear()
        self._companions.copy(self.source.place, self.place, self.source.companions())

    def kept(self) -> Sequence[str]:
        """Return the companions left alone because they were changed in the output."""
        return self._companions.kept

    def _write_file(self, table: str, file: str, index: RowIndex) -> None:
        name = self._file(table)
        shape = self.source.shape_of(file)
        with self.source.open(file) as reader, self.place.create(name) as handle:
            schema = reader.schema_arrow
            with pq.ParquetWriter(handle, schema, compression=_compression(reader)) as writer:
                for batch in self._batches(table, reader, shape, index):
                    writer.write_batch(batch)
            size = handle.tell()
            self._ledger.note(table, size, index.ranges)
        self._ledger.settle(table, size)

    def _batches(
        self, table: str, reader: pq.ParquetFile, shape: Shape, index: RowIndex
    ) -> Iterator[pa.RecordBatch]:
        present, start = index.present, 0
        for batch in reader.iter_batches(BATCH):
            kept = present[start : start + batch.num_rows]
            rows = start + np.flatnonzero(kept)
            start += batch.num_rows
            if len(rows):
                images = [self._row(table, index, int(row)) for row in rows]
                if len(rows) < batch.num_rows:
                    batch = batch.filter(pa.array(kept))
                at = batch.schema.get_field_index(shape.image)
                column = _replaced(batch.column(at), batch.schema.field(at).type, images)
                yield batch.set_column(at, batch.schema.field(at), column)

    def _shown(self, table: str) -> str:
        return self.place.root.rpartition("/")[2] if self._single else table

    def _table(self, out_path: str) -> str:
        return self.source.shown("") if self._single else out_path.rpartition("#")[0]

    def _file(self, table: str) -> str:
        return "" if self._single else table

    def _content(self, out_path: str, raw: bytes) -> bytes:
        return raw

    def _finished(self, table: str, rank: int) -> bytes:
        name = self._file(table)
        size, _ = self.place.stat(name)
        if self._done is None or self._done[:2] != (name, size):
            self._done = (name, size, ParquetSource(Place(self.place.uri), (name,)))
        done = self._done[2]
        return done.read(Ref(f"{done.shown(name)}#{rank}"))


def _replaced(column: pa.Array, kind: pa.DataType, images: list[bytes]) -> pa.Array:
    """Return an image column of the same type with other bytes and matching path suffixes."""
    if not pa.types.is_struct(kind):
        return pa.array(images, kind)
    children = column.flatten()
    for i, field in enumerate(kind):
        if field.name == "bytes":
            children[i] = pa.array(images, field.type)
        elif field.name == "path":
            paths = zip(children[i].to_pylist(), images, strict=True)
            children[i] = pa.array([_renamed(path, data) for path, data in paths], field.type)
    return pa.StructArray.from_arrays(children, fields=list(kind))


def _renamed(path: str | None, data: bytes) -> str | None:
    suffixes = SUFFIXES.get(magic(data[:HEAD_BYTES]) or "", ())
    if not path or not suffixes or suffix_of(path) in suffixes or not PurePosixPath(path).name:
        return path
    return str(PurePosixPath(path).with_suffix(suffixes[0]))


def _compression(reader: pq.ParquetFile) -> str:
    if not reader.num_row_groups or not reader.metadata.row_group(0).num_columns:
        return "snappy"
    name = str(reader.metadata.row_group(0).column(0).compression).lower()
    return "none" if name == "uncompressed" else name
