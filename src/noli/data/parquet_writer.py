"""Write Parquet files: same names, columns, schema and metadata; image bytes replaced batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from noli.data.assembled import AssembledWriter
from noli.data.formats import HEAD_BYTES, SUFFIXES, magic, suffix_of
from noli.data.parquet import BATCH, ParquetSource
from noli.data.place import Place


class ParquetWriter(AssembledWriter):
    """One Parquet file or a folder of them.

    Args:
        place: Output folder, or output file for a single-file source.
        strip: Leave out XMP files and positions beside the files.
    """

    def __init__(self, place: Place, source: ParquetSource, work: Path, *, strip: bool = False) -> None:
        names = {file: file for file in source.files}
        if source.single and place.root.lower().endswith(".parquet"):
            place, name = place.split()
            names = {source.files[0]: name}
        super().__init__(place, work, names)
        self.source = source
        self.strip = strip

    def finalise(self, done: Iterable[tuple[str, str]]) -> list[str]:
        """Assemble the files that got new rows and copy the companions."""
        super().finalise(done)
        return self.place.copy_missing(self.source.place, self.source.companions(strip=self.strip))

    def _file(self, table: str) -> str:
        return self._names.get(table, table)

    def _counts(self) -> dict[str, int]:
        counts = {}
        for file in self.source.files:
            with self.source.open(file) as handle:
                counts[file] = handle.metadata.num_rows
        return counts

    def _assemble(self) -> None:
        for file, name in self._names.items():
            if (self._index()[file].shard < 0).all() and self.place.exists(name):
                continue
            with self.source.open(file) as reader, self._create(name, [file]) as handle:
                compression = _compression(reader)
                with pq.ParquetWriter(handle, reader.schema_arrow, compression=compression) as writer:
                    for batch in self._batches(file, reader):
                        writer.write_batch(batch)

    def _batches(self, file: str, reader: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        image = self.source.columns(file).image
        present, contents, start = self._index()[file].present, self._contents(file), 0
        for batch in reader.iter_batches(BATCH):
            kept = present[start : start + batch.num_rows]
            start += batch.num_rows
            if kept.any():
                batch = batch.filter(pa.array(kept))
                at = batch.schema.get_field_index(image)
                images = list(islice(contents, batch.num_rows))
                column = _replaced(batch.column(at), images)
                yield batch.set_column(at, batch.schema.field(at), column)

    def _reopen(self, name: str) -> ParquetSource:
        return ParquetSource(self.place, [name])


def _replaced(column: pa.Array, images: list[bytes]) -> pa.Array:
    """Return an image column of the same type with other bytes and matching path suffixes."""
    kind = column.type
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
