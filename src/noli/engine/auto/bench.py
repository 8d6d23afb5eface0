"""Where candidates are tried: each is prepared on the sample, looked at, and trained on as verify does it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noli import options as option_parser
from noli import registry
from noli.core.dataset import Source
from noli.core.errors import DataError, NoliError
from noli.core.evidence import Row
from noli.core.images import Stored
from noli.core.interrupts import in_order
from noli.core.method import DataSummary, Spec
from noli.data.study import ArrayStudy
from noli.engine.auto.candidates import Candidate
from noli.engine.auto.quality import Quality, Reach, measured, some
from noli.engine.auto.sample import Held, Sample
from noli.engine.auto.search import Clock, Job, TimeUp
from noli.engine.request import RunRequest, load_method
from noli.engine.shard import ShardWork, blame, grouped
from noli.engine.study import files, located
from noli.methods.verify.battery import REFERENCE, Part, Trainer
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures import find
from noli.methods.verify.load import LARGEST, decoded_upright, load, shrunk, square
from noli.methods.verify.rows import summarise

# A change of which less is left at native size than this share of what a trial sees cannot be judged by it.
MIN_REACH = 0.7
_MOST = 8


class Bench:
    """Tries candidates on a sample; see :class:`noli.engine.auto.search.Bench`.

    Args:
        request: The run that a choice would end with, with any method.
        seed: First seed of the trainings.
        folder: Scratch folder for what methods keep.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        request: RunRequest,
        source: Source,
        sample: Sample,
        cfg: Config,
        seed: int,
        folder: Path,
        clock: Clock,
    ) -> None:
        self.request, self.source, self.sample = request, source, sample
        self.cfg, self.seed, self.folder, self.clock = cfg, seed, folder, clock
        clean = {one.row["path"]: one.picture.pixels for one in (*sample.train, *sample.test)}
        self._clean = Held(sample, clean.__getitem__)
        self.subject = load(self._clean, self._clean, cfg)
        self._made: dict[str, _Protected] = {}
        self._reach: dict[str, Reach] = {}
        self._trainers: dict[str, Trainer] = {"": Trainer(self.subject, cfg)}
        self._pool: ThreadPoolExecutor | None = None
        self._width = 1

    def clean(self) -> Row:
        """Return ordinary training on the clean sample."""
        return self._row("", REFERENCE, "clean")

    def ready(self, candidate: Candidate, until: float) -> Quality:
        """Prepare the method and measure quality.

        Raises:
            NoliError: The data does not meet the method's needs, or the method fails.
            TimeUp: The clock passed `until` while the method learned.
        """
        spec = registry.get(candidate.method)
        if reason := _unmet(spec, self.sample):
            raise DataError(reason)
        cfg = option_parser.resolve(spec, {**candidate.options, **candidate.trial})
        request = replace(self.request, spec=spec, cfg=cfg)
        begun = self.clock()
        state = self._prepared(candidate, request, until)
        once = self.clock() - begun
        if spec.studies:  # learning takes as many times longer as there are more pictures
            once *= 1000 / len(self.sample.train)
        place = self.folder / candidate.name.replace("/", "_")
        work = ShardWork(request, located(state, request, place), self.source)
        self._made[candidate.name] = _Protected(work, self.sample)
        self._reach[candidate.name] = reach = Reach(self._small)
        totals = self.sample.totals
        rows = some([one.row for one in self.sample.train], totals.pixels / max(totals.items, 1))
        found = measured(work, rows, once, self.clock, reach.look)
        # A trial may be a thousand times cheaper than the run: candidates are not compared by its time.
        return found._replace(seconds=math.inf, at_least=found.seconds) if candidate.trial else found

    def open(self, candidate: Candidate) -> None:
        """Make the training images.

        Raises:
            NoliError: The method fails, or its change hardly reaches the training size on larger pictures.
        """
        made = self._made[candidate.name]
        found = load(Held(self.sample, made.pixels), self._clean, self.cfg)
        # The clean arrays are shared by all candidates.
        subject = replace(self.subject, protected_x=found.protected_x, restored=found.restored)
        row_of = {one.row["path"]: row for row, one in enumerate(self.sample.train)}

        def trial(path: str) -> tuple[Stored, Stored]:
            row = row_of[path]
            return subject.clean_x[row], subject.protected_x[row]

        left = self._reach[candidate.name].ratio(trial) if self.sample.reduced else 1.0
        if left < MIN_REACH:
            raise DataError(
                f"At full size only {100 * left:.0f} % of its change is left when pictures are reduced to "
                f"{self.subject.clean_x.shape[1]} pixels, so a trial on smaller ones says nothing."
            )
        self._trainers[candidate.name] = Trainer(subject, self.cfg)

    def cells(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Row | NoliError]]:
        """Train for the jobs and yield the results in order; side by side where there is a pool."""
        if self._pool is None:
            yield from map(self._cell, jobs)
        else:
            yield from in_order(self._pool, (partial(self._cell, job) for job in jobs), self._width)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within it, trainings run side by side; at its end, however it comes, all of them stop."""
        import torch

        from noli.train.hardware import pick_device

        threads = torch.get_num_threads()
        self._width = min(threads, _MOST) if pick_device(self.cfg.device).type == "cpu" else 1
        if self._width > 1:
            # OpenMP counts threads per thread, so each worker sets its own number.
            self._pool = ThreadPoolExecutor(self._width, initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield
        finally:
            for trainer in self._trainers.values():
                trainer.stopped.set()
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                torch.set_num_threads(threads)

    def _prepared(self, candidate: Candidate, request: RunRequest, until: float) -> dict[str, Any]:
        def tell(done: int, total: int, what: str) -> None:
            if self.clock() >= until:
                raise TimeUp

        train, totals = self.sample.train, self.sample.totals
        folder = files(self.folder / candidate.name.replace("/", "_"))
        folder.mkdir(parents=True)
        items = [one.item for one in train]
        # As in a run: what needs no pictures to learn from gets none.
        study = ArrayStudy(
            items, [one.picture.pixels for one in train], folder, tell, shown=request.spec.sees
        )
        classes = tuple(sorted({str(item.label) for item in items}))
        summary = DataSummary(len(items), classes, totals.summary("").shapes, request.source, study)
        key: Any = request.key
        return load_method(request.spec.module).prepare(summary, key, request.cfg, None)

    def _small(self, pixels: Stored) -> npt.NDArray[np.uint8]:
        """Bring stored pixels to the training size as the loader does it."""
        _, side, _, channels = self.subject.clean_x.shape
        cap = LARGEST if self.cfg.size == "auto" else self.cfg.size
        return square(shrunk(decoded_upright(pixels, ""), cap), side, channels)

    def _cell(self, job: Job) -> tuple[Job, Row | NoliError]:
        try:
            return job, self._row(job.candidate.name, job.row, "protected")
        except NoliError as error:
            return job, error

    def _row(self, name: str, row: str, part: Part) -> Row:
        measure, trainer = find(row, self.cfg), self._trainers[name]
        seeds = range(self.seed, self.seed + self.cfg.seed_count)
        return summarise(measure, [trainer.run(measure, part, seed) for seed in seeds], self.cfg.confidence)


class _Protected:
    """The training pictures under one candidate, made a few at a time when they are read."""

    def __init__(self, work: ShardWork, sample: Sample) -> None:
        self._work, self._sample = work, sample
        self._place = {one.row["path"]: place for place, one in enumerate(sample.train)}
        self._near: Mapping[str, Stored] = {}

    def pixels(self, path: str) -> Stored:
        """Return one protected picture ``[H, W, C]``; its neighbours are kept for the next calls."""
        if path not in self._near:
            group = next(grouped(islice(self._sample.train, self._place[path], None)))
            try:
                pixels, _ = self._work.transform(group)
            except Exception as exc:
                raise blame(group[0].row, exc) from exc
            self._near = dict(zip((one.row["path"] for one in group), pixels, strict=True))
        return self._near[path]


def _unmet(spec: Spec, sample: Sample) -> str:
    """Say which need of a method this data does not meet; empty when it meets all."""
    if "color" in spec.needs and any(shape[2] == 1 for shape in sample.totals.shapes):
        return "It needs colour images, and some of these are grey."
    if "text" in spec.needs and any(one.item.text is None for one in sample.train):
        return "It needs a caption for every picture."
    return ""
