"""What somebody asks of a choice, and how candidates are compared."""

from __future__ import annotations

from pydantic import Field

from noli.core.evidence import Level
from noli.core.method import MethodConfig
from noli.train.options import Seconds

RULE = (
    "Among the candidates that meet the floor, those that hold (worst accuracy not above the bound) go "
    "before those that do not; the lowest worst accuracy wins. Those within the upper end of its interval "
    "count as equal: among them better PSNR wins, then less time. When time runs out before one is found "
    "that holds in all rows, those compete that held in the most rows."
)
LIMITS = (
    "Tried on a sample, with one small network and short trainings: verify the protected data itself.",
    "Learning methods were tried with fewer steps than the run will take; they may do better or worse.",
    "Large pictures were reduced before the trainings; their quality was measured at full size.",
    "Only the candidates and rows of the table were tried, with one seed.",
    "The figures of the pick, the lowest of several, are on the lucky side.",
)


class Asked(MethodConfig):
    """Floor, budget and claim of a choice."""

    psnr: float = Field(22.0, ge=0, description="smallest mean PSNR in dB")
    ssim: float = Field(0.7, ge=-1, le=1, description="smallest mean SSIM")
    time: Seconds = Field(600.0, gt=0, description="seconds for the trials; 90s, 10m and 2h are read")
    claim: Level = Field("adaptive", description="attacker level up to which accuracies count")
    only: tuple[str, ...] = Field((), description="candidates to try, in this order; none: all")
    seed: int = Field(0, ge=0, description="first seed of the trainings")


# Rows of every attacker level, in the order in which they are run: those that decide most, first.
ROWS = ("crop+flip", "jpeg-10", "coin", "grayscale", "rsk+ff", "op", "leak-1-pair", "adversarial")
# Settings of the trainings; they are those of `noli verify`.
TRAININGS: dict[str, object] = {
    "network": "tiny",
    "min_steps": 100,
    "max_items": 1000,
    "max_test": 400,
    "holdout": 0.3,
    "seeds": 1,
}
