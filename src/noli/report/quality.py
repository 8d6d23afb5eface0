"""How much the pictures changed: one pass over the item records of a run."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Call = Callable[[Mapping[str, Any]], str]
BINS = 24
_SHOWN_ERRORS = 20


@dataclass(frozen=True)
class Histogram:
    """How often values fall into bins of equal width between `low` and `high`."""

    counts: tuple[int, ...]
    low: float
    high: float

    @property
    def top(self) -> int:
        """The largest count."""
        return max(self.counts)

    def share(self, value: float) -> float:
        """Where a value lies between `low` and `high`: 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Measure:
    """The distribution of one measure over all items."""

    name: str  # `psnr`, `linf`, or `ssim`, which is too slow for all items: only of the preview pictures
    values: npt.NDArray[np.float64]  # [n], finite; L-infinity in levels of 255 for every bit depth
    worst_item: str

    @property
    def sampled(self) -> bool:
        """Whether only the preview pictures were measured."""
        return self.name == "ssim"

    @property
    def worst(self) -> float:
        """The most changed item's value."""
        return float(self.values.max() if self.name == "linf" else self.values.min())

    @property
    def mean(self) -> float:
        """Mean of the finite values."""
        return float(self.values.mean())

    @property
    def median(self) -> float:
        """Median of the finite values."""
        return float(np.median(self.values))

    @property
    def histogram(self) -> Histogram:
        """How the values are distributed."""
        # Values that differ by rounding errors only cannot be put into bins.
        counts, edges = np.histogram(self.values.round(6), BINS)
        return Histogram(tuple(map(int, counts)), float(edges[0]), float(edges[-1]))

    def summary(self) -> dict[str, Any]:
        """Return the figures for `report.json`."""
        figures = {name: round(getattr(self, name), 6) for name in ("mean", "median", "worst")}
        return {**figures, "worst_item": self.worst_item, "n": len(self.values), "sampled": self.sampled}


@dataclass(frozen=True)
class Quality:
    """What the item records say about the whole data set."""

    items: int = 0
    skipped: int = 0
    identical: int = 0  # pictures that did not change at all; they have no finite PSNR
    restored: bool = False  # the measures compare restored pictures with the originals
    measures: tuple[Measure, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)  # note -> number of items
    errors: tuple[tuple[str, str], ...] = ()  # first items left out: (name, reason)

    def summary(self) -> dict[str, Any]:
        """Return the figures for `report.json`."""
        return {
            "items": self.items,
            "skipped": self.skipped,
            "identical": self.identical,
            "measures": {measure.name: measure.summary() for measure in self.measures},
            "notes": dict(self.notes),
        }


def ticks(low: float, high: float, least: float = 0.0) -> tuple[float, ...]:
    """Return at most six round values between two ends, `least` or more apart."""
    rough = max((high - low) / 5, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return tuple(step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1))


def summarise(
    records: Iterable[Mapping[str, Any]],
    call: Call,
    *,
    restored: bool = False,
    ssim: Mapping[str, float] | None = None,
) -> Quality:
    """Read the item records once, in any order.

    `call` says how the report calls an item; `ssim` is that of the preview pictures by these names. Of an
    undo, the comparison with the originals is taken instead of that with the input.
    """
    prefix = "restored_" if restored else ""
    values = {"psnr": array("d"), "linf": array("d")}
    worst: dict[str, tuple[float, Mapping[str, Any]]] = {}
    items = identical = 0
    notes: Counter[str] = Counter()
    failed: dict[str, Mapping[str, Any]] = {}
    for record in records:
        if "error" in record:
            failed[record["path"]] = record
            continue
        failed.pop(record["path"], None)  # repaired after it had been skipped
        items += 1
        notes.update(record["notes"])
        # The infinite PSNR of an unchanged picture is null; one that was not measured is absent.
        identical += record.get(prefix + "psnr", 0) is None
        for name, column in values.items():
            value = record.get(prefix + name)
            if value is None:
                continue
            if name == "linf" and record["bits"] == 16:
                value *= 255 / 65535
            column.append(value)
            badness = value if name == "linf" else -value
            if name not in worst or badness > worst[name][0]:
                worst[name] = badness, record
    measures = [Measure(n, np.array(values[n]), call(worst[n][1])) for n in values if n in worst]
    if ssim:
        measures.append(Measure("ssim", np.array(list(ssim.values())), min(ssim, key=ssim.__getitem__)))
    errors = [(call(record), str(record["error"])) for record in list(failed.values())[:_SHOWN_ERRORS]]
    return Quality(items, len(failed), identical, restored, tuple(measures), notes, tuple(errors))
