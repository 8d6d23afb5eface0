"""Does protected data still teach? Train fresh models on it under a fixed battery of countermeasures.

Threat model: a trainer holds the protected images as published, with their labels, and wants a classifier
that works on clean images. What counts is the *best* accuracy over everything the trainer may try up to a
level that is fixed beforehand: *naive* (plain training), *routine* (what careful trainers do anyway:
augmentation, grayscale, JPEG and other losses, adversarial training), *adaptive* (somebody after this data:
RSK+FF, arXiv 2411.01742; COIN, 2311.18403; UEraser, 2303.15127; orthogonal projection, 2305.19254; filters
and noise learned from leaked pairs). Grayscale and JPEG follow image shortcut squeezing (2301.13838). The
rule behind the levels stands at ``noli.methods.verify.measure.Measure``. For rows that transform the training
images the test images are tried both untouched and transformed, and the row takes the higher accuracy: the
trainer picks.

What it does not show: see ``LIMITS``, which travels with every Evidence.

Arrays are ``uint8 [N, S, S, C]`` at the training size S; accuracies are shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from noli.core.errors import DataError
from noli.core.evidence import LEVELS, Evidence, Level, LevelVerdict, Row, Verdict
from noli.core.method import Card, Spec
from noli.methods.verify.battery import REFERENCE, Labels, LearnabilityData, Part, Trainer, table
from noli.methods.verify.config import Config
from noli.methods.verify.pairing import likeness
from noli.methods.verify.rows import Cache, Progress, Runner, Training, cache_scope, plan

LIMITS = (
    "The verdict holds for the networks, training length and countermeasures listed here. A larger network, "
    "longer training, pre-trained weights or a countermeasure outside the battery may learn more.",
    "Countermeasures act on the images at the training size, not on larger originals.",
    "With one seed the intervals cover the choice of held-out images only, not the luck of a training; with "
    "several seeds they cover both, roughly.",
    "Only classification with the given labels is judged; other tasks, other labels and self-supervised "
    "training are not.",
    "Held-out images come from the same collection; near-duplicates across the split raise all accuracies.",
    "The key is judged as it was drawn; another key of the same method can do better or worse.",
)

SPEC = Spec(
    name="verify/learnability",
    family="verify",
    arrow="judge",
    config=Config,
    card=Card(
        title="Learnability of protected data under a fixed battery of countermeasures",
        paper="Battery after Liu et al. 2301.13838, Kim and Sandoval-Segura 2411.01742, Li et al. 2311.18403",
        stops=("Publishing protected data in the belief that it cannot be trained on when it can.",),
        does_not_stop=LIMITS,
    ),
    needs=frozenset({"labels"}),
    options=("battery", "claim", "seeds"),
    module=__name__,
)


def judge(
    subject: LearnabilityData,
    record: Mapping[str, str] | None,
    cfg: Config,
    *,
    progress: Progress | None = None,
    cache: Cache | None = None,
) -> Evidence:
    """Measure whether the protected images still teach.

    Args:
        subject: Clean, protected and held-out images.
        record: Further hashes and ids to note in the Evidence (run id, output hash, key commitment).
        cfg: Configuration.
        progress: Called with ``(trainings done, trainings in all, name of the next row)``.
        cache: Finished trainings by key, JSON values; filled as trainings finish, so that a killed `judge`
            continues. Entries of other data or another configuration are ignored.

    Raises:
        DataError: Fewer than two classes.
    """
    if len(np.union1d(subject.protected_y, subject.test_y)) < 2:
        raise DataError(
            "There is only one class: nothing can be learned, so nothing can be judged.",
            where=", ".join(subject.classes) or None,
            fix="give images of at least two classes",
        )
    hashes = {**(record or {}), **subject.hashes()}
    base = chance(subject.test_y, len(subject.classes))
    reference = {
        "chance": base,
        "classes": float(len(subject.classes)),
        "training_items": float(len(subject.protected_y)),
        "test_items": float(len(subject.test_y)),
        "image_side": float(subject.protected_x.shape[1]),
        **subject.counts,
    }
    evidence = partial(_evidence, subject, cfg, hashes, reference)
    if reason := too_small(subject, cfg.min_test, max(cfg.min_per_class, cfg.leak_pairs + 1)):
        return evidence("inconclusive", reason)
    if reason := _not_comparable(subject, cfg, reference):
        return evidence("inconclusive", reason)
    measures = table(cfg)
    scope = cache_scope(hashes, cfg)
    with Runner(Trainer(subject, cfg), plan(measures, cfg), scope, progress, cache) as runner:
        clean = runner.row(next(m for m in measures if m.name == REFERENCE), "clean")
        reference |= {"clean": clean.value, "clean_low": clean.low, "clean_high": clean.high}
        if clean.low < base + cfg.min_gain:
            reason = (
                f"Clean data itself does not teach: {_percent(clean.value)} on held-out images where chance "
                f"is {_percent(base)}. Are the labels wrong, or the images constant? Nothing else was judged."
            )
            return evidence("inconclusive", reason)
        rows = tuple(runner.protected_row(measure) for measure in measures)
    levels = judge_levels(rows, clean, base, cfg.bound)
    at = next(level for level in levels if level.level == cfg.claim)
    reason = explain(levels, cfg.claim, clean, base)
    measured = at.model_dump(include={"value", "low", "high", "bound"})
    return evidence(at.verdict, reason, rows=rows, levels=levels, **measured)


def _evidence(
    subject: LearnabilityData,
    cfg: Config,
    hashes: Mapping[str, str],
    reference: Mapping[str, float],
    outcome: Verdict,
    reason: str,
    **measured: Any,
) -> Evidence:
    share = f"{100 * cfg.bound:.0f} %"
    return Evidence(
        claim=f"Up to the {cfg.claim} level, training on the protected images teaches at most {share} of "
        "what the clean images teach beyond chance.",
        null=f"Some training up to the {cfg.claim} level learns more than {share} of what clean images "
        "teach beyond chance.",
        level=cfg.claim,
        verdict=outcome,
        reason=reason,
        statistic=f"highest accuracy on held-out clean images, all rows up to the {cfg.claim} level",
        n=len(subject.test_y),
        reference=dict(reference),
        hashes=dict(hashes),
        limits=(*LIMITS, *subject.notes),
        config=cfg.model_dump(mode="json"),
        **measured,
    )


def measure_row(
    subject: LearnabilityData, cfg: Config, name: str = REFERENCE, part: Part = "protected"
) -> Row:
    """Measure one row alone, without a verdict (to compare keys or settings).

    Args:
        subject: The data.
        cfg: Configuration.
        name: Row name.
        part: Train on ``protected`` or ``clean`` images.

    Raises:
        DataError: The battery has no such row.
    """
    measures = {measure.name: measure for measure in table(cfg)}
    if name not in measures:
        raise DataError(f"The battery has no row {name!r}.", fix=", ".join(measures))
    measure = measures[name]
    images: Part = "mixed" if measure.share else part
    trainings = [Training(measure, images, seed) for seed in range(cfg.seed_count)]
    with Runner(Trainer(subject, cfg), trainings) as runner:
        return runner.row(measure, images)


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


def _not_comparable(subject: LearnabilityData, cfg: Config, reference: dict[str, float]) -> str | None:
    """Say why training on the protected images would say nothing about a protection; None when it does."""
    if subject.doubt:
        return subject.doubt
    if subject.relabelled > cfg.max_relabelled:
        return (
            f"{_percent(subject.relabelled)} of the protected items carry another label than their original "
            f"(at most {_percent(cfg.max_relabelled)} may): a trainer with the true labels is judged, and "
            "wrong labels would pass for protection. Correct the labels and verify again. Nothing was "
            "trained."
        )
    found = likeness(subject.clean_x, subject.protected_x)
    if found is None:
        return None
    reference["likeness"] = found
    if found < cfg.min_likeness:
        return (
            f"These are not protected versions of these originals: only {_percent(found)} of the protected "
            f"pictures resemble their own original more than most others (at least "
            f"{_percent(cfg.min_likeness)} should). Are folders or files mixed up? Nothing was trained."
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


def judge_levels(rows: Sequence[Row], clean: Row, base: float, share: float) -> tuple[LevelVerdict, ...]:
    """Return the verdict at every level; each level includes the rows of the levels below it.

    ``supported``: every row's upper end stays at or below the bound. Requiring it of all rows is an
    intersection-union test, so no correction for their number is needed. ``not supported``: some row's
    lower end lies above the bound that the upper end of the clean accuracy gives; it is not corrected for
    the number of rows, and so errs towards withdrawing a claim. Otherwise ``inconclusive``.
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
        numbers = worst.model_dump(include={"value", "low", "high"})
        verdicts.append(
            LevelVerdict(level=level, verdict=verdict, worst=worst.name, bound=allowed, **numbers)
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
            reached = f"{other.worst} reaches {_percent(other.value)}"
            text += f" At the {other.level} level: {other.verdict} ({reached})."
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
