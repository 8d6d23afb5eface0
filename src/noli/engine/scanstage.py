"""The first stage: find out what is there, what is new, and write it down item by item."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noli.core.dataset import Item, Ref, Source
from noli.core.errors import DataError, OutputExists
from noli.core.files import TEMP_SUFFIX, remove_quietly, storage_error
from noli.core.manifest import Generation
from noli.core.method import DataSummary
from noli.core.run import Record, Run, dump_line, read_lines
from noli.data.scan import ScanRow, scan, summarise
from noli.data.writers import Writer
from noli.engine.catalog import Catalog
from noli.engine.request import RunRequest

_SHAPES = 64
_COUNTED_SHAPES = 4096
_LISTED = 1000
_TWO_VERSIONS = "two differently protected versions of one picture help an attacker"


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
        self.items += 1
        self.bytes += row.get("bytes", row["size"])
        height, width, channels = row["shape"]
        self.pixels += height * width
        self.largest = max(self.largest, height * width)
        self.with_gps += bool(row.get("gps"))
        self.formats[row["format"]] += 1
        if row["label"] is not None:
            self.per_class[row["label"]] += 1
        shape = (height, width, channels)
        # A set in which every image has its own size must not make this table grow without bound.
        if shape in self.shapes or len(self.shapes) < _COUNTED_SHAPES:
            self.shapes[shape] += 1

    def summary(self, uri: str) -> DataSummary:
        """Return what a method's `prepare` gets."""
        return DataSummary(
            items=self.items,
            classes=tuple(sorted(self.per_class)),
            shapes=dict(self.shapes.most_common(_SHAPES)),
            uri=uri,
        )


@dataclass
class Changes:
    """How the source differs from what the run knows. Lists hold at most 1,000 names."""

    new: int = 0
    new_good: int = 0
    changed: list[str] = field(default_factory=list)
    changed_total: int = 0
    removed: list[str] = field(default_factory=list)
    removed_total: int = 0
    foreign: list[str] = field(default_factory=list)
    foreign_total: int = 0


def index_rows(run: Run, totals: Totals | None = None) -> Iterator[Record]:
    """Iterate over all items that entered the run, generation by generation."""
    for generation in run.manifest.generations:
        for row in read_lines(run.path / "artifacts" / generation.index):
            if totals is not None:
                totals.add(row)
            yield row


def find_new(
    request: RunRequest,
    source: Source,
    writer: Writer,
    catalog: Catalog,
    totals: Totals,
    target: Path,
    *,
    guard: bool = False,
) -> Changes:
    """Scan the source and write the rows that the catalog does not know to `target`.

    The file appears whole or not at all (not even empty when nothing is new). With `guard`, new items whose
    place in the output is taken by something that the run did not write are refused.

    Raises:
        DataError: Broken items under ``on_error="fail"``, items whose content or label changed since they
            were processed, or no usable item at all (raised by the scan).
        OutputExists: Foreign files lie where new items are to go.
        RunError: The run folder cannot be written.
    """
    changes = Changes()
    temp = target.with_name(f".{target.name}{TEMP_SUFFIX}")
    request.progress.start(None, "scan")
    try:
        with temp.open("wb") as handle:
            for row in _new_rows(request, source, writer, catalog, changes):
                totals.add(row)
                if guard and "out" in row and writer.foreign(row["out"]):
                    changes.foreign_total += 1
                    if len(changes.foreign) < _LISTED:
                        changes.foreign.append(row["out"])
                changes.new += 1
                changes.new_good += "error" not in row
                handle.write(dump_line(row))
            handle.flush()
            os.fsync(handle.fileno())
        for path in catalog.unseen(source):
            changes.removed_total += 1
            if len(changes.removed) < _LISTED:
                changes.removed.append(path)
        _refuse_changes(changes)
        _refuse_foreign(changes)
        if changes.new:
            temp.replace(target)
    except OSError as exc:
        raise storage_error(exc, str(target)) from exc
    finally:
        request.progress.finish()
        remove_quietly(temp)
    return changes


def scan_rows(request: RunRequest, source: Source, known: Catalog | None) -> Iterator[ScanRow]:
    """Scan under the request's rules; the end raises when an item is bad and the policy is ``fail``."""
    rows = scan(
        source,
        workers=request.workers,
        # An undo takes the labels from the records.
        require_labels="labels" in request.spec.needs and request.direction == "apply",
        max_pixels=request.max_pixels,
        known=known,
        progress=request.progress.advance,
    )
    if request.direction == "invert":  # what is gone from the protected data cannot be restored, only listed
        rows = (row for row in rows if row.reason != "The file is missing.")
    return summarise(_with_needs(rows, request, known), on_error=request.on_error)


def _new_rows(
    request: RunRequest, source: Source, writer: Writer, catalog: Catalog, changes: Changes
) -> Iterator[Record]:
    for row in scan_rows(request, source, catalog):
        found, item = catalog.see(row.ref.path), row.item
        if item is None:
            if found is None:
                yield bad_row(row)
        elif found is None or found.failed:  # new, or broken last time and repaired since
            yield make_row(row, item, writer, _made(request, catalog, row.ref, item))
        elif (found.sha256, found.label) != (item.sha256, item.label):
            changes.changed_total += 1
            if len(changes.changed) < _LISTED:
                changes.changed.append(row.ref.path)


def bad_row(row: ScanRow) -> Record:
    """Return the index row of an item that is left out."""
    return {
        "path": row.ref.path,
        "index": row.ref.index,
        "label": row.ref.label,
        "size": row.size,
        "mtime_ns": row.mtime_ns,
        "error": row.error or "unusable",
    }


def make_row(row: ScanRow, item: Item, writer: Writer | None, made: Record | None) -> Record:
    """Return the index row of a good item: all that a worker needs to know about it."""
    shape = row.shape or (0, 0, 0)
    out = row.ref.path
    if writer is not None:
        out = writer.target(row.ref, row.format, channels=shape[2], bits=row.bits)
    line = {
        "path": row.ref.path,
        "index": row.ref.index,
        "label": item.label,
        "split": item.split,
        "text": item.text,
        "id": item.id,
        "sha256": item.sha256,
        "size": row.size,
        "mtime_ns": row.mtime_ns,
        "shape": list(shape),
        "bits": row.bits,
        "format": row.format,
        "out": out,
    }
    if row.bytes and row.bytes != row.size:  # a row of a table: `size` is that of the whole file
        line["bytes"] = row.bytes
    if row.has_gps:
        line["gps"] = True
    if made is not None:
        line["made"] = made
    return line


def row_ref(row: Record) -> Ref:
    """Return the reference of an index row."""
    return Ref(row["path"], row.get("label"), row.get("split"), row.get("text"), row["index"])


def row_item(row: Record) -> Item:
    """Return what a method is told about an item; for an undo that is the original item."""
    made = row.get("made", row)
    sha256 = made.get("sha256_in", made.get("sha256", ""))
    return Item(
        id=made["id"],
        path=made["path"],
        label=made.get("label"),
        split=made.get("split"),
        text=row.get("text"),
        sha256=sha256,
    )


def _made(request: RunRequest, catalog: Catalog, ref: Ref, item: Item) -> Record | None:
    if request.direction == "apply":
        return None
    record = catalog.made(ref.path, item.sha256)
    if record is None:
        raise DataError("An item was not made by the run that is being undone.", where=ref.path)
    kept = ("path", "id", "label", "split", "index", "sha256_in", "sha256_out", "extra")
    return {name: record[name] for name in kept if name in record}


def _with_needs(rows: Iterable[ScanRow], request: RunRequest, known: Catalog | None) -> Iterator[ScanRow]:
    for row in rows:
        if row.item is not None and _foreign(row.ref, row.item, request, known):
            yield _refused(row, "it was not made by the run that is being undone")
        elif "color" in request.spec.needs and row.shape is not None and row.shape[2] == 1:
            yield _refused(row, f"{request.spec.name} needs colour images, this one is grey")
        elif clash := _other_label(row, request, known):
            yield _refused(row, clash, "the same picture under two labels: " + _TWO_VERSIONS)
        else:
            yield row


def _other_label(row: ScanRow, request: RunRequest, known: Catalog | None) -> str:
    """Tell that a new item is a picture which is already there under another label."""
    item = row.item
    if item is None or item.label is None or known is None or "labels" not in request.spec.needs:
        return ""
    if request.direction != "apply" or not known.enters(row.ref.path):
        return ""
    label, path = known.claim(item.id, item.label, row.ref.path)
    if label == item.label:
        return ""
    return f"the same picture as {path}, but labelled {item.label!r} instead of {label!r}; {_TWO_VERSIONS}"


def _foreign(ref: Ref, item: Item, request: RunRequest, known: Catalog | None) -> bool:
    if request.direction == "apply" or known is None:
        return False
    return known.made(ref.path, item.sha256) is None


def _refused(row: ScanRow, why: str, reason: str = "") -> ScanRow:
    """Return the row as a bad item."""
    return ScanRow(row.ref, None, error=why, reason=reason or why, size=row.size, mtime_ns=row.mtime_ns)


def _refuse_changes(changes: Changes) -> None:
    if changes.changed:
        raise DataError(
            f"{changes.changed_total} item(s) changed since they were processed.",
            where=changes.changed[0],
            why="the content or the label is not the one the run recorded",
            fix="put the old versions back, or write into a new output folder",
            items=changes.changed,
        )


def _refuse_foreign(changes: Changes) -> None:
    if changes.foreign:
        raise OutputExists(
            f"{changes.foreign_total} file(s) in the output were not made by this run.",
            where=changes.foreign[0],
            why="new items would be written over them",
            fix="move them away, or write into a new output folder; nothing is overwritten",
            items=changes.foreign,
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


def count_shards(file: Path, size: int, pixels: int) -> tuple[int, int]:
    """Return ``(shards, items)`` of an index file."""
    shards = items = 0
    for _, rows in cut_shards(read_lines(file), size, pixels):
        shards += 1
        items += len(rows)
    return shards, items


def all_shards(run: Run, generations: Iterable[Generation]) -> Iterator[tuple[int, list[Record]]]:
    """Iterate over the shards of some generations, one shard in memory at a time."""
    manifest = run.manifest
    for generation in generations:
        rows = read_lines(run.path / "artifacts" / generation.index)
        yield from cut_shards(rows, manifest.shard_size, manifest.shard_pixels, generation.first_shard)
