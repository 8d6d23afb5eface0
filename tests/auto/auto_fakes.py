"""Invented candidates and a bench that looks results up, with a clock that moves only when it works."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from noli import registry
from noli.core.choice import Choice, Floor
from noli.core.errors import DataError, NoliError
from noli.core.evidence import Row
from noli.core.key import Key
from noli.engine.auto.asked import Asked
from noli.engine.auto.candidates import Candidate
from noli.engine.auto.quality import Quality
from noli.engine.auto.search import Board, Job, TimeUp, search
from noli.engine.auto.telling import Facts, told
from noli.engine.request import RunRequest
from noli.methods.verify.config import Config
from noli.ops.stats import wilson

LEVELS = ("naive", "routine", "adaptive")
N = 400
ROWS: dict[str, Any] = dict(zip(("a", "b", "c"), LEVELS, strict=True))


def row(name: str, value: float, level: str = "adaptive") -> Row:
    low, high = wilson(round(value * N), N)
    return Row(name=name, about=name, level=level, values=(value,), value=value, low=low, high=high, n=N)  # type: ignore[arg-type]


def quality(psnr: float = 30.0, ssim: float = 0.9, seconds: float = 1.0) -> Quality:
    return Quality(psnr, psnr, ssim, ssim, seconds, 8)


@dataclass
class FakeBench:
    """Results by candidate and row.

    Attributes:
        accuracy: Candidate -> row -> accuracy, or a text: the training fails with it.
        looks: Candidate -> quality, or a text.
        width: Jobs taken before the first result is given.
        now: The clock.
        price, ready_price: Ticks of a training, and of making ready.
        opening: Candidates that cannot be trained on.
    """

    accuracy: dict[str, dict[str, float | str]]
    looks: dict[str, Quality | str]
    width: int = 1
    now: float = 0.0
    price: float = 1.0
    ready_price: dict[str, float] = field(default_factory=dict)
    opening: set[str] = field(default_factory=set)
    trained: list[tuple[str, str]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def candidates(self) -> list[Candidate]:
        return [Candidate(name, f"protect/{name}") for name in self.looks]

    def ready(self, candidate: Candidate, until: float) -> Quality:
        self.now += self.ready_price.get(candidate.name, 0.0)
        if self.now > until:
            raise TimeUp
        found = self.looks[candidate.name]
        if isinstance(found, str):
            raise DataError(found)
        return found

    def open(self, candidate: Candidate) -> None:
        if candidate.name in self.opening:
            raise DataError("It cannot be opened.")

    def cells(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Row | NoliError]]:
        jobs = iter(jobs)
        waiting = list(islice(jobs, self.width))
        while waiting:
            job, *waiting = waiting
            self.now += self.price
            self.trained.append((job.candidate.name, job.row))
            found, level = self.accuracy[job.candidate.name][job.row], ROWS.get(job.row, "adaptive")
            yield job, DataError(found) if isinstance(found, str) else row(job.row, found, level)
            waiting += islice(jobs, 1)


def invented(seed: int, rows: tuple[str, ...], width: int = 1) -> FakeBench:
    """A bench with up to nine candidates: ties, low quality and failures among them."""
    draw = np.random.default_rng(seed)
    names = [f"c{number}" for number in range(draw.integers(1, 10))]
    # Whole percents and few PSNR values, so that equal figures occur.
    accuracy: dict[str, dict[str, float | str]] = {
        name: {row: float(draw.integers(5, 90)) / 100 for row in rows} for name in names
    }
    looks: dict[str, Quality | str] = {
        name: quality(
            float(draw.integers(20, 26)), float(draw.choice([0.6, 0.8])), float(draw.integers(1, 4))
        )
        for name in names
    }
    for name in names:
        if draw.random() < 0.15:
            accuracy[name][rows[draw.integers(len(rows))]] = "The training fails."
        if draw.random() < 0.1:
            looks[name] = "The method fails."
    return FakeBench(accuracy, looks, width)


def facts(key: Key, **asked: Any) -> Facts:
    spec = registry.get("protect/cuda")
    request = RunRequest("photos", "safe", spec, spec.config(), key)
    sample = {"training": 100, "held_out": 400, "classes": 2, "side": 32, "pictures": 500}
    return Facts(request, Asked(**asked), Config(), ROWS, row("clean", 0.8), 0.1, 12.34, sample, reduced=True)


def choice(
    bench: FakeBench, key: Key, *, budget: float = math.inf, allowed: float = 0.4, **asked: Any
) -> Choice:
    known = facts(key, **asked)
    board = Board(bench.candidates(), tuple(ROWS), allowed)
    floor = Floor(psnr=known.asked.psnr, ssim=known.asked.ssim)
    search(board, bench, floor, bench.clock, 0.0, budget, lambda: None)
    return told(board, known)


def table(**values: float) -> FakeBench:
    return FakeBench({n: dict.fromkeys(ROWS, v) for n, v in values.items()}, dict.fromkeys(values, quality()))
