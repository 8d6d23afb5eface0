"""Look at a data set and try the method on a few items, without writing anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

from noli.core.dataset import Source
from noli.core.errors import DataError, UsageError
from noli.core.images import Stored
from noli.core.key import Key
from noli.core.run import Record, Run
from noli.data.sources import open_source
from noli.data.writers import check_paths
from noli.engine.previews import load_small, small
from noli.engine.request import RunRequest, load_method
from noli.engine.scanstage import Totals, make_row, scan_rows
from noli.engine.shard import Job, ShardWork


@dataclass(frozen=True)
class Trial:
    """One item that went through the method.

    Attributes:
        record: What the run's record would say, ``size_out`` and ``psnr`` included.
        before, after: ``uint8 [H, W, C]``, at most 512 pixels on a side.
        seconds: Time to read, transform and encode it.
    """

    record: Record
    before: Stored
    after: Stored
    seconds: float


@dataclass(frozen=True)
class Survey:
    """What was found, and what a few items became.

    Attributes:
        layout: Layout of the source.
        totals: Counts and sizes.
        trials: The items tried.
        scan_seconds, prepare_seconds: Time the stages took.
        known: Whether a run of this output exists already.
    """

    layout: str
    totals: Totals
    trials: tuple[Trial, ...]
    scan_seconds: float
    prepare_seconds: float
    known: bool


def survey(request: RunRequest, n: int) -> Survey:
    """Scan everything, prepare the method, try it on `n` evenly spaced items.

    Raises:
        UsageError: The output is in the way.
        DataError: Broken items under ``on_error="fail"``, no usable item, or the method fails.
    """
    if request.direction != "apply":
        raise UsageError(
            "Only an application can be tried out.", fix="run the undo itself; it writes elsewhere"
        )
    known = Run.exists(request.run_folder)
    check_paths(request.source, request.output, owned=known)
    source = open_source(request.source, labels=request.labels)
    totals, begun = Totals(), time.perf_counter()
    rows = _sample(request, source, totals, n)
    scanned = time.perf_counter()
    method = load_method(request.spec.module)
    # Methods that need no key never look at this argument.
    key: Key = request.key  # type: ignore[assignment]
    state = method.prepare(totals.summary(request.source), key, request.cfg, None)
    prepared = time.perf_counter()
    job = Job(
        module=request.spec.module,
        config=request.cfg.model_dump(mode="json"),
        direction="apply",
        state=state,
        source=source,
        writer=None,
        format=request.format,
        metadata=request.metadata,
        on_error="fail",
        max_pixels=request.max_pixels,
    )
    work = ShardWork(job, method, request.key, stop=lambda: False)
    _try(work, rows[0])  # the first item pays for lazy initialisation
    trials = tuple(_try(work, row) for row in rows)
    return Survey(source.layout, totals, trials, scanned - begun, prepared - scanned, known)


def _sample(request: RunRequest, source: Source, totals: Totals, n: int) -> list[Record]:
    request.progress.start(None, "scan")
    count = sum(1 for _ in source.refs())
    wanted = iter(sorted({round(step * (count - 1) / max(1, n - 1)) for step in range(n)}))
    following = next(wanted, None)
    rows: list[Record] = []
    for found in scan_rows(request, source, None):
        if found.item is None:
            totals.failed += 1
            continue
        row = make_row(found, found.item, None, None)
        totals.add(row)
        # At the wanted place, or at the next usable one.
        if following is not None and row["index"] >= following:
            rows.append(row)
            following = next(wanted, None)
    request.progress.finish()
    return rows


def _try(work: ShardWork, row: Record) -> Trial:
    begun = time.perf_counter()
    one = work.load(row)
    try:
        pixels, extras = work.transform([one])
    except (DataError, UsageError):
        raise
    except Exception as exc:
        why = f"{type(exc).__name__}: {exc}"
        raise DataError("The method failed on an item.", where=row["path"], why=why) from exc
    content, record = work.finish(one, pixels[0], extras[0])
    seconds = time.perf_counter() - begun
    return Trial(record, small(one.picture.pixels), load_small(content, row["path"]), seconds)
