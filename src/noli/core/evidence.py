"""Evidence: one claim, how it was tested, what came out."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["supported", "not supported", "inconclusive"]
Level = Literal["naive", "routine", "adaptive"]
LEVELS: tuple[Level, ...] = ("naive", "routine", "adaptive")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Frozen):
    """One measured row of a battery.

    Attributes:
        name, about: The countermeasure, for example ``jpeg-10``, and what the trainer does in plain words.
        level: Attacker level; ``context`` rows inform but never decide.
        values: Held-out clean accuracy per seed, each in [0, 1].
        value, low, high: Their mean with its interval.
        n: Held-out items per seed.
        detail: Further numbers (images per second, PSNR gain of a leak, ...).
    """

    name: str
    about: str
    level: Level | Literal["context"]
    values: tuple[float, ...]
    value: float
    low: float
    high: float
    n: int
    detail: dict[str, float] = Field(default_factory=dict)


class LevelVerdict(_Frozen):
    """Worst case up to and including one attacker level.

    Attributes:
        level, verdict: The attacker level, and whether protection holds there.
        worst: Name of the row that decides: with the highest upper end, or lower end where it is refuted.
        value, low, high: That row's accuracy and interval.
        bound: Highest accuracy at which the claim would be supported.
    """

    level: Level
    verdict: Verdict
    worst: str
    value: float
    low: float
    high: float
    bound: float


class Evidence(_Frozen):
    """A claim with its test.

    Attributes:
        claim, null: The claim and the null hypothesis in words.
        level: Attacker level of the claim, fixed beforehand (None where levels do not apply).
        verdict, reason: Outcome at that level, and why, in plain words.
        statistic, value, low, high: Name, value and interval; None when nothing meaningful could be measured.
        bound: Threshold, fixed in advance.
        n: Number of held-out observations.
        rows, levels: Everything measured, and the verdict per attacker level.
        reference: Named reference values (clean accuracy, chance, ...).
        hashes: Digests of the data judged.
        limits: What this evidence does not show.
        config: The resolved configuration.
    """

    claim: str
    null: str
    level: Level | None
    verdict: Verdict
    reason: str
    statistic: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    n: int = 0
    rows: tuple[Row, ...] = ()
    levels: tuple[LevelVerdict, ...] = ()
    reference: dict[str, float] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)
    limits: tuple[str, ...] = ()
    config: dict[str, object] = Field(default_factory=dict)

    @property
    def supported(self) -> bool:
        """True only for the verdict ``supported``."""
        return self.verdict == "supported"

    @property
    def decides(self) -> bool:
        """False for a context row alone: it informs, and no claim is at stake."""
        return self.level is not None or not self.rows or self.rows[0].level != "context"
