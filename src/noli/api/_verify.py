"""Verify: train fresh models on protected data as stored, and keep what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from noli import registry
from noli.api._judging import TrainingCache, configured, judged, subject_of
from noli.api._write import write_report
from noli.core.errors import UsageError
from noli.core.evidence import Evidence, Level
from noli.core.run import Run
from noli.engine.auditing import refuse_locked
from noli.engine.progress import Progress, stage

if TYPE_CHECKING:
    from noli.methods.verify.subject import LearnabilityData

FRESH_KEYS = 3


def verify(
    protected: str | Path,
    *,
    clean: str | Path,
    battery: Literal["quick", "standard", "full"] | None = None,
    claim: Level | None = None,
    seeds: int | None = None,
    keys: int | None = None,
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    config: Mapping[str, object] | None = None,
    **options: object,
) -> Evidence:
    """Train fresh models on protected and on clean data, and say whether the protection holds.

    Trainings are kept in the run folder: the same call after an interruption goes on where it stopped, and
    a larger battery reuses what a smaller one did where both take the same pictures (up to 5,000, or the same
    ``max_items``). The report of the protecting run is refreshed.

    Args:
        protected: The protected data as stored, or the run folder of its protection.
        clean: The originals. Their test split is held out; without one a share of every class is.
        battery: ``quick``, ``standard`` (three seeds, more rows) or ``full`` (all rows). When None, like the
            next two, as ``config`` says; otherwise ``quick``.
        claim: Attacker level at which the claim is made, fixed before anything is trained; else ``routine``.
        seeds: Trainings per row; else the battery's default.
        keys: Also protect the clean images in memory with so many fresh keys and report ordinary training
            on them: mean and worst. Needs the run folder of the protection. None: 0 with ``quick``, with
            the others 3 where that run is known and used a key.
        labels: Column with the class, for table layouts; None: the one that the protecting run used.
        run: Run folder; ``OUT.verify.noli`` beside the protected data when None.
        progress: Where progress goes; nowhere when None.
        config: Options of the battery as a mapping, for example from a file; arguments win over it.
        options: Further options of the battery.

    Returns:
        The evidence: rows with intervals, the worst row per attacker level, the verdict.

    Raises:
        DataError: No labels, no common items, one class, unreadable items.
        UsageError: Scrambled pictures or a locked model, an unknown option, ``keys`` without a known
            protecting run or with a method that has none, or that run is not finished.
        Interrupted: Ctrl-C; the same call goes on.
    """
    refuse_locked(protected)
    cfg = configured(config, options, battery=battery, claim=claim, seeds=seeds)
    place, before = subject_of(protected)
    count = _fresh_keys(keys, cfg.battery, before, place)
    bar = progress if progress is not None else Progress()

    def measure(subject: LearnabilityData, origin: dict[str, str], cache: TrainingCache) -> Evidence:
        from noli.api._fresh_keys import with_fresh_keys
        from noli.methods.verify.learnability import judge

        found = judge(subject, origin, cfg, progress=stage(bar, "train"), cache=cache)
        # Without a verdict on the data as published there is nothing to compare fresh keys with.
        if count and before is not None and found.value is not None:
            manifest, note = before.manifest, stage(bar, "fresh keys")
            found = with_fresh_keys(found, subject, cfg, manifest, count, cache, note)
        return found

    evidence = judged(
        place,
        before,
        clean,
        cfg,
        measure,
        verb="verify",
        further={"keys": count},
        labels=labels,
        run=run,
        bar=bar,
    )
    if before is not None:
        write_report(before)
    return evidence


def _fresh_keys(asked: int | None, battery: str, before: Run | None, place: str) -> int:
    """Number of fresh keys to compare with; refused before anything is trained where they cannot be tried."""
    name = str(before.manifest.method) if before is not None else ""
    if asked is None:
        if battery == "quick" or name not in registry.names():
            return 0
        return 0 if _no_fresh_keys(name) else FRESH_KEYS
    if asked and before is None:
        raise UsageError(
            "Fresh keys need the run that protected this data.",
            where=place,
            why="no run folder lies beside it",
            fix="put OUT.noli back beside OUT, or leave --keys out",
        )
    if asked and (reason := _no_fresh_keys(name)):
        raise UsageError(reason, where=name, fix="leave --keys out")
    return asked


def _no_fresh_keys(name: str) -> str:
    """Why fresh keys cannot be tried with a method; empty where they can."""
    needs = registry.get(name).needs
    if "key" not in needs:
        return "This method needs no key, so there is nothing to compare."
    # Pictures at the training size carry no captions and no names.
    return "Fresh keys cannot be tried with a method that works from texts." if "metadata" in needs else ""
