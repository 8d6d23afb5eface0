"""Verify: train fresh models on protected data as stored, and keep what came of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from noli import options as option_parser
from noli import registry
from noli.api._write import write_report
from noli.core.dataset import Source, content_id
from noli.core.errors import DataError, Interrupted, UsageError
from noli.core.evidence import Evidence, Level
from noli.core.files import atomic_write, storage_error
from noli.core.manifest import DataInfo
from noli.core.run import Run, dump_line, read_lines
from noli.data.place import is_url
from noli.engine.lock import locked
from noli.engine.progress import Progress
from noli.engine.request import absolute, run_folder
from noli.engine.results import stored_names
from noli.engine.undo import output_of

if TYPE_CHECKING:
    from noli.methods.verify.config import Config
    from noli.methods.verify.subject import LearnabilityData

METHOD = "verify/learnability"
EVIDENCE = "evidence.json"
FRESH_KEYS = 3
# Enough to see one file in a hundred that was exchanged with 87 % probability, and read in a second.
_COMPARED = 200


def verify(
    protected: str | Path,
    *,
    clean: str | Path,
    battery: Literal["quick", "standard", "full"] = "quick",
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
        battery: ``quick``, ``standard`` (three seeds, more rows) or ``full`` (all rows).
        claim: Attacker level at which the claim is made, fixed before anything is trained.
        seeds: Trainings per row; the battery's default when None.
        keys: Also protect the clean images in memory with so many fresh keys and report ordinary training
            on them: mean and worst. Needs the run folder of the protection. None: 0 with ``quick``, with
            the others 3 where that run is known and used a key.
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
    given = {"battery": battery, "claim": claim, "seeds": seeds, **(config or {}), **options}
    cfg: Any = option_parser.resolve(registry.get(METHOD), given)
    place, before = _subject(protected)
    keys = _fresh_keys(keys, cfg.battery, before, place)
    beside = run_folder(place)
    folder = Path(run or beside.with_name(beside.name.removesuffix(".noli") + ".verify.noli"))
    arguments = {
        "protected": place,
        "clean": absolute(clean),
        "config": cfg.model_dump(mode="json"),
        "keys": keys,
    }
    bar = progress if progress is not None else Progress()
    try:
        subject = _read(place, str(clean), cfg, labels, before, bar)
        with locked(folder):
            record = _begin(folder, arguments)
            try:
                evidence = _measure(record, subject, cfg, before, keys, bar)
                _keep(record, evidence)
            except KeyboardInterrupt as stop:
                fix = "give the same command again: finished trainings are kept"
                record.fail(error := Interrupted("Stopped.", fix=fix))
                raise error from stop
            except BaseException as error:
                record.fail(error)
                raise
    finally:
        bar.finish()
    write_report(record)
    if before is not None:
        write_report(before)
    return evidence


def _fresh_keys(asked: int | None, battery: str, before: Run | None, place: str) -> int:
    """Number of fresh keys to compare with; refused where the run that protected the data is unknown."""
    if asked is None:
        keyed = before is not None and before.manifest.key is not None
        return FRESH_KEYS if keyed and battery != "quick" else 0
    if asked and before is None:
        raise UsageError(
            "Fresh keys need the run that protected this data.",
            where=place,
            why="no run folder lies beside it",
            fix="put OUT.noli back beside OUT, or leave --keys out",
        )
    return asked


def _read(
    place: str, clean: str, cfg: Config, labels: str | None, before: Run | None, bar: Progress
) -> LearnabilityData:
    """Load both sides, paired and checked by the records of the protecting run if it is known."""
    from noli.data.sources import open_source
    from noli.methods.verify.load import load

    paths: dict[str, str] = {}
    digests: dict[str, str] = {}
    if before is not None:
        labels = labels or before.manifest.args_resolved.get("labels")
        names = stored_names(before)
        for record in before.iter_records():
            if "error" not in record:
                name = names[record["out"]]
                paths[name], digests[name] = record["path"], record["sha256_out"]
    stored = open_source(place, labels=labels)
    subject = load(stored, clean, cfg, labels=labels, made=paths, progress=_stage(bar, "read"))
    return _compared(subject, stored, digests)


def _compared(subject: LearnabilityData, stored: Source, digests: Mapping[str, str]) -> LearnabilityData:
    """Compare a sample of the stored files with what the protecting run recorded: counts, a note, a doubt."""
    refs = [ref for ref in stored.refs() if ref.path in digests]
    checked = changed = 0
    for ref in refs[:: max(1, -(-len(refs) // _COMPARED))]:
        try:
            digest = content_id(stored.read(ref))[1]
        except DataError:
            continue
        checked += 1
        changed += digest != digests[ref.path]
    if not checked:
        return subject
    counts = {**subject.counts, "stored_checked": float(checked), "stored_changed": float(changed)}
    if not changed:
        return replace(subject, counts=counts)
    note = f"{changed} of {checked} sampled files are not what the protecting run wrote (recorded SHA-256)."
    doubt = (
        f"{note} The evidence would not be about that run. Restore its output, or move the data away "
        "from the run folder to judge it on its own. Nothing was trained."
    )
    mostly = 2 * changed > checked
    return replace(subject, counts=counts, notes=(*subject.notes, note), doubt=doubt if mostly else "")


def _measure(
    record: Run, subject: LearnabilityData, cfg: Config, before: Run | None, keys: int, bar: Progress
) -> Evidence:
    from noli.api._fresh_keys import with_fresh_keys
    from noli.methods.verify.learnability import judge

    cache = TrainingCache(record.artifact("trainings.jsonl"))
    evidence = judge(subject, _origin(before), cfg, progress=_stage(bar, "train"), cache=cache)
    # Without a verdict on the data as published there is nothing to compare fresh keys with.
    if keys and before is not None and evidence.value is not None:
        manifest, note = before.manifest, _stage(bar, "fresh keys")
        evidence = with_fresh_keys(evidence, subject, cfg, manifest, keys, cache, note)
    return evidence


def _subject(protected: str | Path) -> tuple[str, Run | None]:
    """Return where the protected data lies and, if it is found, the run that protected it."""
    place, run = str(protected), None
    if not is_url(place) and Run.exists(place):
        run = Run.open(place)
        if run.manifest.output is None:
            raise UsageError("This run made no data.", where=place, fix="name protected data")
        place = output_of(run)
    else:
        beside = run_folder(place)
        run = Run.open(beside) if Run.exists(beside) else None
        place = place if is_url(place) else str(Path(place).resolve())
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


def _stage(bar: Progress, label: str) -> Callable[[int, int, str], None]:
    """Return a callback for ``(done, all, what)`` that shows a stage of progress from its first call on."""
    told: int | None = None

    def tell(done: int, total: int, what: str) -> None:
        nonlocal told
        if told is None:
            bar.start(total, label)
            told = 0
        if done > told:
            bar.advance(done - told)
            told = done

    return tell


class TrainingCache(dict[str, dict[str, Any]]):
    """Finished trainings: a dict that appends every new entry to a file, so that a killed run goes on.

    Args:
        file: JSON lines, made with the first entry; a line torn by a kill is passed over.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = read_lines(file, torn="skip") if file.is_file() else ()
        super().__init__({line["key"]: line["value"] for line in lines})

    def __setitem__(self, key: str, value: dict[str, Any]) -> None:
        try:
            with self._file.open("ab") as handle:
                # Starting on a fresh line keeps a torn one from swallowing this entry.
                handle.write(b"\n" + dump_line({"key": key, "value": value}))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise storage_error(error, str(self._file)) from error
        super().__setitem__(key, value)
