"""Compare two data sets item by item, as they lie on disk."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from noli.core.dataset import Ref, Source
from noli.core.errors import DataError, NoliError
from noli.core.files import write_new
from noli.core.images import Stored
from noli.core.run import Record, Run
from noli.data.codec import decode, from_array
from noli.data.picture import Picture
from noli.data.sources import open_source
from noli.engine.previews import evenly, small
from noli.engine.progress import Progress, Quiet
from noli.engine.request import is_url, run_folder
from noli.engine.results import Spread
from noli.engine.sheet import contact_sheet
from noli.ops import metrics

FIGURES = 8
WORST = 10
_LISTED = 20


@dataclass(frozen=True)
class Figure:
    """One item for pictures: ``uint8 [H, W, C]`` on both sides, at most 512 pixels wide or high."""

    record: Record
    before: Stored
    after: Stored


@dataclass
class Diff:
    """How two data sets differ.

    Attributes:
        a, b: What was compared.
        items: Pairs compared.
        identical: Pairs with equal pixels.
        psnr_mean, psnr_min: dB over the pairs that differ; None when all are identical.
        ssim_mean, ssim_min: Over all pairs; None when not asked for.
        linf_max: Largest change in 8-bit levels.
        worst: The pairs with the lowest PSNR: ``path``, ``other``, ``psnr``, ``ssim``, ``linf``.
        unlike: Pairs of different size, channels or depth, which cannot be compared (at most 20 names).
        unreadable: Items that cannot be decoded (at most 20 names).
        only_a, only_b: Items without a partner (at most 20 names), with their totals in `missing`.
        missing: ``{"a": ..., "b": ..., "unlike": ..., "unreadable": ...}`` totals.
        figures: Evenly spaced pairs with their pictures.
    """

    a: str
    b: str
    items: int = 0
    identical: int = 0
    psnr_mean: float | None = None
    psnr_min: float | None = None
    ssim_mean: float | None = None
    ssim_min: float | None = None
    linf_max: float | None = None
    worst: list[Record] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0, "unlike": 0, "unreadable": 0})
    figures: list[Figure] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, without the pictures."""
        figures, self.figures = self.figures, []
        try:
            found = asdict(self)
        finally:
            self.figures = figures
        del found["figures"]
        return found

    def save_sheet(self, path: str | Path) -> Path:
        """Write the pictures as a contact sheet (PNG)."""
        note = f"{self.a} against {self.b} · {len(self.figures)} of {self.items} items"
        write_new(Path(path), contact_sheet(self.figures, title="Difference", note=note))
        return Path(path)


def diff(
    a: str | Path,
    b: str | Path,
    *,
    labels: str | None = None,
    ssim: bool = True,
    figures: int = FIGURES,
    progress: Progress | None = None,
) -> Diff:
    """Compare data set `b` with `a` (the original).

    Items are paired by the records of the run that made `b` when there is one, otherwise by name, where
    ``x.jpg`` also finds ``x.png`` and ``x.jpg.png``. Names are held in memory, pictures are not.

    Raises:
        DataError: No item of `a` has a partner in `b`.
    """
    progress = progress or Quiet()
    first, second = open_source(a, labels=labels), open_source(b, labels=labels)
    found = Diff(a=str(a), b=str(b))
    pairs = _pair(first, second, str(a), str(b), found)
    if not pairs:
        fix = "compare a data set with its protected (or restored) version"
        raise DataError("The two data sets have no item in common.", where=f"{a} and {b}", fix=fix)
    shown = set(evenly(range(len(pairs)), len(pairs), figures))
    totals = {name: Spread() for name in ("psnr", "ssim", "linf")}
    worst: list[tuple[float, int, Record]] = []
    progress.start(len(pairs), "compare")
    for number, (left, right) in enumerate(pairs):
        progress.advance(1)
        compared = _compare(first, left, second, right, ssim, found)
        if compared is None:
            continue
        row, before, after = compared
        for name, spread in totals.items():
            if name != "ssim" or ssim:
                spread.add(row[name])
        heapq.heappush(worst, (-(row["psnr"] or 1e9), -number, row))
        if len(worst) > WORST:
            heapq.heappop(worst)
        if number in shown:
            found.figures.append(Figure(row, small(before), small(after)))
    progress.finish()
    _fill(found, totals)
    found.worst = [row for _, _, row in sorted(worst, reverse=True)]
    return found


def _fill(found: Diff, totals: dict[str, Spread]) -> None:
    psnr, ssim = totals["psnr"].named("psnr"), totals["ssim"].named("ssim")
    found.items = totals["linf"].n
    found.identical = totals["psnr"].identical
    found.psnr_mean, found.psnr_min = psnr["psnr_mean"], psnr["psnr_min"]
    found.ssim_mean, found.ssim_min = ssim["ssim_mean"], ssim["ssim_min"]
    found.linf_max = totals["linf"].named("linf")["linf_max"]


def _compare(
    first: Source, left: Ref, second: Source, right: Ref, ssim: bool, found: Diff
) -> tuple[Record, Stored, Stored] | None:
    try:
        before, after = _load(first, left).pixels, _load(second, right).pixels
    except (NoliError, OSError):
        _note(found.unreadable, found, "unreadable", left.path)
        return None
    if before.shape != after.shape or before.dtype != after.dtype:
        _note(found.unlike, found, "unlike", left.path)
        return None
    top = 255 / 65535 if before.dtype == np.uint16 else 1
    row: Record = {
        "path": left.path,
        "other": right.path,
        "label": left.label,
        "shape": list(before.shape),
        "psnr": metrics.finite(metrics.psnr(before, after)),
        "ssim": metrics.ssim(before, after) if ssim else None,
        "linf": metrics.linf(before, after) * top,
    }
    return row, before, after


def _load(source: Source, ref: Ref) -> Picture:
    content = source.read(ref)
    if isinstance(content, np.ndarray):
        return from_array(content, where=ref.path)
    return decode(content, where=ref.path)


def _pair(first: Source, second: Source, a: str, b: str, found: Diff) -> list[tuple[Ref, Ref]]:
    known = dict(_recorded(a, b))
    others = {ref.path: ref for ref in second.refs()}
    by_stem: dict[str, list[str]] = {}
    for path in others:
        by_stem.setdefault(_stem(path), []).append(path)
    pairs, used = [], set()
    for ref in first.refs():
        # Full name plus a suffix comes before the bare stem: x.jpg has x.jpg.png where x.png exists too.
        exact = [known.get(ref.path, ""), ref.path, *by_stem.get(ref.path, ())]
        partner = next((name for name in exact if name in others and name not in used), None)
        if partner is None:
            free = [name for name in by_stem.get(_stem(ref.path), ()) if name not in used]
            partner = free[0] if len(free) == 1 else None
        if partner is None:
            _note(found.only_a, found, "a", ref.path)
            continue
        used.add(partner)
        pairs.append((ref, others[partner]))
    for path in others:
        if path not in used:
            _note(found.only_b, found, "b", path)
    return pairs


def _recorded(a: str, b: str) -> Iterator[tuple[str, str]]:
    """Yield (path, out) of the run that made `b` from `a`, if its folder lies beside `b`."""
    folder = run_folder(b)
    if not Run.exists(folder):
        return
    run = Run.open(folder)
    origin = run.manifest.args_resolved.get("source")
    if origin != (a if is_url(a) else str(Path(a).resolve())):
        return
    for record in run.iter_records():
        if "error" not in record:
            yield record["path"], record["out"]


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix("")) if PurePosixPath(path).name else path


def _note(names: list[str], found: Diff, kind: str, path: str) -> None:
    found.missing[kind] += 1
    if len(names) < _LISTED:
        names.append(path)
