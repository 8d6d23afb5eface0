"""Does protected data still teach? Train fresh models on it under a fixed battery of countermeasures.

Threat model: a trainer holds the protected images as published, with their labels, and wants a classifier
that works on clean images. What counts is the *best* accuracy over everything the trainer may try up to a
level that is fixed beforehand: *naive* (plain training), *routine* (what careful trainers do anyway:
augmentation, grayscale, JPEG and other losses, adversarial training), *adaptive* (somebody after this data:
RSK+FF, arXiv 2411.01742; COIN, 2311.18403; UEraser, 2303.15127; orthogonal projection, 2305.19254; filters
and noise learned from leaked pairs). Grayscale and JPEG follow image shortcut squeezing (2301.13838). The
rule behind the levels stands at ``noli.methods.verify.measure.Measure``. For rows with a fixed or learned
transformation the test images are tried both untouched and transformed, and ``test-time`` adapts the trained
network in two ways; the row takes the highest accuracy and the highest ends of the intervals: the trainer
picks.

What it does not show: see ``LIMITS``, which travels with every Evidence.

Arrays are ``uint8 [N, S, S, C]`` at the training size S; accuracies are shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from noli.core.errors import DataError
from noli.core.evidence import Evidence, Row
from noli.core.method import Card, Spec
from noli.methods.verify.battery import REFERENCE, Part, Trainer, table
from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure
from noli.methods.verify.measuring import Measured, measured
from noli.methods.verify.rows import Cache, Progress, Runner, Training, beside, parts, plan
from noli.methods.verify.subject import LearnabilityData
from noli.methods.verify.verdicts import (
    alone,
    bounds,
    explain,
    from_originals,
    judge_levels,
    verdict_of,
    withheld,
)

# What stands beside a row: how it is called, and what it is.
_BESIDE: dict[Part, tuple[str, str]] = {
    "clean": ("clean", "the same training on the clean images"),
    "clean-part": ("clean", "the unprotected part alone"),
    "leaked-alone": ("originals alone", "the same training on the leaked originals alone"),
}
LIMITS = (
    "The verdict holds for the networks, training length and countermeasures listed here. A larger network, "
    "longer training, other pre-trained weights or a countermeasure outside the battery may learn more.",
    "Countermeasures act on the images at the training size, not on larger originals.",
    "With one seed the intervals cover the choice of held-out images only, not the luck of a training; with "
    "several seeds they cover both.",
    "What a row learns before its training (filters, restorers, projections) is the same for all seeds.",
    "Only classification with the given labels is judged; other tasks and other labels are not.",
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
    share = f"{100 * cfg.bound:.0f} %"
    evidence = partial(
        _evidence,
        subject,
        cfg,
        level=cfg.claim,
        claim=f"Up to the {cfg.claim} level, training on the protected images teaches at most {share} of "
        "what the clean images teach beyond chance.",
        null=f"Some training up to the {cfg.claim} level learns more than {share} of what clean images "
        "teach beyond chance.",
        statistic=f"highest accuracy on held-out clean images, all rows up to the {cfg.claim} level",
    )
    wanted = table(cfg)
    needed = {measure: fix for measure in wanted if (fix := measure.missing())}
    measures = [measure for measure in wanted if measure not in needed]

    def work(runner: Runner) -> tuple[Row, ...]:
        return tuple(runner.protected_row(measure) for measure in measures)

    found = measured(subject, record, cfg, plan(measures, cfg), work, progress, cache)
    if found.clean is None or found.reason:
        return evidence(found, verdict="inconclusive", reason=found.reason)
    levels = judge_levels(found.rows, found.clean, found.base, cfg.bound)
    for measure in needed:
        levels = withheld(levels, measure.level)
    reason = explain(levels, cfg.claim, found.clean, found.base, found.rows)
    for measure, fix in needed.items():
        reason += f" Not measured: {measure.name} ({fix}); no level that includes it is supported."
    at = next(level for level in levels if level.level == cfg.claim)
    numbers = at.model_dump(include={"value", "low", "high", "bound"})
    return evidence(found, verdict=at.verdict, reason=reason, levels=levels, **numbers)


def attack(
    subject: LearnabilityData,
    record: Mapping[str, str] | None,
    cfg: Config,
    measure: Measure,
    *,
    progress: Progress | None = None,
    cache: Cache | None = None,
) -> Evidence:
    """Measure what one countermeasure alone learns from the protected images, and from the clean ones.

    Args:
        subject: Clean, protected and held-out images.
        record: Further hashes and ids to note in the Evidence.
        cfg: Configuration; its battery and claim are not used.
        measure: The countermeasure.
        progress: As for :func:`judge`.
        cache: As for :func:`judge`, and shared with it.

    Returns:
        Evidence without a level: the verdict is about this countermeasure alone, and about none for context
        rows. The second row, where there is one, is the same training on clean images.

    Raises:
        DataError: Fewer than two classes.
    """
    share = f"{100 * cfg.bound:.0f} %"
    words = f"{share} of what the clean images teach beyond chance."
    evidence = partial(
        _evidence,
        subject,
        cfg,
        level=None,
        claim=f"Training under {measure.name} on the protected images teaches at most {words}",
        null=f"Training under {measure.name} on the protected images teaches more than {words}",
        statistic=f"accuracy on held-out clean images after training under {measure.name}",
        further=("One countermeasure alone was run: another one may learn more.",),
    )

    asked = parts(measure, context=True)

    def work(runner: Runner) -> tuple[Row, ...]:
        first, *others = (runner.row(measure, part) for part in asked)
        first = beside(measure, first, others) if measure.held is not None else first
        named = [dict(zip(("name", "about"), _BESIDE[part], strict=True)) for part in asked[1:]]
        return first, *(
            row.model_copy(update={**words, "name": f"{measure.name}, {words['name']}", "level": "context"})
            for row, words in zip(others, named, strict=True)
        )

    found = measured(subject, record, cfg, plan([measure], cfg, context=True), work, progress, cache)
    if found.clean is None or found.reason:
        return evidence(found, verdict="inconclusive", reason=found.reason)
    row = found.rows[0]
    allowed, refuted = bounds(found.clean, found.base, cfg.bound)
    numbers = row.model_dump(include={"value", "low", "high"})
    reason = alone(found.rows, found.clean, found.base, allowed)
    if row.level == "context":
        return evidence(found, verdict="inconclusive", reason=reason, **numbers)
    verdict = verdict_of([row], allowed, refuted)
    if verdict != "supported" and from_originals(row):
        verdict = "inconclusive"
        reason += (
            " The thief may have learned all of it from the leaked originals: this says nothing about the "
            "protection."
        )
    return evidence(found, verdict=verdict, reason=reason, bound=allowed, **numbers)


def _evidence(
    subject: LearnabilityData,
    cfg: Config,
    found: Measured,
    *,
    further: tuple[str, ...] = (),
    **fields: Any,
) -> Evidence:
    return Evidence(
        n=len(subject.test_y),
        reference=found.reference,
        hashes=found.hashes,
        rows=found.rows,
        limits=(*LIMITS, *further, *subject.notes),
        config=cfg.model_dump(mode="json"),
        **fields,
    )


def measure_row(
    subject: LearnabilityData, cfg: Config, name: str = REFERENCE, part: Part = "protected"
) -> Row:
    """Measure one row alone, without a verdict (to compare keys or settings).

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
