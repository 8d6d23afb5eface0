"""Compare two data sets item by item, as they lie on disk."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from noli.core.dataset import Ref, Source
from noli.core.errors import DataError, NoliError, clean_url
from noli.core.files import write_new
from noli.core.images import Stored
from noli.core.run import Record, Run
from noli.data.codec import upright
from noli.data.sources import open_source
from noli.engine.pictures import places, small
from noli.engine.progress import Progress
from noli.engine.request import absolute, run_folder
from noli.engine.results import Spread, stored_names
from noli.engine.sheet import Pair, contact_sheet
from noli.methods.verify.pairing import match
from noli.ops import metrics

FIGURES = 8
WORST = 10
_LISTED = 20


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
    figures: list[Pair] = field(default_factory=list, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values, without the pictures."""
        found = asdict(replace(self, figures=[]))
        del found["figures"]
        return found

    def save_sheet(self, path: str | Path) -> Path:
        """Write the pictures as a contact sheet (PNG)."""
        note = f"{self.a} against {self.b} · {len(self.figures)} of {self.items} items"
        write_new(Path(path), contact_sheet(self.figures, title="Difference", note=note))
        return Path(path)

    def _leave_out(self, kind: str, path: str) -> None:
        names = {"a": self.only_a, "b": self.only_b, "unlike": self.unlike, "unreadable": self.unreadable}
        self.missing[kind] += 1
        if len(names[kind]) < _LISTED:
            names[kind].append(path)


def diff(
    a: str | Path,
    b: str | Path,
    *,
    labels: str | None = None,
    ssim: bool = True,
    figures: int = FIGURES,
    progress: Progress | None = None,
) -> Diff:
    """Compare data set `b` with `a` (the original), picture by picture, as they are stored.

    Items are paired by the records of the run that made `b` when there is one, otherwise by name within a
    split, where ``x.jpg`` also finds ``x.png`` and ``x.jpg.png``. Names are held in memory, pictures are not.

    Args:
        a: The first data set, usually the originals.
        b: The second.
        labels: Column or array with the class, where the layout does not say.
        ssim: Also compute SSIM (slower).
        figures: How many pairs to keep with their pictures.
        progress: Where progress goes; nowhere when None.

    Raises:
        DataError: No item of `a` has a partner in `b`.
    """
    progress = progress or Progress()
    first, second = open_source(a, labels=labels), open_source(b, labels=labels)
    found = Diff(a=clean_url(str(a)), b=clean_url(str(b)))
    pairs = _pair(first, second, found, _recorded(str(a), str(b)))
    if not pairs:
        fix = "compare a data set with its protected (or restored) version"
        raise DataError("The two data sets have no item in common.", where=f"{a} and {b}", fix=fix)
    shown = places(len(pairs), figures)
    psnr, similar, linf = Spread(), Spread(), Spread()
    worst: list[tuple[float, int, Record]] = []
    progress.start(len(pairs), "compare")
    try:
        for number, (left, right) in enumerate(pairs):
            progress.advance(1)
            if (both := _both(found, first, second, left, right)) is None:
                continue
            row = _compare(left, right, *both, ssim)
            psnr.add(row["psnr"])
            linf.add(row["linf"])
            if ssim:
                similar.add(row["ssim"])
            quality = math.inf if row["psnr"] is None else row["psnr"]
            heapq.heappush(worst, (-quality, -number, row))
            if len(worst) > WORST:
                heapq.heappop(worst)
            if number in shown:
                found.figures.append(Pair(row, *map(small, both)))
    finally:
        progress.finish()
    for name, value in {**psnr.named("psnr"), **similar.named("ssim"), **linf.named("linf")}.items():
        if hasattr(found, name):
            setattr(found, name, value)
    found.items, found.identical = linf.n, psnr.identical
    found.worst = [row for _, _, row in sorted(worst, reverse=True)]
    return found


def _both(found: Diff, first: Source, second: Source, left: Ref, right: Ref) -> tuple[Stored, Stored] | None:
    """Read a pair; one that cannot be compared is noted and None."""
    try:
        before, after = _pixels(first, left), _pixels(second, right)
    except (NoliError, OSError):
        found._leave_out("unreadable", left.path)
        return None
    if before.shape != after.shape or before.dtype != after.dtype:
        found._leave_out("unlike", left.path)
        return None
    return before, after


def _compare(left: Ref, right: Ref, before: Stored, after: Stored, ssim: bool) -> Record:
    return {
        "path": left.path,
        "other": right.path,
        "label": left.label,
        "shape": list(before.shape),
        "psnr": metrics.finite(metrics.psnr(before, after)),
        "ssim": metrics.ssim(before, after) if ssim else None,
        "linf": metrics.linf(before, after) * (255 / 65535 if before.dtype == np.uint16 else 1),
    }


def _pixels(source: Source, ref: Ref) -> Stored:
    return upright(source.read(ref), ref.path)


def _pair(first: Source, second: Source, found: Diff, known: Mapping[str, str]) -> list[tuple[Ref, Ref]]:
    matched = match(list(first.refs()), list(second.refs()), known)
    for ref in matched.clean_only:
        found._leave_out("a", ref.path)
    for ref in matched.protected_only:
        found._leave_out("b", ref.path)
    return matched.pairs


def _recorded(a: str, b: str) -> dict[str, str]:
    """Return what each stored item was made of, if `b` was made from `a` and its run lies beside it."""
    folder = run_folder(b)
    if not Run.exists(folder):
        return {}
    run = Run.open(folder)
    if run.manifest.args_resolved.get("source") != absolute(a):
        return {}
    names = stored_names(run)
    return {names[r["out"]]: r["path"] for r in run.iter_records() if "error" not in r}
