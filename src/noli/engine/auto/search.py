"""Which trainings are worth their time, and which candidate wins: no images, no networks, no clock.

The worst accuracy of the rows measured so far is a lower bound of a candidate's final worst. The candidate
with the lowest bound is therefore always trained next; once it is complete, everything with a higher bound
than the upper end of its interval has lost, whatever its other rows would say. The choice is the one that
measuring everything would give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from noli.core.choice import Floor
from noli.core.errors import NoliError
from noli.core.evidence import Row
from noli.engine.auto.candidates import Candidate
from noli.engine.auto.quality import Quality

Clock = Callable[[], float]
# Getting candidates ready (learning noise above all) may take this share of the time.
READY_SHARE = 0.5
LATE = "no time was left to make it ready; give more --time"


class TimeUp(Exception):
    """A candidate could not be made ready in time."""


class Job(NamedTuple):
    """One training that is asked for: a candidate and a row."""

    candidate: Candidate
    row: str


class Bench(Protocol):
    """Where candidates are tried."""

    def ready(self, candidate: Candidate, until: float) -> Quality:
        """Prepare the method and measure quality; raises NoliError where it cannot, TimeUp after `until`."""

    def open(self, candidate: Candidate) -> None:
        """Make the training images; raises NoliError where trials of this candidate would say nothing."""

    def cells(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Row | NoliError]]:
        """Train for the jobs, in their order; several may be taken before the first is done."""


@dataclass
class State:
    """What is known of one candidate.

    Attributes:
        candidate: The candidate.
        quality: Known once it was ready.
        rows: Measured rows by name.
        asked: Rows that were asked for.
        low: It lies below the floor.
        failed: Why it is out, in words.
        late: It is out for want of time.
    """

    candidate: Candidate
    quality: Quality = field(default_factory=Quality)
    rows: dict[str, Row] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    low: bool = False
    failed: str = ""
    late: bool = False

    @property
    def running(self) -> bool:
        """Whether it can still be picked."""
        return self.quality.images > 0 and not (self.low or self.failed)

    @property
    def worst(self) -> Row:
        """The measured row with the highest accuracy; there must be one."""
        return max(self.rows.values(), key=lambda row: row.value)

    @property
    def cost(self) -> tuple[float, float, float]:
        """Worst accuracy so far, PSNR with its sign changed, seconds: less is better in all of them."""
        return self.worst.value, -self.quality.psnr, self.quality.seconds

    def dominates(self, other: State) -> bool:
        """Whether it is at least as good as another in everything, and better in something."""
        pairs = list(zip(self.cost, other.cost, strict=True))
        return all(mine <= theirs for mine, theirs in pairs) and any(mine < theirs for mine, theirs in pairs)


class Board:
    """All candidates, and what to do next.

    Args:
        candidates: In the order in which they are made ready.
        rows: Names of the rows, in the order in which they are run; the first one is run for everybody.
        allowed: Accuracy up to which a candidate holds.
    """

    def __init__(self, candidates: Sequence[Candidate], rows: Sequence[str], allowed: float) -> None:
        self.states = [State(candidate) for candidate in candidates]
        self.rows, self.allowed = tuple(rows), allowed
        self._of = {state.candidate.name: state for state in self.states}

    @property
    def measured(self) -> list[State]:
        """Candidates that meet the floor, with at least one row."""
        return [state for state in self.states if state.running and state.rows]

    @property
    def complete(self) -> list[State]:
        """Candidates with all rows."""
        return [state for state in self.measured if len(state.rows) == len(self.rows)]

    def next(self) -> Job | None:
        """Return the training that is worth most now; None when none could change anything."""
        for state in self.states:
            if state.running and not state.asked:
                return Job(state.candidate, self.rows[0])
        waiting = [state for state in self.measured if len(state.asked) < len(self.rows)]
        ended = self.complete
        limit = self._limit(ended)
        hopeful = [state for state in waiting if state.worst.value <= limit]
        for group in (hopeful, [s for s in waiting if not any(d.dominates(s) for d in ended)]):
            if group:
                state = min(group, key=lambda state: state.worst.value)
                return Job(state.candidate, next(row for row in self.rows if row not in state.asked))
        return None

    def decided(self) -> bool:
        """Whether nothing that is still unmeasured could change the pick."""
        limit, ended = self._limit(self.complete), self.complete
        open_ = [state for state in self.states if state.running and state not in ended]
        missed = any(state.late for state in self.states)
        return bool(ended) and not missed and all(s.rows and s.worst.value > limit for s in open_)

    def take(self, job: Job, found: Row | NoliError) -> None:
        """Note the result of a training."""
        state = self._of[job.candidate.name]
        if isinstance(found, NoliError):
            state.failed = state.failed or f"{job.row}: {found.what}"
        else:
            state.rows[job.row] = found

    def ask(self, job: Job) -> Job:
        """Note that a training is on its way."""
        self._of[job.candidate.name].asked.add(job.row)
        return job

    def pick(self) -> tuple[State, list[State]] | None:
        """Return the winner by the rule, and those that count as equal; None when nothing was measured."""
        ended, allowed = self.complete, self.allowed
        if not any(state.worst.value <= allowed for state in ended):
            rising = [s for s in self.measured if s not in ended and s.worst.value <= allowed]
            most = max((len(state.rows) for state in rising), default=0)
            ended = [s for s in rising if len(s.rows) == most] or ended or self.measured
        return best(ended, allowed) if ended else None

    def _limit(self, ended: list[State]) -> float:
        """Bound above which an unfinished candidate has lost against the complete ones."""
        if not ended:
            return math.inf
        leader = min(ended, key=lambda state: state.worst.value).worst
        return min(leader.high, self.allowed) if leader.value <= self.allowed else leader.high


def best(states: Sequence[State], allowed: float) -> tuple[State, list[State]]:
    """Apply the rule to candidates that were measured alike.

    Returns:
        The winner, and all that count as equal to the lowest worst accuracy.
    """
    holding = [state for state in states if state.worst.value <= allowed] or list(states)
    leader = min(holding, key=lambda state: state.worst.value).worst
    equal = [state for state in holding if state.worst.value <= leader.high]
    return min(equal, key=lambda state: state.cost[1:]), equal


def search(
    board: Board,
    bench: Bench,
    floor: Floor,
    clock: Clock,
    begun: float,
    budget: float,
    step: Callable[[], None],
) -> None:
    """Fill the board until nothing more could change anything, or time is up.

    A training that has begun is finished. The first candidate is made ready however short the time is. The
    budget is in seconds, infinity for as many as it takes, counted from `begun` on by the monotonic clock;
    `step` is called after everything that was done.
    """
    for place, state in enumerate(board.states):
        _make_ready(state, bench, floor, clock, math.inf if place == 0 else begun + READY_SHARE * budget)
        step()

    def jobs() -> Iterator[Job]:
        # However short the time is, something has to be measured.
        while (clock() < begun + budget or not board.measured) and (job := board.next()) is not None:
            yield board.ask(job)

    more = True
    while more:  # results that come late can make further trainings worth their time
        more = False
        for job, found in bench.cells(jobs()):
            board.take(job, found)
            step()
            more = True


def _make_ready(state: State, bench: Bench, floor: Floor, clock: Clock, until: float) -> None:
    try:
        if clock() >= until:
            raise TimeUp
        state.quality = bench.ready(state.candidate, until)
        state.low = state.quality.psnr < floor.psnr or state.quality.ssim < floor.ssim
        if not state.low:
            bench.open(state.candidate)
    except TimeUp:
        state.late, state.failed = True, LATE
    except NoliError as error:
        state.failed = " ".join(filter(None, (error.what, error.why)))
