"""Verify: train fresh models on protected data as stored, and keep what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from noli import options as option_parser
from noli import registry
from noli.api._cache import TrainingCache
from noli.api._stored import compared, made_by
from noli.api._write import write_report
from noli.core.errors import Interrupted, UsageError
from noli.core.evidence import Evidence, Level
from noli.core.files import atomic_write
from noli.core.manifest import DataInfo
from noli.core.run import Run
from noli.data.place import is_url
from noli.engine.lock import locked
from noli.engine.progress import Progress
from noli.engine.request import absolute, run_folder

METHOD = "verify/learnability"
EVIDENCE = "evidence.json"
FRESH_KEYS = 3


def verify(
    protected: str | Path,
    *,
    clean: str | Path,
    battery: Literal["quick", "standard"] = "quick",
    claim: Level = "routine",
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
    a larger battery reuses what a smaller one did. The report of the protecting run is refreshed.

    Args:
        protected: The protected data as stored, or the run folder of its protection.
        clean: The originals. Their test split is held out; without one a share of every class is.
        battery: ``quick`` or ``standard`` (three seeds, more rows).
        claim: Attacker level at which the claim is made, fixed before anything is trained.
        seeds: Trainings per row; the battery's default when None.
        keys: Also protect the clean images in memory with so many fresh keys and report ordinary training
            on them: mean and worst. Needs the run folder of the protection. None: 3 with ``standard`` where
            that run is known and used a key, else 0.
        labels: Column with the class, for table layouts; None: the one that the protecting run used.
        run: Run folder; ``OUT.verify.noli`` beside the protected data when None.
        progress: Where progress goes; nowhere when None.
        config: Further options of the battery as a mapping.
        options: Further options of the battery.

    Returns:
        The evidence: rows with intervals, the worst row per attacker level, the verdict.

    Raises:
        DataError: No labels, no common items, one class, unreadable items.
        UsageError: Unknown option, ``keys`` without a known protecting run, or that run is not finished.
        Interrupted: Ctrl-C; the same call goes on.
    """
    from noli.data.sources import open_source
    from noli.methods.verify.config import Config
    from noli.methods.verify.load import load

    place, before = _subject(protected)
    given = {"battery": battery, "claim": claim, "seeds": seeds, **(config or {}), **options}
    cfg = option_parser.resolve(registry.get(METHOD), given)
    assert isinstance(cfg, Config)  # noqa: S101 - tells the type checker what the registry returned
    if keys is None:
        keyed = before is not None and before.manifest.key is not None
        keys = FRESH_KEYS if keyed and battery == "standard" else 0
    elif keys and before is None:
        raise UsageError(
            "Fresh keys need the run that protected this data.",
            where=place,
            why="no run folder lies beside it",
            fix="put OUT.noli back beside OUT, or leave --keys out",
        )
    if labels is None and before is not None:
        labels = before.manifest.args_resolved.get("labels")
    bar = progress if progress is not None else Progress()
    made = made_by(before)
    try:
        stored = open_source(place, labels=labels)
        originals = {out: one.path for out, one in made.items()}
        read = _stage(bar, "read")
        subject = load(stored, str(clean), cfg, labels=labels, made=originals, progress=read)
        subject = compared(subject, stored, made)
    finally:
        bar.finish()
    folder = Path(run) if run is not None else _folder(place)
    arguments = {"protected": place, "clean": str(clean), "config": cfg.model_dump(mode="json"), "keys": keys}
    with locked(folder):
        record = _begin(folder, arguments)
        try:
            evidence = _measure(record, subject, cfg, before, keys, bar)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                fix = "give the same command again: finished trainings are kept"
                stopped = Interrupted("Stopped.", fix=fix)
                record.fail(stopped)
                raise stopped from error
            record.fail(error)
            raise
        finally:
            bar.finish()
        _keep(record, evidence)
    write_report(record)
    if before is not None:
        write_report(before)
    return evidence


def _subject(protected: str | Path) -> tuple[str, Run | None]:
    """Return where the protected data lies and, if it is found, the run that made it."""
    text = str(protected)
    named = not is_url(text) and Run.exists(text)
    folder = Path(text) if named else run_folder(text)
    run = Run.open(folder) if Run.exists(folder) else None
    place = absolute(text)
    if named and run is not None:
        if run.manifest.output is None:
            raise UsageError("This run made no data.", where=text, fix="name protected data")
        place = run.manifest.output.uri
    if run is None or run.manifest.verb != "protect":
        return place, None
    if run.manifest.status != "done":
        raise UsageError(
            "The run that protects this data is not finished, so part of the data is missing.",
            where=str(run.path),
            why=f"its status is {run.manifest.status}",
            fix="give the same noli protect command again; it goes on where it stopped",
        )
    return place, run


def _folder(place: str) -> Path:
    beside = run_folder(place)
    return beside.with_name(beside.name.removesuffix(".noli") + ".verify.noli")


def _begin(folder: Path, arguments: dict[str, Any]) -> Run:
    passed: dict[str, Any] = {"args_passed": arguments, "args_resolved": arguments}
    if not Run.exists(folder):
        data = DataInfo(uri=arguments["protected"])
        return Run.create(folder, verb="verify", method=METHOD, input=data, **passed)
    run = Run.open(folder)
    same_data = run.manifest.input is not None and run.manifest.input.uri == arguments["protected"]
    if run.manifest.verb != "verify" or not same_data:
        fix = "choose another --run folder"
        raise UsageError("The run folder belongs to something else.", where=str(folder), fix=fix)
    run.resume(**passed)
    return run


def _measure(record: Run, subject: Any, cfg: Any, before: Run | None, keys: int, bar: Progress) -> Evidence:
    from noli.api._fresh_keys import with_fresh_keys
    from noli.methods.verify.learnability import judge

    cache = TrainingCache(record.artifact("trainings.jsonl"))
    evidence = judge(subject, _origin(before), cfg, progress=_stage(bar, "train"), cache=cache)
    # Without a verdict on the data as published there is nothing to compare fresh keys with.
    if keys and before is not None and evidence.value is not None:
        tell = _stage(bar, "fresh keys")
        evidence = with_fresh_keys(evidence, subject, cfg, before.manifest, keys, cache, tell)
    return evidence


def _origin(before: Run | None) -> dict[str, str]:
    """Return what ties the evidence to the run that protected the data."""
    if before is None:
        return {}
    manifest = before.manifest
    found = {"protect_run": manifest.run_id}
    if manifest.output is not None and manifest.output.hash:
        found["protected_items"] = manifest.output.hash
    if manifest.key is not None:
        found["key_commitment"] = manifest.key.commitment
    return found


def _keep(run: Run, evidence: Evidence) -> None:
    """Write the evidence; an earlier, different one is kept beside it, so that no verdict disappears."""
    file = run.artifact(EVIDENCE)
    new = evidence.model_dump_json(indent=1).encode()
    if file.is_file() and file.read_bytes() != new:
        count = len(list(file.parent.glob("evidence-*.json")))
        atomic_write(run.artifact(f"evidence-{count + 1:03d}.json"), file.read_bytes())
    atomic_write(file, new)
    run.event("verdict", level=evidence.level, verdict=evidence.verdict, value=evidence.value)
    shown = {"verdict", "level", "value", "low", "high", "bound", "n", "reason", "reference"}
    run.finish(evidence.model_dump(mode="json", include=shown))


def _stage(bar: Progress, label: str) -> Callable[[int, int, str], None]:
    """Return a ``(done, all, what)`` callback with a stage of its own that begins with the first call."""
    told = -1

    def tell(done: int, total: int, what: str) -> None:
        nonlocal told
        if told < 0:
            bar.start(total, label)
            told = 0
        if done > told:
            bar.advance(done - told)
            told = done

    return tell
