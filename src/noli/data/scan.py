"""The pre-flight scan: read, hash and check every item before any work starts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item, Ref, Source, content_id
from noli.core.errors import DataError
from noli.data.codec import inspect
from noli.data.picture import MAX_PIXELS, from_array

Known = Mapping[str, tuple[int, int, str]]
Content = bytes | npt.NDArray[Any]
_SHOWN = 20
_WINDOW = 32


class Advances(Protocol):
    """The part of a progress display that the scan uses."""

    def advance(self, n: int = 1) -> None:
        """Tell that ``n`` more items are done."""


@dataclass(frozen=True, slots=True)
class ScanRow:
    """What the scan found out about one item.

    Attributes:
        ref: Where it lies.
        item: The item, or None when it cannot be used.
        shape: ``(H, W, C)``, alpha not counted; None for bad items and for known, unread ones.
        bits: 8 or 16; 0 where ``shape`` is None.
        format: As in ``Picture.format``; empty where ``shape`` is None.
        has_gps: A position was found.
        error: Why it cannot be used, or None.
        reason: The error's class in one sentence, for counting.
        size: Size as the source reports it.
        mtime_ns: Modification time as the source reports it.
        bytes: Size of the item's own content; 0 where it was not read.
    """

    ref: Ref
    item: Item | None
    shape: tuple[int, int, int] | None = None
    bits: int = 0
    format: str = ""
    has_gps: bool = False
    error: str | None = None
    reason: str = ""
    size: int = 0
    mtime_ns: int = 0
    bytes: int = 0


def scan(
    source: Source,
    *,
    workers: int = 1,
    require_labels: bool = False,
    max_pixels: int = MAX_PIXELS,
    known: Known | None = None,
    progress: Advances | None = None,
) -> Iterator[ScanRow]:
    """Check every item of a source; nothing is written, nothing is raised for bad items.

    Pixels are decoded only where the container cannot prove that the file is complete, see `inspect`.

    Args:
        source: What to scan.
        workers: Threads; hashing, checksums and decoding release the interpreter lock.
        require_labels: Report items without a label as bad.
        max_pixels: Pictures with more pixels are bad.
        known: path -> ``(size, mtime_ns, sha256 or id)`` of items seen before; when size and time still
            agree (and the time is known), the item is taken as unchanged and not read.
        progress: Told after every item.

    Yields:
        One row per item, in source order.
    """
    job = _Job(source, require_labels, max_pixels, known or {})
    rows = map(job.row, source.refs()) if workers <= 1 else _threaded(job, workers)
    for row in rows:
        if progress is not None:
            progress.advance(1)
        yield row


def summarise(rows: Iterable[ScanRow], *, on_error: Literal["fail", "skip"]) -> Iterator[ScanRow]:
    """Pass all rows on and judge them at the end.

    Args:
        rows: From `scan`.
        on_error: ``fail`` raises when at least one item is bad; ``skip`` leaves that to the caller.

    Yields:
        Every row, good or bad.

    Raises:
        DataError: Bad items under ``fail`` (the first 20 are listed, with counts per reason), or no good
            item at all.
    """
    bad: list[ScanRow] = []
    counts: Counter[str] = Counter()
    good = 0
    for row in rows:
        if row.error is None:
            good += 1
        else:
            counts[row.reason] += 1
            if len(bad) < _SHOWN:
                bad.append(row)
        yield row
    if counts and (on_error == "fail" or not good):
        raise _verdict(bad, counts, good)
    if not good:
        raise DataError("The data set holds no items.", fix="give a folder or file with images")


def _verdict(bad: list[ScanRow], counts: Counter[str], good: int) -> DataError:
    total = sum(counts.values())
    listing = "; ".join(f"{row.ref.path}: {row.error}" for row in bad)
    more = f"; and {total - len(bad)} more" if total > len(bad) else ""
    return DataError(
        f"{total} of {total + good} items cannot be used.",
        where=listing + more,
        why="; ".join(f"{count} x {reason}" for reason, count in counts.most_common()),
        fix="repair or remove them" + (", or leave them out with --on-error skip" if good else ""),
        items=[row.ref.path for row in bad],
    )


@dataclass(frozen=True)
class _Job:
    source: Source
    require_labels: bool
    max_pixels: int
    known: Known

    def row(self, ref: Ref) -> ScanRow:
        found = self.fetch(ref)
        return found if isinstance(found, ScanRow) else self.check(*found)

    def fetch(self, ref: Ref) -> ScanRow | tuple[Ref, Content, int, int]:
        """Read an item; a row instead when it is bad or known."""
        size = moment = 0
        try:
            if self.require_labels and ref.label is None:
                fix = "put it into a class folder or give it a label"
                raise DataError("The item has no label.", fix=fix)
            size, moment = self.source.stat(ref)
            before = self.known.get(ref.path)
            if before is not None and moment and before[:2] == (size, moment):
                return ScanRow(ref, _item(ref, before[2], ""), size=size, mtime_ns=moment)
            return ref, self.source.read(ref), size, moment
        except DataError as error:
            return _bad(ref, error, size, moment)

    def check(self, ref: Ref, content: Content, size: int, moment: int) -> ScanRow:
        """Look into an item that was read."""
        try:
            if isinstance(content, np.ndarray):
                picture = from_array(content, where=ref.path)
                height, width, channels = picture.pixels.shape
                shape, bits, name, gps = (height, width, channels), picture.bits, "RAW", False
            else:
                name, shape, bits, gps = inspect(content, where=ref.path, max_pixels=self.max_pixels)
        except DataError as error:
            return _bad(ref, error, size, moment)
        item = _item(ref, *content_id(content))
        own = content.nbytes if isinstance(content, np.ndarray) else len(content)
        return ScanRow(ref, item, shape, bits, name, gps, size=size, mtime_ns=moment, bytes=own)


def _item(ref: Ref, identity: str, digest: str) -> Item:
    full = digest or (identity if len(identity) == 64 else "")
    return Item(identity[:20], ref.path, ref.label, ref.split, ref.text, full)


def _bad(ref: Ref, error: DataError, size: int, moment: int) -> ScanRow:
    text = f"{error.what} ({error.why})" if error.why else error.what
    return ScanRow(ref, None, error=text, reason=error.what, size=size, mtime_ns=moment)


def _threaded(job: _Job, workers: int) -> Iterator[ScanRow]:
    """Keep a bounded window of items in flight and yield them in order."""
    # Array and Parquet sources keep a cursor, so only their checks leave this thread.
    alone = job.source.layout in ("npz", "parquet")
    with ThreadPoolExecutor(workers, "noli-scan") as pool:
        waiting: deque[Future[ScanRow] | ScanRow] = deque()
        for ref in job.source.refs():
            found = job.fetch(ref) if alone else None
            if isinstance(found, ScanRow):
                waiting.append(found)
            else:
                waiting.append(pool.submit(job.check, *found) if found else pool.submit(job.row, ref))
            if len(waiting) >= _WINDOW:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _result(entry: Future[ScanRow] | ScanRow) -> ScanRow:
    return entry if isinstance(entry, ScanRow) else entry.result()
