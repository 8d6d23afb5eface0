"""From measured rows to a verdict, and why, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noli.core.evidence import LEVELS, Level, LevelVerdict, Row, Verdict
from noli.methods.verify.subject import Labels, LearnabilityData
from noli.ops.metrics import percent


def too_small(subject: LearnabilityData, min_test: int, min_per_class: int, share: float) -> str | None:
    """Say why the data cannot give an answer, before anything is trained; None when it can.

    `share` is that of the pictures that are held out where there is no test split.
    """
    if len(subject.test_y) < min_test:
        return (
            f"Too few held-out clean images: {len(subject.test_y)}, at least {min_test} are needed for an "
            f"interval that means something. Add images or a test split: without one about "
            f"{round(min_test / share)} pictures are needed in all."
        )
    counts = np.bincount(subject.protected_y, minlength=len(subject.classes))
    poor = [name for name, count in zip(subject.classes, counts, strict=True) if count < min_per_class]
    if poor:
        return (
            f"Too few training images (fewer than {min_per_class}) in {len(poor)} of {len(subject.classes)} "
            f"classes: {', '.join(poor[:5])}. Add images, or merge or leave out these classes."
        )
    return None


def chance(test_y: Labels, classes: int) -> float:
    """Accuracy without looking at images: the larger of 1/K and the share of the commonest test class."""
    shares = np.bincount(test_y, minlength=classes) / max(len(test_y), 1)
    return max(1 / classes, float(shares.max()))


def bounds(clean: Row, base: float, share: float) -> tuple[float, float]:
    """Return the accuracies below which the claim is supported and above which it is refuted.

    Both are ``base + share * (clean - base)``, with the lower and the upper end of the clean interval, so
    that uncertainty about the clean accuracy never helps a claim.
    """
    return base + share * max(clean.low - base, 0.0), base + share * max(clean.high - base, 0.0)


def verdict_of(rows: Sequence[Row], allowed: float, refuted: float) -> Verdict:
    """Return the verdict on rows by the two bounds of :func:`bounds`."""
    if max(row.high for row in rows) <= allowed:
        return "supported"
    return "not supported" if max(row.low for row in rows) > refuted else "inconclusive"


def from_originals(row: Row) -> bool:
    """Tell whether a thief may have learned it all from the leaked originals, which nothing protects.

    So it is where the row's interval does not lie above that of a training on these originals alone.
    """
    return row.low <= row.detail.get("leaked_only_high", -1.0)


def _says_nothing(row: Row, allowed: float) -> bool:
    return row.high > allowed and from_originals(row)


def judge_levels(rows: Sequence[Row], clean: Row, base: float, share: float) -> tuple[LevelVerdict, ...]:
    """Return the verdict at every level; each level includes the rows of the levels below it.

    ``supported``: every row's upper end stays at or below the bound. Requiring it of all rows is an
    intersection-union test, so no correction for their number is needed. ``not supported``: some row's
    lower end lies above the bound that the upper end of the clean accuracy gives; it is not corrected for
    the number of rows, and so errs towards withdrawing a claim. Otherwise ``inconclusive``. A row above the
    bound whose thief may have learned it all from the originals that leaked says nothing, and does not count.
    """
    allowed, refuted = bounds(clean, base, share)
    verdicts = []
    for i, level in enumerate(LEVELS):
        included = [row for row in rows if row.level in LEVELS[: i + 1] and not _says_nothing(row, allowed)]
        verdict = verdict_of(included, allowed, refuted)
        # The row that decides: intervals differ in width, and it need not be the one with the largest value.
        worst = max(included, key=lambda row: row.low if verdict == "not supported" else row.high)
        numbers = worst.model_dump(include={"value", "low", "high"})
        verdicts.append(
            LevelVerdict(level=level, verdict=verdict, worst=worst.name, bound=allowed, **numbers)
        )
    return tuple(verdicts)


def withheld(levels: Sequence[LevelVerdict], missing: str) -> tuple[LevelVerdict, ...]:
    """Withhold "supported" where a row was not measured, because that row might have refuted it.

    Returns:
        The same levels; from that of the row, `missing`, on, those that were supported are inconclusive.
        ``context`` withholds nothing.
    """
    first = LEVELS.index(missing) if missing in LEVELS else len(LEVELS)
    return tuple(
        at.model_copy(update={"verdict": "inconclusive"})
        if at.verdict == "supported" and LEVELS.index(at.level) >= first
        else at
        for at in levels
    )


def explain(
    levels: Sequence[LevelVerdict], claim: Level, clean: Row, base: float, rows: Sequence[Row] = ()
) -> str:
    """Say in plain words what came out, at the claimed level first, and where it stops holding."""
    at = next(level for level in levels if level.level == claim)
    text = (
        f"Up to the {claim} level the training that decides is {at.worst}: {percent(at.value)} "
        f"({percent(at.low)} to {percent(at.high)}) on held-out clean images. The claim allows at most "
        f"{percent(at.bound)}; clean data teaches {percent(clean.value)}, chance is {percent(base)}."
    )
    if at.verdict == "inconclusive" and at.high > at.bound:
        text += (
            " With the uncertainty of both figures that is not clearly on one side of the bound: use more "
            "held-out images or more seeds."
        )
    if at.high < base:
        text += (
            " This is below chance by its whole interval: models learned something that misleads them on "
            "clean images. Protections can do this, and so do wrong labels: check that they are true."
        )
    for other in levels:
        if other.verdict != at.verdict:
            reached = f"{other.worst} reaches {percent(other.value)}"
            text += f" At the {other.level} level: {other.verdict} ({reached})."
    for row in rows:
        if _says_nothing(row, at.bound):
            text += f" {row.name} does not count: it reaches {percent(row.value)}, and the leaked originals "
            text += f"alone teach {percent(row.detail['leaked_only'])}."
    return text


def alone(rows: Sequence[Row], clean: Row, base: float, allowed: float) -> str:
    """Say in plain words what one countermeasure reached: its row, then the same training on clean images."""
    row, *others = rows
    text = (
        f"Training under {row.name} reaches {percent(row.value)} ({percent(row.low)} to {percent(row.high)})"
    )
    text += " on held-out clean images"
    if others and row.level != "context":
        what = "the leaked originals alone" if "leaked_only" in row.detail else "clean data"
        text += f", on {what} {percent(others[0].value)}"
    if row.level == "context":
        return f"{text}. This row informs and never decides: it does not ask the question of the others."
    return (
        f"{text}. To count as protected it may reach {percent(allowed)}; ordinary training on clean data "
        f"reaches {percent(clean.value)}, chance is {percent(base)}."
    )
