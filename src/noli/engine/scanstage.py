"""The first stage: find out what is there, what is new, and write it down item by item."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noli.core.dataset import Item, Ref, Source
from noli.core.errors import DataError, OutputExists
from noli.core.files import storage_error
from noli.core.method import DataSummary, Study
from noli.core.run import Record, Run, dump_line, read_lines
from noli.data.scan import ScanRow, scan, summarise
from noli.data.writers import Writer
from noli.engine.catalog import Catalog
from noli.engine.request import RunRequest

SHARD_PIXELS = 1 << 24
_LONGEST_NAME = 255  # of most file systems
_SHAPES = 64
_COUNTED_SHAPES = 4096
_LISTED = 1000
_VERSIONS = "two differently protected versions of one picture help an attacker"
_TWO_LABELS = f"the same picture under two labels: {_VERSIONS}"


@dataclass
class Totals:
    """What a data set consists of; bounded in size however many items there are."""

    items: int = 0
    failed: int = 0
    bytes: int = 0
    pixels: int = 0
    largest: int = 0
    with_gps: int = 0
    per_class: Counter[str] = field(default_factory=Counter)
    shapes: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one index row."""
        if "error" in row:
            self.failed += 1
            return
        height, width, channels = row["shape"]
        self.items += 1
        self.bytes += row.get("bytes", row["size"])
        self.pixels += height * width
        self.largest = max(self.largest, height * width)
        self.with_gps += "gps" in row
        self.formats[row["format"]] += 1
        if row["label"] is not None:
            self.per_class[row["label"]] += 1
        shape = (height, width, channels)
        # A set in which every image has its own size must not make this table grow without bound.
        if shape in self.shapes or len(self.shapes) < _COUNTED_SHAPES:
            self.shapes[shape] += 1

    def summary(self, uri: str, study: Study | None = None) -> DataSummary:
        """Return what a method's `prepare` gets."""
        shapes = dict(self.shapes.most_common(_SHAPES))
        return DataSummary(self.items, tuple(sorted(self.per_class)), shapes, uri, study)


class Noted:
    """What is not as the run left it, by kind: how many items, and the names of at most 1,000."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Count one item."""
        self.counts[kind] += 1
        names = self.names.setdefault(kind, [])
        if len(names) < _LISTED:
            names.append(name)


def find_new(
    request: RunRequest,
    source: Source,
    writer: Writer,
    catalog: Catalog,
    totals: Totals,
    target: Path,
    *,
    guard: bool,
) -> tuple[int, Noted]:
    """Scan the source and write the rows that the catalog does not know to `target`.

    With `guard`, new items whose place in the output is taken by something the run did not write are refused.

    Returns:
        The number of new rows, and what is no longer in the source.

    Raises:
        DataError: Broken items under ``on_error="fail"``, items whose content or label changed since they
            were processed, or no usable item at all (raised by the scan).
        OutputExists: Foreign files lie where new items are to go.
        RunError: The run folder cannot be written.
    """
    noted, count = Noted(), 0
    request.progress.start(None, "scan")
    try:
        with target.open("wb") as handle:
            for row in _new_rows(request, source, writer, catalog, noted):
                totals.add(row)
                count += 1
                if guard and "out" in row and writer.foreign(row["out"]):
                    noted.add("foreign", row["out"])
                handle.write(dump_line(row))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as exc:
        raise storage_error(exc, str(target)) from exc
    finally:
        request.progress.finish()
    _refuse(noted)
    for path in catalog.unseen():
        noted.add("removed_from_source", path)
    for out in catalog.unused():
        noted.add("protected_missing", out)
    return count, noted


def good_rows(request: RunRequest, source: Source, totals: Totals) -> Iterator[Record]:
    """Scan a source as a run would, without writing: count all items, yield the rows of usable ones.

    Raises:
        DataError: As :func:`find_new`.
    """
    request.progress.start(None, "scan")
    try:
        with closing(Catalog()) as catalog:  # finds pictures that are there under two labels
            for found in scan_rows(request, source, catalog):
                row = make_row(found)
                totals.add(row)
                if "error" not in row:
                    yield row
    finally:
        request.progress.finish()


def scan_rows(request: RunRequest, source: Source, known: Catalog) -> Iterator[ScanRow]:
    """Scan under the request's rules; the end raises when an item is bad and the policy is ``fail``."""
    rows = scan(
        source,
        workers=request.workers,
        # An undo takes the labels from the records.
        require_labels="labels" in request.spec.needs and request.undo_of is None,
        known=known.content,
        progress=request.progress.advance,
    )
    return summarise(_usable(rows, request, known), on_error=request.on_error)


def _usable(rows: Iterable[ScanRow], request: RunRequest, known: Catalog) -> Iterator[ScanRow]:
    """Turn items that this method cannot take into bad ones."""
    needs, undo = request.spec.needs, request.undo_of is not None
    for row in rows:
        path, item = row.ref.path, row.item
        if undo and row.reason == "The file is missing.":
            continue  # what is gone from the protected data cannot be restored, only listed
        if item is None:
            yield row
        elif undo and known.made(path, item.sha256) is None:
            yield _refused(row, "it was not made by the run that is being undone")
        elif "color" in needs and row.shape is not None and row.shape[2] == 1:
            yield _refused(row, f"{request.spec.name} needs colour images, this one is grey")
        elif undo or "labels" not in needs or item.label is None or known.content(path):
            yield row
        else:
            label, first = known.claim(item.id, item.label, path)
            why = f"the same picture as {first}, but labelled {item.label!r} instead of {label!r}"
            yield row if label == item.label else _refused(row, f"{why}; {_VERSIONS}", _TWO_LABELS)


def _refused(row: ScanRow, why: str, reason: str = "") -> ScanRow:
    """Return the row as a bad item."""
    return ScanRow(row.ref, None, error=why, reason=reason or why, size=row.size, mtime_ns=row.mtime_ns)


def _new_rows(
    request: RunRequest, source: Source, writer: Writer, catalog: Catalog, noted: Noted
) -> Iterator[Record]:
    for row in scan_rows(request, source, catalog):
        found, item = catalog.see(row.ref.path), row.item
        if item is None:
            if found is None:
                yield make_row(row)
        elif found is None or found.failed:  # new, or broken last time and repaired since
            line = make_row(row)
            line["out"] = writer.target(row.ref, row.format, channels=line["shape"][2])
            if len(line["out"].rpartition("/")[2].encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
                yield _unnameable(request, row, line["out"])
                continue
            if request.undo_of is not None and (record := catalog.made(row.ref.path, item.sha256)):
                kept = ("path", "id", "label", "split", "index", "shape", "sha256_in", "sha256_out", "extra")
                line["made"] = {name: record[name] for name in kept if name in record}
            yield line
        elif (found.sha256, found.label) != (item.sha256, item.label):
            noted.add("changed", row.ref.path)


def _unnameable(request: RunRequest, row: ScanRow, out: str) -> Record:
    what, why = "The name in the output would be too long.", f"{out} has more than {_LONGEST_NAME} bytes"
    if request.on_error == "fail":
        raise DataError(what, where=row.ref.path, why=why, fix="rename the item", items=[row.ref.path])
    return make_row(_refused(row, why, what))


def make_row(row: ScanRow) -> Record:
    """Return the index row of an item, a good one not yet with its name in the output."""
    ref, item = row.ref, row.item
    line = {
        "path": ref.path,
        "index": ref.index,
        "label": ref.label,
        "size": row.size,
        "mtime_ns": row.mtime_ns,
    }
    if item is None:
        return {**line, "error": row.error or "unusable"}
    line |= {
        "split": item.split,
        "text": item.text,
        "id": item.id,
        "sha256": item.sha256,
        "shape": list(row.shape or (0, 0, 0)),
        "bits": row.bits,
        "format": row.format,
        "out": ref.path,
    }
    if row.bytes and row.bytes != row.size:  # a row of a table: `size` is that of the whole file
        line["bytes"] = row.bytes
    if row.has_gps:
        line["gps"] = True
    return line


def row_ref(row: Record) -> Ref:
    """Return the reference of an index row or record."""
    return Ref(row["path"], row.get("label"), row.get("split"), row.get("text"), row.get("index", 0))


def row_item(row: Record) -> Item:
    """Return what a method is told about an item; for an undo that is the original item."""
    made = row.get("made", row)
    sha256 = made.get("sha256_in", made.get("sha256", ""))
    return Item(made["id"], made["path"], made.get("label"), made.get("split"), row.get("text"), sha256)


def _refuse(noted: Noted) -> None:
    if changed := noted.names.get("changed"):
        raise DataError(
            f"{noted.counts['changed']} item(s) changed since they were processed.",
            where=changed[0],
            why="the content or the label is not the one the run recorded",
            fix="put the old versions back, or write into a new output folder",
            items=changed,
        )
    if foreign := noted.names.get("foreign"):
        raise OutputExists(
            f"{noted.counts['foreign']} file(s) in the output were not made by this run.",
            where=foreign[0],
            why="new items would be written over them",
            fix="move them away, or write into a new output folder; nothing is overwritten",
            items=foreign,
        )


def cut_shards(
    rows: Iterable[Record], size: int, pixels: int, first: int = 0
) -> Iterator[tuple[int, list[Record]]]:
    """Cut rows into numbered shards of at most `size` items and `pixels` pixels.

    A single larger image gets a shard of its own. The cut depends on the rows only, so that a resumed run
    makes the same shards.
    """
    shard: list[Record] = []
    load = 0
    for row in rows:
        height, width, _ = row.get("shape") or (0, 0, 0)
        if shard and (len(shard) >= size or load + height * width > pixels):
            yield first, shard
            first, shard, load = first + 1, [], 0
        shard.append(row)
        load += height * width
    if shard:
        yield first, shard


def all_shards(run: Run) -> Iterator[tuple[int, list[Record]]]:
    """Iterate over the shards of a run, one of them in memory at a time."""
    manifest = run.manifest
    for generation in manifest.generations:
        rows = read_lines(run.artifact(generation.index))
        yield from cut_shards(rows, manifest.shard_size, manifest.shard_pixels, generation.first_shard)
