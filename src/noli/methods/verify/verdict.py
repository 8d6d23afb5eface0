"""From measured rows to a verdict: pure arithmetic, fixed before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noli.core.evidence import LEVELS, Level, LevelVerdict, Row, Verdict
from noli.methods.verify.subject import Labels, LearnabilityData


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


def judge_levels(rows: Sequence[Row], clean: Row, base: float, share: float) -> tuple[LevelVerdict, ...]:
    """Return the verdict at every level; each level includes the rows of the levels below it.

    ``supported``: every row's upper end stays at or below the bound. Requiring it of all rows is an
    intersection-union test, so no correction for their number is needed. ``not supported``: some row's
    lower end lies above. Otherwise ``inconclusive``.
    """
    allowed, refuted = bounds(clean, base, share)
    verdicts = []
    for i, level in enumerate(LEVELS):
        included = [row for row in rows if row.level in LEVELS[: i + 1]]
        worst = max(included, key=lambda row: row.value)
        verdict: Verdict = "inconclusive"
        if max(row.high for row in included) <= allowed:
            verdict = "supported"
        elif max(row.low for row in included) > refuted:
            verdict = "not supported"
        verdicts.append(
            LevelVerdict(
                level=level,
                verdict=verdict,
                worst=worst.name,
                value=worst.value,
                low=worst.low,
                high=worst.high,
                bound=allowed,
            )
        )
    return tuple(verdicts)


def explain(levels: Sequence[LevelVerdict], claim: Level, clean: Row, base: float) -> str:
    """Say in plain words what came out, at the claimed level first, and where it stops holding."""
    at = next(level for level in levels if level.level == claim)
    text = (
        f"Up to the {claim} level the most successful training is {at.worst}: {_percent(at.value)} "
        f"({_percent(at.low)} to {_percent(at.high)}) on held-out clean images. The claim allows at most "
        f"{_percent(at.bound)}; clean data teaches {_percent(clean.value)}, chance is {_percent(base)}."
    )
    if at.verdict == "inconclusive":
        text += " The interval lies across the bound: use more held-out images or more seeds."
    if at.high < base:
        text += (
            " This is below chance by its whole interval: models learned something that misleads them on "
            "clean images. Protections can do this, and so do wrong labels: check that they are true."
        )
    others = [level for level in levels if level.level != claim and level.verdict != at.verdict]
    for level in others:
        text += (
            f" At the {level.level} level: {level.verdict} ({level.worst} reaches {_percent(level.value)})."
        )
    return text


def too_small(subject: LearnabilityData, min_test: int, min_per_class: int) -> str | None:
    """Say why the data cannot give an answer, before anything is trained; None when it can."""
    if len(subject.test_y) < min_test:
        return (
            f"Too few held-out clean images: {len(subject.test_y)}, at least {min_test} are needed for an "
            "interval that means something. Add images or a test split."
        )
    counts = np.bincount(subject.protected_y, minlength=len(subject.classes))
    poor = [name for name, count in zip(subject.classes, counts, strict=True) if count < min_per_class]
    if poor:
        return (
            f"Too few training images (fewer than {min_per_class}) in {len(poor)} of {len(subject.classes)} "
            f"classes: {', '.join(poor[:5])}. Add images, or merge or leave out these classes."
        )
    return None


def other_pictures(share: float, least: float) -> str:
    """Say that the protected pictures were not made of the originals they are matched with."""
    return (
        "These are not protected versions of these originals: a protected picture resembles its own original "
        f"more than another one in only {_percent(share)} of comparisons (chance is 50 %, at least "
        f"{_percent(least)} are needed). Are folders or files mixed up? Nothing was trained."
    )


def other_labels(share: float, most: float) -> str:
    """Say that the protected items carry other labels than their originals."""
    return (
        f"{_percent(share)} of the protected items carry another label than their original (at most "
        f"{_percent(most)} may): a trainer with the true labels is judged, and wrong labels would pass for "
        "protection. Correct the labels and verify again. Nothing was trained."
    )


def teaches_nothing(clean: Row, base: float) -> str:
    """Say why nothing was judged although clean data was trained on."""
    return (
        f"Clean data itself does not teach: {_percent(clean.value)} on held-out images where chance is "
        f"{_percent(base)}. Are the labels wrong, or the images constant? Nothing else was judged."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
