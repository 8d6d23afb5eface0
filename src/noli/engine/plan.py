"""Before the work: what would be done, how long it takes, how much it needs, and how it will look."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noli.core.environment import available_cores, peak_memory_mb
from noli.core.files import write_new
from noli.engine.request import RunRequest, is_url
from noli.engine.shard import GROUP_PIXELS
from noli.engine.sheet import contact_sheet
from noli.engine.survey import Survey, survey

MEASURED_ITEMS = 3
# float32 arrays of one group that live at once: input, output, two temporaries, plus stored copies.
_COPIES = 6
_BYTES_PER_PIXEL = 3 * 4
_LISTED_SHAPES = 8
# A spawned worker imports Python, NumPy and OpenCV before its first item.
_WORKER_START_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What a run would do. Nothing has been written.

    Attributes:
        source, output, layout, method: What and how.
        items, skipped: Usable and unusable items.
        classes: Items per class name.
        formats: Items per file format.
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
        return self.disk_free is None or self.bytes_out <= self.disk_free

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "fits": self.fits}


def dry_run(request: RunRequest) -> Plan:
    """Scan the input, measure three items, and estimate the rest.

    Raises:
        UsageError: The output is in the way.
        DataError: Broken items under ``on_error="fail"``, or no usable item.
    """
    found = survey(request, MEASURED_ITEMS)
    totals = found.totals
    shapes = {f"{h}x{w}x{c}": count for (h, w, c), count in totals.shapes.most_common(_LISTED_SHAPES)}
    return Plan(
        source=request.source,
        output=request.output,
        layout=found.layout,
        method=request.spec.name,
        items=totals.items,
        skipped=totals.failed,
        classes=dict(sorted(totals.per_class.items())),
        formats=dict(totals.formats),
        shapes=shapes,
        with_gps=totals.with_gps,
        bytes_in=totals.bytes,
        bytes_out=round(_per_pixel(found, [t.record["size_out"] for t in found.trials]) * totals.pixels),
        disk_free=_free(request.output),
        seconds=_seconds(request, found),
        seconds_measured=tuple(trial.seconds for trial in found.trials),
        memory_mb=_memory_mb(request, totals.largest),
        workers=request.workers,
        resumes=found.known,
    )


def preview(request: RunRequest, path: str | Path, n: int = 8) -> Path:
    """Write a contact sheet of `n` evenly spaced items: original, protected, difference x10.

    Args:
        request: The run to show; its output is not touched.
        path: PNG file to write.
        n: Number of items.

    Returns:
        The file.

    Raises:
        UsageError, DataError: As for :func:`dry_run`.
        OutputExists: The file exists.
        RunError: The file cannot be written.
    """
    target = Path(path)
    if target.exists():  # before the work, not after it
        write_new(target, b"")
    found = survey(request, n)
    key = f" · key {request.key.id}" if request.key else ""
    title = f"{request.spec.card.title}"
    note = f"{request.spec.name}{key} · {len(found.trials)} of {found.totals.items} items"
    write_new(target, contact_sheet(found.trials, title=title, note=note))
    return target


def _per_pixel(found: Survey, values: list[float]) -> float:
    pixels: int = sum(trial.record["shape"][0] * trial.record["shape"][1] for trial in found.trials)
    return sum(values) / pixels


def _seconds(request: RunRequest, found: Survey) -> float:
    work = _per_pixel(found, [trial.seconds for trial in found.trials]) * found.totals.pixels
    at_once = min(request.at_once, available_cores())
    start = 0.0 if request.at_once == 1 else _WORKER_START_S
    return round(found.scan_seconds + found.prepare_seconds + start + work / at_once, 3)


def _memory_mb(request: RunRequest, largest: int) -> float:
    group = max(GROUP_PIXELS, largest) * _BYTES_PER_PIXEL * _COPIES / 2**20
    workers = request.at_once
    processes = 1 if workers == 1 else 1 + workers
    return round(peak_memory_mb() * processes + group * workers, 1)


def _free(output: str) -> int | None:
    if is_url(output):
        return None
    place = Path(output).resolve()
    while not place.exists():
        place = place.parent
    return int(shutil.disk_usage(place).free)
