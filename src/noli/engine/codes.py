"""The runner of the data -> codes arrow: scan, encode shard by shard into safetensors, resume.

The output is a folder that may be published: shards ``codes-00000.safetensors`` with arrays ``codes`` (and
``labels``), and ``codes.json``, which says what they are. Names of pictures stand in the run folder only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from noli.core.dataset import Source, content_id
from noli.core.errors import DataError
from noli.core.files import atomic_write
from noli.core.method import Coder, CodesMethod
from noli.core.run import Run
from noli.data.codec import upright
from noli.data.scan import ScanRow, scan, summarise
from noli.data.sources import open_source
from noli.data.study import square
from noli.engine.locking import RESUME, LockRequest, created, finish, same_pictures, whole, worked
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, load_method

SHARD_BYTES = 64 << 20
SUMMARY = "codes.json"
_SHARD = "codes-{:05d}.safetensors"
_KEPT = 256  # pictures in memory, for methods that mix them


class StoredPictures:
    """Pictures of a source, squeezed when they are asked for; see :class:`noli.core.method.Pictures`."""

    public: StoredPictures | None = None

    def __init__(self, source: Source, rows: Sequence[ScanRow], side: int) -> None:
        self.source, self.rows, self.side = source, rows, side
        self.items = [row.item for row in rows if row.item is not None]
        shapes = [row.shape or (0, 0, 3) for row in rows]
        self.channels = max((shape[2] for shape in shapes), default=3)
        names = {item.label for item in self.items}
        whole = bool(names) and None not in names
        self.classes = tuple(sorted(str(name) for name in names)) if whole else ()
        places = {name: place for place, name in enumerate(self.classes)}
        self.labels = np.array([places[str(item.label)] for item in self.items], np.int64) if whole else None
        self._read = lru_cache(_KEPT)(self._fresh)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]:
        return self._read(number)

    def _fresh(self, number: int) -> npt.NDArray[np.uint8]:
        row, item = self.rows[number], self.items[number]
        content = self.source.read(row.ref)
        if content_id(content)[1] != item.sha256:
            fix = "leave the input alone while a run works on it; the same command resumes"
            raise DataError("An item changed after the scan.", where=row.ref.path, fix=fix)
        return square(upright(content, row.ref.path), self.side, self.channels)


def encode_data(request: LockRequest) -> Run:
    """Encode a data set, or finish what an earlier call began; the same call gives the same bytes.

    Raises:
        UsageError: The run was begun with other arguments, or the method refuses.
        DataError: Items that cannot be used, or that are not those the run was begun with.
        OutputExists: Something else lies at the output.
        RunError: Disk full, place not writable.
        Interrupted: Ctrl-C; the same call resumes.
    """

    def work(run: Run | None) -> Run:
        pictures = scanned(request, labelled="labels" in request.spec.needs)
        method: CodesMethod = load_method(request.spec.module)  # type: ignore[assignment]
        coder = method.coder(pictures, request.key, request.cfg)
        run = run or created(request, "codes")
        others = pictures.public.items if pictures.public is not None else []
        same_pictures(run, [*pictures.items, *others], request.source)
        if not whole(run, Path(request.output)):
            with run.recording_failures(RESUME):
                _finish(run, request, pictures, coder)
        return run

    return worked(request, work)


def scanned(request: LockRequest, *, labelled: bool) -> StoredPictures:
    """Return the pictures of a request; its Config has their ``side``, and may name public ones.

    Raises:
        DataError: Bad items, as ``on_error`` says, or none; with `labelled`, items without a class; public
            pictures in colour beside grey ones.
    """
    found = _scanned(request, request.source, request.labels, labelled=labelled)
    if place := getattr(request.cfg, "public", None):
        found.public = _scanned(request, place, None, labelled=False)
        if found.public.channels > found.channels:
            fix = "give public pictures in grey, or pictures in colour"
            raise DataError(
                "The public pictures have colours, and the others have none.", where=place, fix=fix
            )
        found.public.channels = found.channels
    return found


def _scanned(request: LockRequest, place: str, labels: str | None, *, labelled: bool) -> StoredPictures:
    return stored_pictures(
        place,
        int(request.cfg.side),
        labels=labels,
        labelled=labelled,
        on_error=request.on_error,
        bar=request.progress,
    )


def stored_pictures(
    place: str,
    side: int,
    *,
    labels: str | None = None,
    labelled: bool = False,
    on_error: ErrorPolicy = "fail",
    bar: Progress,
) -> StoredPictures:
    """Return the pictures of a place; see :func:`scanned`."""
    source = open_source(place, labels=labels)
    bar.start(None, "scan")
    found = scan(source, require_labels=labelled, progress=bar.advance)
    rows = [row for row in summarise(found, on_error=on_error) if row.item is not None]
    bar.finish()
    return StoredPictures(source, rows, side)


def shards(count: int, shape: tuple[int, ...]) -> Iterator[range]:
    """Cut pictures into shards of at most 64 MiB of codes, one picture at least."""
    size = max(1, SHARD_BYTES // max(1, 2 * math.prod(shape)))
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _finish(run: Run, request: LockRequest, pictures: StoredPictures, coder: Coder) -> None:
    place = Path(request.output)
    listed: list[dict[str, Any]] = []
    request.progress.start(len(pictures), "encode")
    for index, numbers in enumerate(shards(len(pictures), coder.shape)):
        file = place / _SHARD.format(index)
        record = run.shard_record(index)
        if not (record.exists() and file.exists()):
            content = safetensors.numpy.save(coder(pictures, numbers), {"noli": request.spec.name})
            atomic_write(file, content)
            items = (pictures.items[n] for n in numbers)
            run.write_shard_record(index, ({"path": one.path, "sha256_in": one.sha256} for one in items))
        content = file.read_bytes()
        listed.append(
            {"file": file.name, "items": len(numbers), "sha256": hashlib.sha256(content).hexdigest()}
        )
        request.progress.advance(len(numbers))
    request.progress.finish()
    summary = {
        "format": "noli-codes",
        "version": 1,
        "method": request.spec.name,
        "title": request.spec.card.title,
        "shape": list(coder.shape),
        "classes": list(pictures.classes),
        "key": request.key.id,
        "shards": listed,
    }
    atomic_write(place / SUMMARY, json.dumps(summary, indent=1).encode() + b"\n")
    size = sum((place / one["file"]).stat().st_size for one in listed)
    told = {"items": len(pictures), "shards": len(listed), "bytes": size, "shape": list(coder.shape)}
    finish(run, place, told)
