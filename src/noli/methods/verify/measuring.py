"""What every measurement shares: checks before anything is trained, the clean reference, the trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from noli.core.errors import DataError
from noli.core.evidence import Row
from noli.methods.verify.battery import Trainer
from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures.training import REFERENCE as PLAIN_REFERENCE
from noli.methods.verify.pairing import likeness
from noli.methods.verify.rows import Cache, Progress, Runner, Training, cache_scope
from noli.methods.verify.subject import LearnabilityData
from noli.methods.verify.verdicts import chance, percent, too_small


class Measured(NamedTuple):
    """What was measured.

    Attributes:
        hashes: Digests of the data, and what the caller wants noted beside them.
        reference: Named reference values.
        base: Accuracy of guessing.
        reason: Why nothing can be concluded; empty where something can.
        clean: Ordinary training on clean images; None where nothing was trained.
        rows: Measured rows.
    """

    hashes: dict[str, str]
    reference: dict[str, float]
    base: float
    reason: str = ""
    clean: Row | None = None
    rows: tuple[Row, ...] = ()


def measured(
    subject: LearnabilityData,
    record: Mapping[str, str] | None,
    cfg: Config,
    planned: Sequence[Training],
    work: Callable[[Runner], tuple[Row, ...]],
    progress: Progress | None,
    cache: Cache | None,
) -> Measured:
    """Check the data, train the clean reference, and the rest where that shows something.

    `planned` are that reference and all trainings that `work` asks for; the other arguments are those of
    :func:`noli.methods.verify.learnability.judge`.

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
    found = Measured(hashes, reference, base)
    if reason := too_small(subject, cfg.min_test, max(cfg.min_per_class, cfg.leak_pairs + 1), cfg.holdout):
        return found._replace(reason=reason)
    if reason := _not_comparable(subject, cfg, reference):
        return found._replace(reason=reason)
    scope = cache_scope(hashes, cfg)
    with Runner(Trainer(subject, cfg), planned, scope, progress, cache) as runner:
        clean = runner.row(PLAIN_REFERENCE, "clean")
        reference |= {"clean": clean.value, "clean_low": clean.low, "clean_high": clean.high}
        if clean.low < base + cfg.min_gain:
            reason = (
                f"Clean data itself does not teach: {percent(clean.value)} on held-out images where chance "
                f"is {percent(base)}. Are the labels wrong, or the images constant? Nothing else was judged."
            )
            return found._replace(reason=reason, clean=clean)
        return found._replace(clean=clean, rows=work(runner))


def _not_comparable(subject: LearnabilityData, cfg: Config, reference: dict[str, float]) -> str | None:
    """Say why training on the protected images would say nothing about a protection; None when it does."""
    if subject.doubt:
        return subject.doubt
    if subject.relabelled > cfg.max_relabelled:
        return (
            f"{percent(subject.relabelled)} of the protected items carry another label than their original "
            f"(at most {percent(cfg.max_relabelled)} may): a trainer with the true labels is judged, and "
            "wrong labels would pass for protection. Correct the labels and verify again. Nothing was "
            "trained."
        )
    found = likeness(subject.clean_x, subject.protected_x)
    if found is None:
        return None
    reference["likeness"] = found
    if found < cfg.min_likeness:
        return (
            f"These are not protected versions of these originals: only {percent(found)} of the protected "
            f"pictures resemble their own original more than most others (at least "
            f"{percent(cfg.min_likeness)} should). Are folders or files mixed up? Nothing was trained."
        )
    return None
