"""Attack: one countermeasure alone against protected data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from noli.api._judging import TrainingCache, configured, judged, subject_of
from noli.core.errors import MissingPrerequisite
from noli.core.evidence import Evidence
from noli.engine.progress import Progress, stage

if TYPE_CHECKING:
    from noli.methods.verify.subject import LearnabilityData


def attack(
    name: str,
    protected: str | Path,
    *,
    clean: str | Path,
    seeds: int | None = None,
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    config: Mapping[str, object] | None = None,
    **options: object,
) -> Evidence:
    """Train under one countermeasure alone, on protected and on clean data, and say what it learns.

    Trainings are kept in the run folder, so that the same call goes on after an interruption. At most 5,000
    pictures are trained on unless ``max_items`` says otherwise.

    Args:
        name: The countermeasure; :func:`noli.api.countermeasures` lists them.
        protected: The protected data as stored, or the run folder of its protection.
        clean: The originals. Their test split is held out; without one a share of every class is.
        seeds: Trainings per row; when None as ``config`` says, otherwise 1.
        labels: Column with the class, for table layouts; None: the one that the protecting run used.
        run: Run folder; ``OUT.attack.noli`` beside the protected data when None.
        progress: Where progress goes; nowhere when None.
        config: Options of the battery as a mapping, for example from a file; arguments win over it.
        options: Further options of the battery.

    Returns:
        Evidence without a level: its verdict is about this countermeasure alone. Row 0 is the protected data,
        row 1 the same training on clean data, where that means something; ``reference`` has ordinary training
        on clean data and chance.

    Raises:
        UsageError: Scrambled pictures or a locked model, an unknown countermeasure or option.
        DataError: No labels, no common items, one class, unreadable items.
        MissingPrerequisite: A plug-in cannot be loaded, or an optional package is missing.
        Interrupted: Ctrl-C; the same call goes on.
    """
    from noli.engine.auditing import refuse_locked
    from noli.methods.verify.countermeasures import find

    refuse_locked(protected, name)
    cfg = configured(config, options, seeds=seeds)
    measure = find(name, cfg)
    if fix := measure.missing():
        raise MissingPrerequisite("The countermeasure needs a package that is missing.", where=name, fix=fix)
    place, before = subject_of(protected)
    bar = progress if progress is not None else Progress()

    def measured(subject: LearnabilityData, origin: dict[str, str], cache: TrainingCache) -> Evidence:
        from noli.methods.verify.learnability import attack as run_alone

        return run_alone(subject, origin, cfg, measure, progress=stage(bar, "train"), cache=cache)

    further = {"countermeasure": measure.name}
    return judged(
        place, before, clean, cfg, measured, verb="attack", further=further, labels=labels, run=run, bar=bar
    )
