"""The pre-flight scan: read, hash and check every item before any work starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from noli.core.dataset import HOW_TO_LABEL, ID_LENGTH, Content, Item, Ref, Source, content_id
from noli.core.errors import DataError
from noli.core.interrupts import in_order
from noli.data.codec import inspect
from noli.data.picture import from_array

Seen = tuple[int, int, str]
Fetched = tuple[Content, int, int]
_UNLABELLED = "The item has no label."
_SHOWN, _TOLD = 20, 3
_WINDOW = 32


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
        size, mtime_ns: Size and modification time as the source reports them.
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
    known: Callable[[str], Seen | None] = lambda path: None,
    progress: Callable[[int], object] = int,
) -> Iterator[ScanRow]:
    """Check every item of a source; nothing is written, nothing is raised for bad items.

    Pixels are decoded only where the container cannot prove that the file is complete, see `inspect`.

    Args:
        source: What to scan.
        workers: Threads; hashing, checksums and decoding release the interpreter lock.
        require_labels: Report items without a label as bad.
        known: Returns ``(size, mtime_ns, sha256)`` of a path seen before; when size and time still agree (and
            the time is known), the item is taken as unchanged and not read. Called in the threads.
        progress: Called with 1 after every item.

    Yields:
        One row per item, in source order.
    """

    def row(ref: Ref, found: ScanRow | Fetched | None = None) -> ScanRow:
        found = found or fetch(ref)
        return found if isinstance(found, ScanRow) else _check(ref, *found)

    def fetch(ref: Ref) -> ScanRow | Fetched:
        return _fetch(source, ref, require_labels, known(ref.path))

    def threaded() -> Iterator[ScanRow]:
        # Array and Parquet sources keep a cursor: only their checks leave this thread.
        alone = source.layout in ("npz", "parquet")
        checks = (partial(row, ref, fetch(ref) if alone else None) for ref in source.refs())
        with ThreadPoolExecutor(workers, "noli-scan") as pool:
            yield from in_order(pool, checks, _WINDOW)

    for found in threaded() if workers > 1 else map(row, source.refs()):
        progress(1)
        yield found


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
            bad += [row] if len(bad) < _SHOWN else []
        yield row
    if counts and (on_error == "fail" or not good):
        raise _verdict(bad, counts, good)
    if not good:
        raise DataError("The data set holds no items.", fix="give a folder or file with images")


def _verdict(bad: list[ScanRow], counts: Counter[str], good: int) -> DataError:
    total = counts.total()
    listing = "; ".join(f"{row.ref.path}: {row.error}" for row in bad[:_TOLD])
    more = f"; and {total - _TOLD} more" if total > _TOLD else ""
    fix = "repair or remove them"
    if _UNLABELLED in counts:
        fix = f"{HOW_TO_LABEL}, or use `noli protect uc`, which needs no labels"
        fix += "; repair or remove the others" if len(counts) > 1 else ""
    return DataError(
        f"{total} of {total + good} items cannot be used.",
        where=listing + more,
        why="; ".join(f"{count} x {reason}" for reason, count in counts.most_common()),
        fix=fix + (", or leave them out with --on-error skip" if good else ""),
        items=[row.ref.path for row in bad],
    )


def _fetch(source: Source, ref: Ref, labelled: bool, known: Seen | None) -> ScanRow | Fetched:
    """Read an item with its size and time; a row instead when it is bad or known."""
    size = moment = 0
    try:
        if labelled and ref.label is None:
            raise DataError(_UNLABELLED)
        size, moment = source.stat(ref)
        if known is not None and moment and known[:2] == (size, moment):
            return ScanRow(ref, _item(ref, known[2]), size=size, mtime_ns=moment)
        return source.read(ref), size, moment
    except DataError as error:
        return _bad(ref, error, size, moment)


def _check(ref: Ref, content: Content, size: int, moment: int) -> ScanRow:
    """Look into an item that was read."""
    try:
        if isinstance(content, np.ndarray):
            picture = from_array(content, where=ref.path)
            height, width, channels = picture.pixels.shape
            shape, bits, name, gps = (height, width, channels), picture.bits, "RAW", False
        else:
            name, shape, bits, gps = inspect(content, where=ref.path)
    except DataError as error:
        return _bad(ref, error, size, moment)
    own = content.nbytes if isinstance(content, np.ndarray) else len(content)
    item = _item(ref, content_id(content)[1])
    return ScanRow(ref, item, shape, bits, name, gps, size=size, mtime_ns=moment, bytes=own)


def _item(ref: Ref, sha256: str) -> Item:
    return Item(sha256[:ID_LENGTH], ref.path, ref.label, ref.split, ref.text, sha256)


def _bad(ref: Ref, error: DataError, size: int, moment: int) -> ScanRow:
    text = f"{error.what} ({error.why})" if error.why else error.what
    return ScanRow(ref, None, error=text, reason=error.what, size=size, mtime_ns=moment)
