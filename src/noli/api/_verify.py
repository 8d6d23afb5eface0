"""Verify: train fresh models on protected data as stored, and keep what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from noli import options as option_parser
from noli import registry
from noli.api._cache import TrainingCache
from noli.api._stored import compare, made_by, noted
from noli.api._write import write_report
from noli.core.errors import Interrupted, UsageError
from noli.core.evidence import Evidence, Level
from noli.core.files import atomic_write
from noli.core.manifest import DataInfo
from noli.core.run import Run
from noli.data.place import is_url
from noli.engine.lock import locked
from noli.engine.progress import Progress
from noli.engine.request import run_folder

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

    spec = registry.get(METHOD)
    given = {**(config or {}), **options}
    cfg = option_parser.resolve(spec, {"battery": battery, "claim": claim, "seeds": seeds, **given})
    assert isinstance(cfg, Config)  # noqa: S101 - tells the type checker what the registry returned
    place, before = _subject(protected)
    made = made_by(before)
    if labels is None and before is not None and before.manifest.verb == "protect":
        labels = before.manifest.args_resolved.get("labels")
    keys = _fresh_keys(keys, battery, before, place)
    bar = progress if progress is not None else Progress()
    watch = _Watch(bar)
    try:
        stored = open_source(place, labels=labels)
        originals = {out: one.path for out, one in made.items()}
        read = watch.stage("read")
        subject = load(stored, str(clean), cfg, labels=labels, made=originals, progress=read)
        subject = noted(subject, *compare(stored, made))
    finally:
        bar.finish()
    folder = Path(run) if run is not None else _folder(place)
    arguments = {"protected": place, "clean": str(clean), "config": cfg.model_dump(mode="json"), "keys": keys}
    with locked(folder):
        record = _begin(folder, arguments)
        try:
            evidence = _measure(record, subject, cfg, before, keys, watch)
        except BaseException as error:
            typed = _typed(error)
            record.fail(typed)
            if typed is error:
                raise
            raise typed from error
        finally:
            bar.finish()
        _keep(record, evidence)
    write_report(record)
    if before is not None and before.manifest.verb == "protect" and before.manifest.status == "done":
        write_report(before)
    return evidence


def _fresh_keys(asked: int | None, battery: str, before: Run | None, place: str) -> int:
    """Number of fresh keys to compare with; refused where the run that protected the data is unknown."""
    if asked is None:
        keyed = before is not None and before.manifest.verb == "protect" and before.manifest.key is not None
        return FRESH_KEYS if keyed and battery == "standard" else 0
    if asked and (before is None or before.manifest.method is None):
        raise UsageError(
            "Fresh keys need the run that protected this data.",
            where=place,
            why="no run folder lies beside it",
            fix="put OUT.noli back beside OUT, or leave --keys out",
        )
    return asked


def _measure(record: Run, subject: Any, cfg: Any, before: Run | None, keys: int, watch: _Watch) -> Evidence:
    from noli.api._fresh_keys import with_fresh_keys
    from noli.methods.verify.learnability import judge

    cache = TrainingCache(record.artifact("trainings.jsonl"))
    evidence = judge(subject, _origin(before), cfg, progress=watch.stage("train"), cache=cache)
    # Without a verdict on the data as published there is nothing to compare fresh keys with.
    if keys and before is not None and evidence.value is not None:
        evidence = with_fresh_keys(
            evidence, subject, cfg, before.manifest, keys, cache, watch.stage("fresh keys")
        )
    return evidence


def _subject(protected: str | Path) -> tuple[str, Run | None]:
    """Return where the protected data lies and, if it is found, the run that made it."""
    text = str(protected)
    if not is_url(text) and Run.exists(text):
        run = Run.open(text)
        if run.manifest.output is None:
            raise UsageError("This run made no data.", where=text, fix="name protected data")
        return run.manifest.output.uri, _finished(run)
    beside = run_folder(text)
    run_beside = _finished(Run.open(beside)) if Run.exists(beside) else None
    return text if is_url(text) else str(Path(text).resolve()), run_beside


def _finished(run: Run) -> Run:
    if run.manifest.verb == "protect" and run.manifest.status != "done":
        raise UsageError(
            "The run that protects this data is not finished, so part of the data is missing.",
            where=str(run.path),
            why=f"its status is {run.manifest.status}",
            fix="give the same noli protect command again; it goes on where it stopped",
        )
    return run


def _folder(place: str) -> Path:
    beside = run_folder(place)
    return beside.with_name(beside.name.removesuffix(".noli") + ".verify.noli")


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


def _begin(folder: Path, arguments: dict[str, Any]) -> Run:
    if not Run.exists(folder):
        data = DataInfo(uri=arguments["protected"])
        return Run.create(
            folder, verb="verify", method=METHOD, args_passed=arguments, args_resolved=arguments, input=data
        )
    run = Run.open(folder)
    same_data = run.manifest.input is not None and run.manifest.input.uri == arguments["protected"]
    if run.manifest.verb != "verify" or not same_data:
        raise UsageError(
            "The run folder belongs to something else.", where=str(folder), fix="choose another --run folder"
        )
    run.resume(args_passed=arguments, args_resolved=arguments)
    return run


def _keep(run: Run, evidence: Evidence) -> None:
    """Write the evidence; an earlier, different one is kept beside it, so that no verdict disappears."""
    file = run.artifact(EVIDENCE)
    new = evidence.model_dump_json(indent=1).encode()
    if file.is_file() and file.read_bytes() != new:
        count = len(list(file.parent.glob("evidence-*.json")))
        atomic_write(run.artifact(f"evidence-{count + 1:03d}.json"), file.read_bytes())
    atomic_write(file, new)
    run.event("verdict", level=evidence.level, verdict=evidence.verdict, value=evidence.value)
    document = json.loads(new)
    kept = {name: document[name] for name in ("verdict", "level", "value", "low", "high", "bound", "n")}
    run.finish({**kept, "reason": evidence.reason, "reference": document["reference"]})


def _typed(error: BaseException) -> BaseException:
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("Stopped.", fix="give the same command again: finished trainings are kept")
    return error


class _Watch:
    """Turns ``(done, all, what)`` into a progress display with one stage for each kind of work."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def stage(self, label: str) -> Callable[[int, int, str], None]:
        """Return a callback; the stage begins with its first call."""
        told = -1

        def tell(done: int, total: int, what: str) -> None:
            nonlocal told
            if told < 0:
                self._bar.start(total, label)
                told = 0
            if done > told:
                self._bar.advance(done - told)
                told = done

        return tell
