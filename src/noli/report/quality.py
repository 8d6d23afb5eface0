"""How much the pictures changed: one pass over the item records of a run."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.report.privacy import item_name

Floats = npt.NDArray[np.float64]
_SHOWN_ERRORS = 20


@dataclass(frozen=True)
class Measure:
    """The distribution of one measure over all items.

    Attributes:
        name: ``psnr``, ``ssim`` or ``linf``.
        values: Finite values, ``float64 [n]``; L-infinity in levels of 255 for every bit depth.
        identical: Items with infinite PSNR (pictures that did not change), not in `values`.
        worst: The most changed item's value.
        worst_item: What the report calls that item.
        sampled: True when only the preview pictures were measured, not all items.
    """

    name: str
    values: Floats
    identical: int
    worst: float
    worst_item: str
    sampled: bool = False

    @property
    def mean(self) -> float:
        """Mean of the finite values."""
        return float(self.values.mean())

    @property
    def median(self) -> float:
        """Median of the finite values."""
        return float(np.median(self.values))

    def summary(self) -> dict[str, Any]:
        """Return the figures for `report.json`."""
        return {
            "mean": round(self.mean, 6),
            "median": round(self.median, 6),
            "worst": round(self.worst, 6),
            "worst_item": self.worst_item,
            "n": len(self.values),
            "identical": self.identical,
            "sampled": self.sampled,
        }


@dataclass(frozen=True)
class Quality:
    """What the item records say about the whole data set.

    Attributes:
        items: Number of items written.
        skipped: Number of items left out.
        restored: True when the measures compare restored pictures with the originals.
        identical: Number of items whose pictures did not change at all.
        measures: PSNR, SSIM and L-infinity, as far as they were measured and are finite.
        notes: Note -> number of items (``CMYK converted to RGB``, ...).
        errors: First items left out: ``(name, reason)``.
    """

    items: int = 0
    skipped: int = 0
    identical: int = 0
    restored: bool = False
    measures: tuple[Measure, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[tuple[str, str], ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the figures for `report.json`."""
        return {
            "items": self.items,
            "skipped": self.skipped,
            "identical": self.identical,
            "measures": {measure.name: measure.summary() for measure in self.measures},
            "notes": dict(self.notes),
        }


class _Column:
    """Collects one measure; 8 bytes an item."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values = array("d")
        self.worst = -math.inf if name == "linf" else math.inf
        self.worst_record: Mapping[str, Any] = {}

    def add(self, value: float, record: Mapping[str, Any]) -> None:
        self.values.append(value)
        worse = value > self.worst if self.name == "linf" else value < self.worst
        if worse:
            self.worst, self.worst_record = value, record


def summarise(
    records: Iterable[Mapping[str, Any]], run_id: str, *, pictures: bool = True, restored: bool = False
) -> Quality:
    """Read the item records once.

    Args:
        records: Item records as they lie in the run folder, in any order.
        run_id: Salt for hashed names.
        pictures: Whether item names may be shown.
        restored: For an undo: take the comparison with the originals instead of that with the input.
    """
    prefix = "restored_" if restored else ""
    columns = [_Column(name) for name in ("psnr", "ssim", "linf")]
    items = skipped = identical = 0
    notes: dict[str, int] = {}
    errors: list[tuple[str, str]] = []
    for record in records:
        if record.get("error"):
            skipped += 1
            if len(errors) < _SHOWN_ERRORS:
                reason = str(record["error"]) if pictures else ""
                errors.append((item_name(record, run_id, pictures=pictures), reason))
            continue
        items += 1
        identical += _identical(record, prefix)
        for note in record.get("notes") or ():
            notes[str(note)] = notes.get(str(note), 0) + 1
        for column in columns:
            value = _value(record, prefix + column.name)
            if value is not None:
                column.add(value, record)
    measures = tuple(
        Measure(
            name=column.name,
            values=np.frombuffer(column.values, dtype=np.float64),
            identical=identical,
            worst=column.worst,
            worst_item=item_name(column.worst_record, run_id, pictures=pictures),
        )
        for column in columns
        if column.values
    )
    return Quality(items, skipped, identical, restored, measures, notes, tuple(errors))


def with_sample(quality: Quality, values: list[tuple[str, float]]) -> Quality:
    """Add SSIM of the preview pictures where the records have none (it is too slow for every item).

    Args:
        quality: What the records say.
        values: ``(what the report calls the item, SSIM)`` of the preview pictures.
    """
    if not values or any(measure.name == "ssim" for measure in quality.measures):
        return quality
    name, worst = min(values, key=lambda pair: pair[1])
    sample = Measure("ssim", np.array([value for _, value in values]), 0, worst, name, sampled=True)
    return replace(quality, measures=(*quality.measures, sample))


def _value(record: Mapping[str, Any], name: str) -> float | None:
    """Return a finite measure, or None where it was not measured or is infinite."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if name.endswith("linf") and record.get("bits") == 16:
        return float(value) * 255.0 / 65535.0
    return float(value)


def _identical(record: Mapping[str, Any], prefix: str) -> bool:
    # The infinite PSNR of an unchanged picture is null in JSON; a PSNR that was not measured is absent.
    psnr = prefix + "psnr"
    return psnr in record and _value(record, psnr) is None and record.get(f"{prefix}linf") in (None, 0)
