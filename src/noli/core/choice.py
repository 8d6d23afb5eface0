"""Choice: which protection was picked for a data set, among which, and by what figures."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from noli.core.errors import UsageError
from noli.core.evidence import LEVELS, Level, Row, Verdict

Standing = Literal["picked", "frontier", "dominated", "unfinished", "below the floor", "skipped"]


class NoChoice(UsageError):
    """Nothing was protected: no candidate meets the floor, or the best one does not hold.

    Attributes:
        choice: What was tried, with its figures.
    """

    exit_code = 1  # an honest "nothing holds", as by `verify`
    choice: Choice


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tried(_Frozen):
    """One candidate and what came of it.

    Attributes:
        name, method, options: What it is called here, its registry name, and options beside the defaults.
        trial: Options of the trial only, which make learning cheap; the run itself uses the defaults.
        standing: How it ended. ``frontier``: measured, and nothing else is as good in accuracy, PSNR and
            time. ``dominated``: something is. ``unfinished``: time ran out, or its other rows cannot matter.
        reason: Why it was set aside, in words.
        images: Pictures on which quality was measured at native size, as stored; 0 if none.
        psnr, psnr_min: Mean and smallest over the changed ones in dB; None when none changed.
        ssim, ssim_min: Mean and smallest.
        seconds: Seconds per 1,000 pictures, preparation included, with one process; None where the run learns
            and the trial did so with fewer steps.
        at_least: There, what the trial took: the run takes longer.
        rows: Measured rows.
    """

    name: str
    method: str
    options: dict[str, object] = Field(default_factory=dict)
    trial: dict[str, object] = Field(default_factory=dict)
    standing: Standing
    reason: str = ""
    images: int = 0
    psnr: float | None = None
    psnr_min: float | None = None
    ssim: float | None = None
    ssim_min: float | None = None
    seconds: float | None = None
    at_least: float | None = None
    rows: tuple[Row, ...] = ()

    def worst(self, level: Level = "adaptive") -> Row | None:
        """Return the measured row with the highest accuracy up to an attacker level, or None."""
        within = [row for row in self.rows if row.level in LEVELS[: LEVELS.index(level) + 1]]
        return max(within, key=lambda row: row.value, default=None)


class Floor(_Frozen):
    """Smallest mean PSNR (dB) and SSIM that a candidate must keep on the sample."""

    psnr: float
    ssim: float


class Choice(_Frozen):
    """What was tried, and what was picked.

    Attributes:
        picked: Name of the candidate; None when nothing meets the floor or nothing was measured.
        verdict: Whether it holds up to the level of the claim, by the measured rows; None without a pick.
        holds: It was measured under every row, and its worst accuracy is not above the bound.
        reason: Why this one, in plain words.
        rule: How candidates are compared, fixed beforehand.
        claim: Attacker level up to which rows count.
        floor: Quality that was asked for.
        seed: First seed of the trainings.
        source, key: Where the data lies, and the id of the key.
        complete: Whether everything was measured that the pick depends on.
        budget, spent: Seconds allowed for the trials (None: as many as it takes), and used.
        clean: Ordinary training on the clean sample.
        chance: Accuracy of guessing.
        bound: Accuracy that the pick may reach at most, by the rule of ``noli verify``.
        rows: The rows that count with their levels, in the order in which they are run.
        candidates: Everything that was considered, the pick first.
        sample: Counts: ``training``, ``held_out``, ``classes``, ``side`` (pixels), ``pictures`` in all.
        limits: What this choice does not show.
        config: Settings of the trainings.
    """

    picked: str | None
    verdict: Verdict | None
    holds: bool
    reason: str
    rule: str
    claim: Level
    floor: Floor
    seed: int
    source: str
    key: str
    complete: bool
    budget: float | None
    spent: float
    clean: Row
    chance: float
    bound: float
    rows: dict[str, Level]
    candidates: tuple[Tried, ...]
    sample: dict[str, int]
    limits: tuple[str, ...] = ()
    config: dict[str, object] = Field(default_factory=dict)

    @property
    def pick(self) -> Tried | None:
        """The picked candidate."""
        return next((tried for tried in self.candidates if tried.name == self.picked), None)

    @property
    def unbroken(self) -> bool:
        """Whether no row that was measured on the pick is above the bound."""
        worst = self.pick.worst() if self.pick else None
        return worst is not None and worst.value <= self.bound

    def covers(self, tried: Tried, level: Level) -> bool:
        """Tell whether all rows up to an attacker level were measured on a candidate."""
        within = LEVELS[: LEVELS.index(level) + 1]
        return {name for name, at in self.rows.items() if at in within} <= {row.name for row in tried.rows}
