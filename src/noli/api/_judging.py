"""What judging protected data shares: find it, load it, keep what came of it in a run folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from noli import registry
from noli.api._write import write_report
from noli.core.dataset import Source, content_id
from noli.core.errors import DataError, UsageError
from noli.core.evidence import Evidence
from noli.core.files import atomic_write
from noli.core.manifest import DataInfo
from noli.core.run import Run, append_line, read_lines
from noli.data.place import is_url
from noli.engine.lock import locked
from noli.engine.progress import Progress, stage
from noli.engine.request import absolute, run_folder
from noli.engine.results import stored_names
from noli.engine.undo import output_of
from noli.options import resolve

if TYPE_CHECKING:
    from noli.methods.verify.config import Config
    from noli.methods.verify.subject import LearnabilityData

METHOD = "verify/learnability"
EVIDENCE = "evidence.json"
TRAININGS = "trainings.jsonl"
VERBS = ("verify", "attack")
# Enough to see one file in a hundred that was exchanged with 87 % probability, and read in a second.
_COMPARED = 200


class TrainingCache(dict[str, dict[str, Any]]):
    """Finished trainings: a dict that appends every new entry to a file, so that a killed run goes on.

    `others` are files of other runs on the same data, which are only read.
    """

    def __init__(self, file: Path, others: Iterable[Path] = ()) -> None:
        self._file = file
        found = (read_lines(place, torn="skip") for place in (*others, file) if place.is_file())
        super().__init__({line["key"]: line["value"] for lines in found for line in lines})

    def __setitem__(self, key: str, value: dict[str, Any]) -> None:
        append_line(self._file, {"key": key, "value": value}, durable=True)
        super().__setitem__(key, value)


# Data, what ties it to the protecting run, finished trainings -> evidence.
Measuring = Callable[["LearnabilityData", dict[str, str], TrainingCache], Evidence]


def configured(
    config: Mapping[str, object] | None, options: Mapping[str, object], **arguments: object
) -> Config:
    """Return the Config: options and arguments win over the mapping, except arguments that are None."""
    given = {name: value for name, value in arguments.items() if value is not None}
    return cast("Config", resolve(registry.get(METHOD), {**(config or {}), **given, **options}))


def folder_beside(place: str, verb: str) -> Path:
    """Return the run folder of a verb beside protected data."""
    beside = run_folder(place)
    return beside.with_name(f"{beside.name.removesuffix('.noli')}.{verb}.noli")


def judged(
    place: str,
    before: Run | None,
    clean: str | Path,
    cfg: Config,
    measure: Measuring,
    *,
    verb: str,
    further: Mapping[str, object],
    labels: str | None,
    run: str | Path | None,
    bar: Progress,
) -> Evidence:
    """Load both sides, measure, and keep the evidence in a run folder with its report.

    `before` is the run that protected the data at `place`, `further` what the manifest notes beside data and
    configuration. `verb` names the run folder beside the data, where `run` does not.

    Raises:
        Interrupted: Ctrl-C; the same call goes on.
    """
    folder = Path(run) if run is not None else folder_beside(place, verb)
    _refuse_swapped(place, str(clean))
    config = cfg.model_dump(mode="json")
    arguments = {"protected": place, "clean": absolute(clean), "config": config, **further}
    try:
        subject = _read(place, str(clean), cfg, labels, before, bar)
        with locked(folder):
            record = _begin(folder, verb, arguments)
            # A training is the same whichever command asks for it.
            others = [folder_beside(place, other) / "artifacts" / TRAININGS for other in VERBS]
            cache = TrainingCache(record.artifact(TRAININGS), others)
            with record.recording_failures("give the same command again: finished trainings are kept"):
                evidence = measure(subject, _origin(before), cache)
                _keep(record, evidence)
    finally:
        bar.finish()
    write_report(record)
    return evidence


def _refuse_swapped(place: str, clean: str) -> None:
    """Refuse "originals" that a run of noli protected: the verdict would be about nothing."""
    beside = run_folder(clean)
    if not Run.exists(beside):
        return
    manifest = Run.open(beside).manifest
    if manifest.verb != "undo" and manifest.output is not None and manifest.output.uri == absolute(clean):
        source = manifest.input.uri if manifest.input else "the originals"
        raise UsageError(
            "The originals that were named are protected pictures.",
            where=clean,
            why=f"{beside} made them of {source}",
            fix=f"name the protected pictures first, then the originals: {clean} --clean {source}",
        )


def subject_of(protected: str | Path) -> tuple[str, Run | None]:
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
    subject = load(stored, clean, cfg, labels=labels, made=paths, progress=stage(bar, "read"))
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


def _begin(folder: Path, verb: str, arguments: dict[str, Any]) -> Run:
    if not Run.exists(folder):
        data = DataInfo(uri=arguments["protected"])
        return Run.create(
            folder, verb=verb, method=METHOD, args_passed=arguments, args_resolved=arguments, input=data
        )
    run = Run.open(folder)
    same_data = run.manifest.input is not None and run.manifest.input.uri == arguments["protected"]
    if run.manifest.verb != verb or not same_data:
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
