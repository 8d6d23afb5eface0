"""Does protected data still teach? Train fresh models on it under a fixed battery of countermeasures.

Threat model: a trainer holds the protected images as published, with their labels, and wants a classifier
that works on clean images. What counts is the *best* accuracy over everything the trainer may try up to a
level that is fixed beforehand: *naive* (plain training), *routine* (what careful trainers do anyway:
cutout, mixup, grayscale, JPEG, adversarial training), *adaptive* (somebody after this data: RSK+FF, arXiv
2411.01742; COIN, 2311.18403; filters learned from leaked pairs). Grayscale and JPEG follow image shortcut
squeezing (2301.13838). For rows that transform the training images the test images are tried both untouched
and transformed, and the row takes the higher accuracy: the trainer picks.

What it does not show: see ``LIMITS``, which travels with every Evidence.

Arrays are ``uint8 [N, S, S, C]`` at the training size S; accuracies are shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from noli.core.errors import DataError
from noli.core.evidence import Evidence, Row, Verdict
from noli.core.method import Card, Spec
from noli.methods.verify import verdict
from noli.methods.verify.battery import REFERENCE, Part, Trainer, table
from noli.methods.verify.config import Config
from noli.methods.verify.partners import FEWEST, likeness
from noli.methods.verify.rows import Cache, Progress, Runner, Training, cache_scope, plan
from noli.methods.verify.subject import LearnabilityData

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
    present = np.union1d(subject.protected_y, subject.test_y)
    if len(subject.classes) < 2 or len(present) < 2:
        raise DataError(
            "There is only one class: nothing can be learned, so nothing can be judged.",
            where=", ".join(subject.classes) or None,
            fix="give images of at least two classes",
        )
    hashes = {**(record or {}), **subject.hashes()}
    frame = _Frame(subject, cfg, hashes, verdict.chance(subject.test_y, len(subject.classes)))
    if reason := verdict.too_small(subject, cfg.min_test, max(cfg.min_per_class, cfg.leak_pairs + 1)):
        return frame.evidence("inconclusive", reason)
    if reason := _not_comparable(frame):
        return frame.evidence("inconclusive", reason)
    measures = table(cfg)
    reference = next(m for m in measures if m.name == REFERENCE)
    trainings = plan(measures, cfg)
    with Runner(Trainer(subject, cfg), trainings, cache_scope(hashes, cfg), progress, cache) as runner:
        clean = runner.row(reference, "clean")
        frame.reference |= {"clean": clean.value, "clean_low": clean.low, "clean_high": clean.high}
        if clean.low < frame.chance + cfg.min_gain:
            return frame.evidence("inconclusive", verdict.teaches_nothing(clean, frame.chance))
        rows = tuple(runner.protected_row(measure) for measure in measures)
    levels = verdict.judge_levels(rows, clean, frame.chance, cfg.bound)
    at = next(level for level in levels if level.level == cfg.claim)
    return frame.evidence(
        at.verdict,
        verdict.explain(levels, cfg.claim, clean, frame.chance),
        rows=rows,
        levels=levels,
        value=at.value,
        low=at.low,
        high=at.high,
        bound=at.bound,
    )


def _not_comparable(frame: _Frame) -> str | None:
    """Say why training on the protected images would say nothing about a protection; None when it does."""
    subject, cfg = frame.subject, frame.cfg
    if subject.doubt:
        return subject.doubt
    relabelled = float(np.mean(subject.clean_y != subject.protected_y))
    if relabelled > cfg.max_relabelled:
        return verdict.other_labels(relabelled, cfg.max_relabelled)
    found = likeness(subject.clean_x, subject.protected_x)
    if found.comparisons >= FEWEST:
        frame.reference["likeness"] = found.share
        if found.share < cfg.min_likeness:
            return verdict.other_pictures(found.share, cfg.min_likeness)
    return None


def measure_row(
    subject: LearnabilityData, cfg: Config, name: str = REFERENCE, part: Part = "protected"
) -> Row:
    """Measure one row alone, without a verdict (to compare keys or settings).

    Args:
        subject: The data.
        cfg: Configuration.
        name: Row name.
        part: Train on ``protected`` or ``clean`` images.
    """
    measure = next((m for m in table(cfg) if m.name == name), None)
    if measure is None:
        raise DataError(f"The battery has no row {name!r}.", fix=", ".join(m.name for m in table(cfg)))
    images: Part = "mixed" if measure.share else part
    trainings = [Training(measure, images, seed) for seed in range(cfg.seed_count)]
    with Runner(Trainer(subject, cfg), trainings, "", None, None) as runner:
        return runner.row(measure, images)


class _Frame:
    """Everything of an Evidence that is known before the verdict."""

    def __init__(
        self, subject: LearnabilityData, cfg: Config, hashes: Mapping[str, str], base: float
    ) -> None:
        self.subject, self.cfg, self.hashes, self.chance = subject, cfg, dict(hashes), base
        self.reference: dict[str, float] = {
            "chance": base,
            "classes": float(len(subject.classes)),
            "training_items": float(len(subject.protected_y)),
            "test_items": float(len(subject.test_y)),
            "image_side": float(subject.protected_x.shape[1]),
            **subject.counts,
        }

    def evidence(self, outcome: Verdict, reason: str, **measured: Any) -> Evidence:
        """Complete the Evidence."""
        cfg, share = self.cfg, f"{100 * self.cfg.bound:.0f} %"
        return Evidence(
            claim=f"Up to the {cfg.claim} level, training on the protected images teaches at most {share} of "
            "what the clean images teach beyond chance.",
            null=f"Some training up to the {cfg.claim} level learns more than {share} of what clean images "
            "teach beyond chance.",
            level=cfg.claim,
            verdict=outcome,
            reason=reason,
            statistic=f"highest accuracy on held-out clean images, all rows up to the {cfg.claim} level",
            n=len(self.subject.test_y),
            reference=self.reference,
            hashes=self.hashes,
            limits=(*LIMITS, *self.subject.notes),
            config=cfg.model_dump(mode="json"),
            **measured,
        )
