"""Before the work: what would be done, how long it takes, how much it needs, and how it will look."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from noli.core.dataset import Source
from noli.core.environment import available_cores, peak_memory_mb
from noli.core.errors import UsageError
from noli.core.files import write_new
from noli.core.method import State
from noli.core.run import Record, Run
from noli.data.codec import picture
from noli.data.place import is_url, local_path
from noli.data.sources import open_source
from noli.data.writers import check_paths
from noli.engine.pictures import evenly, places, small
from noli.engine.request import RunRequest
from noli.engine.scanstage import Totals, good_rows
from noli.engine.shard import GROUP_PIXELS, ShardWork, blame
from noli.engine.sheet import Pair, contact_sheet
from noli.engine.study import located, prepare

MEASURED_ITEMS = 3
LEARNED_ITEMS = 64
# A method that takes a time budget learns for so many seconds before its first pictures are shown.
LEARNED_S = 20.0
# float32 arrays of one group that live at once: input, output, two temporaries, plus stored copies.
_COPIES = 6
_BYTES_PER_PIXEL = 3 * 4
_ASSEMBLED = ("npz", "parquet")
_LISTED_SHAPES = 8
# A spawned worker imports Python, NumPy and OpenCV before its first item.
_WORKER_START_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What a run would do. Nothing has been written.

    Attributes:
        source, output, layout, method: What and how.
        items, skipped: Usable and unusable items.
        classes, formats: Items per class name and per file format.
        shapes: The most frequent sizes as ``HxWxC`` with their counts.
        with_gps: Items that carry a GPS position.
        bytes_in: Size of the input.
        bytes_out: Estimated size of the output, from the measured items.
        disk_free: Free bytes where the output goes; None when unknown (URLs).
        seconds: Estimated duration with `workers` workers, scan and preparation included.
        seconds_measured: Time of the measured items, one by one.
        memory_mb: Estimated peak memory of all processes together.
        workers: Worker processes.
        resumes: A run for this output exists; only what is missing would be done.
    """

    source: str
    output: str
    layout: str
    method: str
    items: int
    skipped: int
    classes: dict[str, int]
    formats: dict[str, int]
    shapes: dict[str, int]
    with_gps: int
    bytes_in: int
    bytes_out: int
    disk_free: int | None
    seconds: float
    seconds_measured: tuple[float, ...]
    memory_mb: float
    workers: int
    resumes: bool

    @property
    def fits(self) -> bool:
        """False when the estimate exceeds the free disk space."""
        # Parts of a single file wait until it is put together.
        most = self.bytes_out * (2 if self.layout in _ASSEMBLED else 1)
        return self.disk_free is None or most <= self.disk_free

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "fits": self.fits}


def dry_run(request: RunRequest) -> Plan:
    """Scan the input, measure three items, and estimate the rest.

    Raises:
        UsageError: The output is in the way.
        DataError: Broken items under ``on_error="fail"``, no usable item, or the method fails.
    """
    begun = time.perf_counter()
    layout, totals, trials, seconds, prepared = _survey(request, MEASURED_ITEMS)
    once = prepared if request.spec.studies else time.perf_counter() - begun - sum(seconds)
    shape = [trial.record["shape"] for trial in trials]
    share = totals.pixels / sum(height * width for height, width, _ in shape)
    at_once = min(request.at_once, available_cores())
    start = 0.0 if request.at_once == 1 else _WORKER_START_S
    return Plan(
        source=request.source,
        output=request.output,
        layout=layout,
        method=request.spec.name,
        items=totals.items,
        skipped=totals.failed,
        classes=dict(sorted(totals.per_class.items())),
        formats=dict(totals.formats),
        shapes={f"{h}x{w}x{c}": n for (h, w, c), n in totals.shapes.most_common(_LISTED_SHAPES)},
        with_gps=totals.with_gps,
        bytes_in=totals.bytes,
        bytes_out=round(share * sum(trial.record["size_out"] for trial in trials)),
        disk_free=_free(request.output),
        seconds=round(once + start + share * sum(seconds) / at_once, 3),
        seconds_measured=seconds,
        memory_mb=_memory_mb(request.at_once, totals.largest),
        workers=request.workers,
        resumes=Run.exists(request.run_folder),
    )


def preview(request: RunRequest, path: str | Path, n: int = 8) -> Path:
    """Write a contact sheet of `n` evenly spaced items (PNG); the output of the request is not touched.

    Raises:
        UsageError, DataError: As for :func:`dry_run`; `n` is less than 1.
        OutputExists: The file exists.
        RunError: The file cannot be written.
    """
    if n < 1:
        raise UsageError("A preview shows at least one item.", where=f"n={n}", fix="ask for 1 or more")
    _, totals, trials, *_ = _survey(request, n)
    key = f" · key {request.key.id}" if request.key else ""
    note = f"{request.spec.name}{key} · {len(trials)} of {totals.items} items"
    write_new(Path(path), contact_sheet(trials, title=request.spec.card.title, note=note))
    return Path(path)


def _survey(request: RunRequest, n: int) -> tuple[str, Totals, list[Pair], tuple[float, ...], float]:
    """Scan everything, prepare the method (on a sample if it learns), try it on `n` evenly spaced items.

    Returns:
        Layout, counts, tried items with the seconds of each, and seconds that the whole preparation takes.
    """
    if request.undo_of is not None:
        fix = "run the undo itself; it writes elsewhere"
        raise UsageError("Only an application can be tried out.", fix=fix)
    check_paths(request.source, request.output, owned=Run.exists(request.run_folder))
    source = open_source(request.source, labels=request.labels)
    totals = Totals()
    learns = request.spec.studies
    rows = _sample(request, source, totals, max(n, LEARNED_ITEMS) if learns else n)
    with TemporaryDirectory() as scratch:
        begun = time.perf_counter()
        state = prepare(_hurried(request), source, totals, rows, Path(scratch))
        once = time.perf_counter() - begun
        work = ShardWork(request, located(state, request, Path(scratch)), source)
        _try(work, rows[0])  # the first item pays for lazy initialisation
        chosen = list(evenly(rows, len(rows), n))
        pairs, seconds = zip(*(_try(work, row) for row in chosen), strict=True)
    if learns:
        once = _at_length(request.cfg, state, once, totals.items / len(rows))
    return source.layout, totals, list(pairs), seconds, once


def _budget(cfg: Any) -> float | None:
    """Return the seconds for which a method learns here; None if it takes no time budget."""
    return min(cfg.time or LEARNED_S, LEARNED_S) if "time" in type(cfg).model_fields else None


def _hurried(request: RunRequest) -> RunRequest:
    budget = _budget(request.cfg)
    return (
        request if budget is None else replace(request, cfg=request.cfg.model_copy(update={"time": budget}))
    )


def _at_length(cfg: Any, state: State, seconds: float, larger: float) -> float:
    """Return how long learning takes on all data, `larger` times the sample, without hurry."""
    reached, budget = state.get("reached", [{}])[-1], _budget(cfg)
    if budget is None or "out_of_time" not in reached:
        return seconds * larger
    # Such a method makes the same number of steps on any data; only the noise afterwards is made per picture.
    whole = budget * reached["out_of_time"] / reached["steps"]
    return float(min(whole, cfg.time or whole) + max(seconds - budget, 0.0) * larger)


def _sample(request: RunRequest, source: Source, totals: Totals, n: int) -> list[Record]:
    wanted = iter(sorted(places(sum(1 for _ in source.refs()), n)))
    following = next(wanted, None)
    rows: list[Record] = []
    for row in good_rows(request, source, totals):
        # At the wanted place, or at the next usable one.
        if following is not None and row["index"] >= following:
            rows.append(row)
            following = next(wanted, None)
    return rows


def _try(work: ShardWork, row: Record) -> tuple[Pair, float]:
    begun = time.perf_counter()
    one = work.load(row)
    try:
        pixels, extras = work.transform([one])
    except Exception as exc:
        raise blame(row, exc) from exc
    content, record = work.finish(one, pixels[0], extras[0])
    seconds = time.perf_counter() - begun
    return Pair(record, small(one.picture.pixels), small(picture(content, row["path"]).pixels)), seconds


def _memory_mb(workers: int, largest: int) -> float:
    group = max(GROUP_PIXELS, largest) * _BYTES_PER_PIXEL * _COPIES / 2**20
    processes = 1 if workers == 1 else 1 + workers
    return round(peak_memory_mb() * processes + group * workers, 1)


def _free(output: str) -> int | None:
    if is_url(output):
        return None
    place = local_path(output).resolve()
    while not place.exists():
        place = place.parent
    return int(shutil.disk_usage(place).free)
