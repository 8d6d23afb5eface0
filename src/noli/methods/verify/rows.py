"""From single trainings to rows: the plan, trainings side by side, what is finished, the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version as distribution_version
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from noli.core.dataset import content_id
from noli.core.evidence import Row
from noli.core.interrupts import Finished, submit
from noli.methods.verify.battery import REFERENCE, Measure, Part, Trainer, unpack
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures.training import REFERENCE as PLAIN_REFERENCE
from noli.ops.stats import accuracy_interval

Progress = Callable[[int, int, str], None]
Result = dict[str, Any]
Cache = MutableMapping[str, Result]
# What changes the verdict but not a training must not throw finished trainings away.
_VERDICT_ONLY = {
    "claim", "bound", "seeds", "battery", "also", "min_gain", "partial", "min_likeness", "max_relabelled",
    "confidence", "min_test", "min_per_class",
    # Decide which images are used: these are part of the scope by their hashes.
    "size", "max_items", "max_test", "holdout",
}  # fmt: skip
# More trainings at a time cost memory for little gain: the longest row decides by then.
_MOST = 8


class Training(NamedTuple):
    """One training: a countermeasure, the images it sees, a seed."""

    measure: Measure
    part: Part
    seed: int

    @property
    def key(self) -> str:
        """Name in the cache, unique within one subject and configuration."""
        origin = f"|{self.measure.origin}" if self.measure.origin else ""
        return f"{self.measure.name}|{self.part}|{self.seed}{origin}"


def parts(measure: Measure, *, context: bool) -> tuple[Part, ...]:
    """Return what a row is trained on: the images that it judges, then clean ones if context is wanted.

    What a part that was never protected teaches alone is always measured, because the row means little
    without it.
    """
    if measure.share:
        return "mixed", "clean-part"
    if measure.held is not None:
        return "protected", "leaked-alone"
    # The reference row is trained on clean data anyway; restoring clean data means nothing.
    if not context or measure.leaked or measure.name == REFERENCE:
        return ("protected",)
    return "protected", "clean"


def plan(measures: Sequence[Measure], cfg: Config, *, context: bool | None = None) -> list[Training]:
    """Return all trainings in the order in which they are run; the clean reference first.

    With `context` every row is also run on clean images; None: except with the quick battery.
    """
    wanted = cfg.battery != "quick" if context is None else context
    clean: list[tuple[Measure, Part]] = [(PLAIN_REFERENCE, "clean")]
    pairs = clean + [(m, part) for m in measures for part in parts(m, context=wanted)]
    return [Training(m, part, seed) for m, part in pairs for seed in range(cfg.seed_count)]


def recipe_scope(cfg: Config) -> str:
    """Return everything but data, row and seed that decides a training: configuration and versions."""
    trained = cfg.model_dump_json(exclude=_VERDICT_ONLY)
    return f"noli {distribution_version('noli')} torch {distribution_version('torch')} {trained}"


def cache_scope(hashes: Mapping[str, str], cfg: Config) -> str:
    """Return a short name of everything that decides a training except its row, images and seed."""
    data = "".join(hashes[name] for name in ("clean", "protected", "labels", "test", "test_labels"))
    return content_id(f"{recipe_scope(cfg)}{data}".encode())[0]


class Runner:
    """Runs or recalls trainings and reports progress; use it as a context manager.

    Trainings run side by side, each on one thread: on small networks that is as fast as one training on all
    cores, far faster where other programs use the cores too, and the results do not depend on their number.
    A single training, or one on a GPU, runs in the calling thread with torch's own threads. The cache and
    `progress`, called with ``(done, planned, name)``, are used in the calling thread only. Rows are asked for
    in the order in which they are planned; `scope` is a result of :func:`cache_scope`.
    """

    def __init__(
        self,
        trainer: Trainer,
        planned: Sequence[Training],
        scope: str = "",
        progress: Progress | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.trainer, self.planned, self.scope, self.progress = trainer, planned, scope, progress
        self.cache: Cache = {} if cache is None else cache
        self._pending: dict[Future[Result], str] = {}
        self._finished: Finished[Result] = SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Runner:
        import torch

        from noli.train.hardware import pick_device

        trainer, planned = self.trainer, self.planned
        self._threads = torch.get_num_threads()
        count = min(self._threads, len(planned), _MOST)
        if count > 1 and pick_device(trainer.cfg.device).type == "cpu":
            # OpenMP counts threads per thread, so each worker sets its own number.
            self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
            for training in planned:
                if (key := self._key(training)) not in self.cache:
                    self._pending[submit(self._pool, self._finished, trainer.run, *training)] = key
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        try:
            for future, key in self._pending.items():
                # What is finished survives an interruption, although nobody asked for it yet.
                if future.done() and not future.cancelled() and future.exception() is None:
                    self.cache[key] = future.result()
        finally:  # keeping them may fail, on a full disk
            self.trainer.stopped.set()
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                torch.set_num_threads(self._threads)

    def row(self, measure: Measure, part: Part) -> Row:
        """Run or recall all seeds of a row and summarise them."""
        results = []
        for seed in range(self.trainer.cfg.seed_count):
            self._report(measure.name)
            results.append(self._result(Training(measure, part, seed)))
        self._report(measure.name)
        return summarise(measure, results, self.trainer.cfg.confidence)

    def protected_row(self, measure: Measure) -> Row:
        """Return a row of the battery with its context: what clean data reaches under the same training."""
        wanted = self.trainer.cfg.battery != "quick"
        row, *context = (self.row(measure, part) for part in parts(measure, context=wanted))
        return beside(measure, row, context)

    def _result(self, training: Training) -> Result:
        key = self._key(training)
        while key not in self.cache and key in self._pending.values():
            future = self._finished.get()
            self.cache[self._pending.pop(future)] = future.result()
            self._report(training.measure.name)
        if key not in self.cache:
            self.cache[key] = self.trainer.run(*training)
        return self.cache[key]

    def _report(self, name: str) -> None:
        if self.progress:
            done = sum(self._key(training) in self.cache for training in self.planned)
            self.progress(done, len(self.planned), name)

    def _key(self, training: Training) -> str:
        return f"{self.scope}|{training.key}"


def beside(measure: Measure, row: Row, context: Sequence[Row]) -> Row:
    """Return a row whose detail says what the same training reaches on what :func:`parts` names beside it."""
    detail = dict(row.detail)
    for clean in context:
        if measure.share:
            detail |= {"clean_part_only": clean.value, "clean_part_low": clean.low}
            detail["clean_part_high"] = clean.high
        elif measure.held is not None:
            detail |= {"leaked_only": clean.value, "leaked_only_high": clean.high}
        else:
            detail["clean"] = clean.value
    return row.model_copy(update={"detail": detail})


def summarise(measure: Measure, results: list[Result], confidence: float) -> Row:
    """Make a row of what :meth:`Trainer.run` returned for every seed.

    Of several test forms the best counts, also for each end of the interval, which has two-sided coverage.
    """
    n = int(results[0]["n"])
    forms = {
        form: np.stack([unpack(result["correct"][form], n) for result in results])
        for form in results[0]["correct"]
    }
    best = max(forms.values(), key=lambda correct: correct.mean())
    # The claim is about every form: one with a lower mean and a wider interval may reach higher.
    intervals = [accuracy_interval(correct, confidence) for correct in forms.values()]
    value, low, high = (max(ends) for ends in zip(*intervals, strict=True))
    detail = {name: float(np.mean([r["detail"][name] for r in results])) for name in results[0]["detail"]}
    if len(forms) > 1:
        detail |= {f"test_{form}": float(correct.mean()) for form, correct in forms.items()}
    return Row(
        name=measure.name,
        about=measure.about,
        level=measure.level,
        values=tuple(float(v) for v in best.mean(1)),
        value=value,
        low=low,
        high=high,
        n=n,
        detail=detail,
    )
