"""Try the candidates on a sample of the data, and say which one to take and why."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from noli.core.choice import Choice, Floor
from noli.core.errors import DataError
from noli.core.evidence import LEVELS, Row
from noli.core.run import Run
from noli.data.sources import open_source
from noli.data.writers import check_paths
from noli.engine.auto.asked import ROWS, Asked
from noli.engine.auto.bench import Bench
from noli.engine.auto.candidates import wanted
from noli.engine.auto.sample import Sample, read
from noli.engine.auto.search import Board, Clock, search
from noli.engine.auto.telling import Facts, told
from noli.engine.request import RunRequest
from noli.engine.runner import check_places
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures import find
from noli.methods.verify.subject import LearnabilityData
from noli.methods.verify.verdicts import bounds, chance, too_small
from noli.ops.metrics import percent

_YOURSELF = "choose a method yourself (`noli list protect`), then run `noli verify`"


def choose(request: RunRequest, asked: Asked, cfg: Config, clock: Clock) -> Choice:
    """Try the candidates and choose; the user's folders are only read.

    Args:
        request: The run that the choice would end with, with any method; its place is checked.
        asked: Floor, budget and claim.
        cfg: Settings of the trainings.
        clock: Monotonic seconds; it decides when to stop and nothing else. The budget begins after the scan.

    Returns:
        The choice; without a pick where nothing meets the floor.

    Raises:
        UsageError: Unknown candidates, or an output in the way.
        DataError: Unusable items, too few pictures, one class, or clean data that does not teach.
    """
    candidates = wanted(asked.only)
    levels = {row: find(row, cfg).level for row in ROWS}
    rows = [row for row in ROWS if levels[row] in LEVELS[: LEVELS.index(asked.claim) + 1]]
    check_paths(request.source, request.output, owned=Run.exists(request.run_folder))
    check_places(request, request.run_folder)
    source = open_source(request.source, labels=request.labels)
    bar = request.progress
    with TemporaryDirectory(prefix="noli-auto-") as folder:
        sample = read(request, source, cfg)
        if not (sample.train and sample.test):
            raise DataError("The data is too small to choose a method on.", fix=_YOURSELF)
        begun = clock()
        bench = Bench(request, source, sample, cfg, asked.seed, Path(folder), clock)
        base = _checked(bench.subject, cfg)
        with bench.training():
            bar.start(None, "try")
            clean = bench.clean()
            _check_clean(clean, base, cfg)
            board = Board(candidates, rows, bounds(clean, base, cfg.bound)[0])
            budget = math.inf if asked.time is None else asked.time
            search(board, bench, Floor(psnr=asked.psnr, ssim=asked.ssim), clock, begun, budget, bar.advance)
        facts = Facts(
            request=request,
            asked=asked,
            cfg=cfg,
            levels={row: levels[row] for row in rows},
            clean=clean,
            chance=base,
            spent=clock() - begun,
            sample=_counts(sample, bench.subject),
            reduced=sample.reduced,
        )
    return told(board, facts)


def _counts(sample: Sample, subject: LearnabilityData) -> dict[str, int]:
    return {
        "training": len(sample.train),
        "held_out": len(sample.test),
        "classes": len(subject.classes),
        "side": subject.clean_x.shape[1],
        "pictures": sample.totals.items,
    }


def _checked(subject: LearnabilityData, cfg: Config) -> float:
    """Return the accuracy of guessing, or refuse data on which trials would say nothing."""
    if len(np.union1d(subject.protected_y, subject.test_y)) < 2:
        raise DataError(
            "There is only one class: nothing can be learned, so nothing can be chosen.",
            where=", ".join(subject.classes) or None,
            fix="give images of at least two classes",
        )
    if reason := too_small(subject, cfg.min_test, max(cfg.min_per_class, cfg.leak_pairs + 1), cfg.holdout):
        raise DataError("The data is too small to choose a method on.", why=reason, fix=_YOURSELF)
    return chance(subject.test_y, len(subject.classes))


def _check_clean(clean: Row, base: float, cfg: Config) -> None:
    if clean.low < base + cfg.min_gain:
        raise DataError(
            "The originals teach the network of the trials nothing, so nothing can be compared.",
            why=f"{percent(clean.value)} on held-out pictures where chance is {percent(base)}",
            fix=f"check the labels, or train longer (--set min_steps=500), or {_YOURSELF}",
        )
