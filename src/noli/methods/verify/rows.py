"""From single trainings to rows: the plan, the cache of finished trainings, the summary over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.core.dataset import content_id
from noli.core.evidence import Row
from noli.methods.verify.battery import REFERENCE, Measure, Part, Trainer, unpack
from noli.methods.verify.config import Config
from noli.methods.verify.workers import workers
from noli.ops.stats import accuracy_interval

Progress = Callable[[int, int, str], None]
_VERDICT_ONLY = {
    "claim", "bound", "seeds", "battery", "min_gain", "partial", "min_likeness", "max_relabelled"
}  # fmt: skip
Cache = MutableMapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Training:
    """One training: a countermeasure, the images it sees, a seed."""

    measure: Measure
    part: Part
    seed: int

    @property
    def key(self) -> str:
        """Name in the cache, unique within one subject and configuration."""
        return f"{self.measure.name}|{self.part}|{self.seed}"


def plan(measures: tuple[Measure, ...], cfg: Config) -> list[Training]:
    """Return all trainings in the order in which they are run; the clean reference first."""
    parts: list[tuple[Measure, Part]] = [(m, "clean") for m in measures if m.name == REFERENCE]
    for measure in measures:
        parts.append((measure, "mixed" if measure.share else "protected"))
        if measure.share:
            parts.append((measure, "clean-part"))
        elif _also_clean(measure, cfg):
            parts.append((measure, "clean"))
    return [Training(m, part, seed) for m, part in parts for seed in range(cfg.seed_count)]


def _also_clean(measure: Measure, cfg: Config) -> bool:
    # The reference row was trained on clean data already; restoring clean data means nothing.
    return cfg.battery == "standard" and not measure.leaked and measure.name != REFERENCE


def recipe_scope(cfg: Config) -> str:
    """Return everything but data, row and seed that decides a training: configuration and versions."""
    # What changes the verdict but not a training must not throw finished trainings away.
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
    A single training, or one on a GPU, runs in the calling thread with torch's own threads.

    Args:
        trainer: Runs one training.
        planned: Trainings that will be asked for, in this order.
        scope: Result of :func:`cache_scope`.
        progress: Called with ``(done, planned, name)``, always in the calling thread.
        cache: Finished trainings; written in the calling thread.
    """

    def __init__(
        self,
        trainer: Trainer,
        planned: Sequence[Training],
        scope: str,
        progress: Progress | None,
        cache: Cache | None,
    ) -> None:
        self.trainer, self.planned, self.scope, self.progress = trainer, planned, scope, progress
        self.cache: Cache = {} if cache is None else cache
        self._pool = workers(trainer.cfg.device, len(planned))
        self._pending: dict[Future[dict[str, Any]], str] = {}

    def __enter__(self) -> Runner:
        if self._pool is not None:
            for training in self.planned:
                if self._key(training) not in self.cache:
                    t = training
                    self._pending[self._pool.submit(self.trainer.run, t.measure, t.part, t.seed)] = self._key(
                        t
                    )
        return self

    def __exit__(self, *_: object) -> None:
        for future, key in self._pending.items():
            # What is finished survives an interruption, although nobody asked for it yet.
            if future.done() and future.exception() is None:
                self.cache[key] = future.result()
        self.trainer.stopped.set()
        if self._pool is not None:
            self._pool.close()

    def row(self, measure: Measure, part: Part) -> Row:
        """Run or recall all seeds of a row and summarise them."""
        results = []
        for seed in range(self.trainer.cfg.seed_count):
            training = Training(measure, part, seed)
            self._report(measure.name)
            results.append(self._result(training))
        self._report(measure.name)
        return summarise(measure, results, self.trainer.cfg.confidence)

    def _result(self, training: Training) -> dict[str, Any]:
        key = self._key(training)
        while key not in self.cache and key in self._pending.values():
            for future in wait(self._pending, return_when=FIRST_COMPLETED).done:
                self.cache[self._pending.pop(future)] = future.result()
            self._report(training.measure.name)
        if key not in self.cache:
            self.cache[key] = self.trainer.run(training.measure, training.part, training.seed)
        return self.cache[key]

    def _report(self, name: str) -> None:
        if self.progress:
            done = sum(self._key(training) in self.cache for training in self.planned)
            self.progress(done, len(self.planned), name)

    def _key(self, training: Training) -> str:
        return f"{self.scope}|{training.key}"

    def protected_row(self, measure: Measure) -> Row:
        """Return a row of the battery with its context: what clean data reaches under the same training."""
        row = self.row(measure, "mixed" if measure.share else "protected")
        if measure.share:
            alone = self.row(measure, "clean-part")
            detail = {
                "clean_part_only": alone.value,
                "clean_part_low": alone.low,
                "clean_part_high": alone.high,
            }
            return row.model_copy(update={"detail": row.detail | detail})
        if _also_clean(measure, self.trainer.cfg):
            return row.model_copy(update={"detail": row.detail | {"clean": self.row(measure, "clean").value}})
        return row


def summarise(measure: Measure, results: list[dict[str, Any]], confidence: float) -> Row:
    """Make a row of the trainings of all seeds; of several test forms the better one counts.

    Args:
        measure: Countermeasure.
        results: What :meth:`Trainer.run` returned, one per seed.
        confidence: Two-sided coverage.
    """
    n = int(results[0]["n"])
    forms: dict[str, npt.NDArray[np.bool_]] = {
        form: np.stack([unpack(result["correct"][form], n) for result in results])
        for form in results[0]["correct"]
    }
    best = max(forms, key=lambda form: forms[form].mean())
    value, low, high = accuracy_interval(forms[best], confidence)
    detail = {name: float(np.mean([r["detail"][name] for r in results])) for name in results[0]["detail"]}
    if len(forms) > 1:
        detail |= {f"test_{form}": float(correct.mean()) for form, correct in forms.items()}
    return Row(
        name=measure.name,
        about=measure.about,
        level=measure.level,
        values=tuple(float(v) for v in forms[best].mean(1)),
        value=value,
        low=low,
        high=high,
        n=n,
        detail=detail,
    )
