"""Audit a locked model anew, on pictures that are given now, by the attacks that its lock runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noli import registry
from noli.core.attacks import Named, named, typed, unfitting
from noli.core.errors import DataError, UsageError
from noli.core.key import Key
from noli.core.manifest import DataInfo, KeyInfo
from noli.core.run import Run
from noli.engine.given import sided
from noli.engine.keyed import ModelJob, job_for
from noli.engine.lock import locked
from noli.engine.lockedmodels import FILES, Background, Kind, background, keys_of, kind_of, model_folder
from noli.engine.locking import RESUME, LockRequest, digest, same_pictures
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, KeyLike, open_key
from noli.ops.lockclaims import ATTACK, figures
from noli.ops.lockclaims import fallen as broken
from noli.options import resolve

MEASURED: Mapping[Kind, str] = {"keyed-model": "lock/embeddings", "locked-detector": "lock/detector"}
# Options of a lock that say how it was made; an audit cannot change them.
MADE = ("pairs", "network", "converted", "side", "mode", "layers", "new_head")


@dataclass(frozen=True)
class ModelAudit(LockRequest):
    """One audit.

    Attributes:
        digest: SHA-256 of the file that says what the model's folder holds.
        only: The one attack that is made, as it was typed; None: all. It is no argument of the run, whose
            folder keeps what several single attacks found.
    """

    digest: str = ""
    only: str | None = None

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides what is found."""
        return {**super().resolved(), "digest": self.digest}


def audit_model(
    model: str | Path,
    *,
    clean: str | Path,
    key: KeyLike,
    public: str | Path | None = None,
    on_error: ErrorPolicy = "fail",
    labels: str | None = None,
    run: str | Path | None = None,
    only: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Measure again what a locked model is worth: use with and without its key, attacks, theft.

    A share of the pictures (``held_out``) tests; thieves have the others. With the pictures that the model
    was locked with, these are the same as then. What is measured is kept, so that the same call resumes.

    Args:
        model: Folder of a keyed model or a locked detector, or its run folder.
        clean: Pictures with classes, or with boxes.
        key: The owner's key, or the path of a key file without a passphrase: some attackers have it.
        public: The network that the model was made from; None: the one beside the model, in its run folder.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        labels: Column or array with the class, where the layout does not say.
        run: Run folder; ``MODEL.verify.noli`` beside the model when None, or ``MODEL.attack.noli``.
        only: Name of the one attack that is made (:mod:`noli.core.attacks`); None: all. Its figures are the
            same as among all.
        progress: Where progress goes; nowhere when None.
        options: Options of the lock that attacks have, such as ``attack_steps``.

    Returns:
        The finished run, with results as those of :func:`noli.lock_model`; its report is the page. After one
        attack there are its figures only.

    Raises:
        UsageError: No locked model, no key, no public network, options that say how the model was made, or
            an attack that does not suit it.
        WrongKey: It is not the model's; noticed before any picture is read.
        DataError: Pictures that cannot be used, too few for the attack, or a damaged model.
        Interrupted: Ctrl-C; the same call goes on.
    """
    folder = model_folder(model)
    request = _request(folder, model, clean, key, public, on_error, labels, run, only, progress, options)
    verb = "verify" if only is None else "attack"
    with locked(request.folder):
        found = Run.open(request.folder) if Run.exists(request.folder) else None
        if found is not None:
            found.refuse_other(verb, request.resolved())
            before = str(found.manifest.results.get(ATTACK, ""))
            if found.manifest.status == "done" and typed(only or "") == typed(before):
                return found
        job = job_for(request)
        made = job.load(folder)
        one = None if only is None else _chosen(only, job.fitting(made), model)
        record = found or _created(request, job, verb)
        if record.manifest.status == "done":
            record.resume()
        same_pictures(record, job.items, request.source)
        with record.recording_failures(RESUME):
            job.read()
            results = job.measure(made, job.load_public(Path(request.model)), record, one)
            if one is not None:
                _refuse_none(one, results, request.source)
                results = {**results, ATTACK: one.name}
            record.finish(results)
    return record


def _request(
    folder: Path,
    model: str | Path,
    clean: str | Path,
    key: KeyLike,
    public: str | Path | None,
    on_error: ErrorPolicy,
    labels: str | None,
    run: str | Path | None,
    only: str | None,
    progress: Progress | None,
    options: dict[str, Any],
) -> ModelAudit:
    kind = kind_of(folder)
    if kind is None or kind not in MEASURED:
        fix = "a fleet is measured by noli lock proliferate, scrambled pictures by noli.audit"
        raise UsageError("This is no locked model that can be measured.", where=str(model), fix=fix)
    verb = "verify" if only is None else "attack"
    past = background(model) or background(folder)
    if made := [name for name in options if name == "new_head" or (past and name in MADE)]:
        raise UsageError("This says how a model is locked, not how it is attacked.", where=made[0])
    spec = registry.get(MEASURED[kind])
    # A new head is in the public network by now.
    known = {name: value for name, value in (past.config if past else {}).items() if name != "new_head"}
    asked = ModelAudit(
        source=str(clean),
        output=str(folder),
        spec=spec,
        cfg=resolve(spec, {**known, **options}),
        key=_owner(folder, kind, key),
        run_dir=Path(run) if run is not None else folder.with_name(f"{folder.name}.{verb}.noli"),
        progress=progress or Progress(),
        model=str(_public(past, public, folder)),
        labels=labels,
        on_error=on_error,
        digest=digest(folder / FILES[kind]),
        only=only,
    )
    return sided(asked)


def _owner(folder: Path, kind: Kind, key: KeyLike) -> Key:
    """Return the key of a model, which must be its own."""
    if kind == "keyed-model":
        from noli.zoo.keyed_folder import read_manifest

        facts = read_manifest(folder)
        found = keys_of(facts, key, folder)
        if len({pair.key_id for pair in facts.pairs}) > 1:
            fix = "give all of its pairs one key with noli lock rotate"
            raise UsageError("The pairs of this model have several keys.", where=str(folder), fix=fix)
        return found[0]
    from noli.zoo.locked_detector import load_locked

    lock = load_locked(folder / FILES[kind]).lock
    owner = open_key(key, lock.key_id)
    if owner is None:
        raise UsageError("A locked detector is measured with its key.", where=str(folder), fix="give the key")
    lock.check(owner)
    return owner


def _public(past: Background | None, public: str | Path | None, folder: Path) -> Path:
    found = Path(public) if public is not None else past.public if past else None
    if found is None or not found.exists():
        why = "attackers who know it are measured, and no run beside the model has it"
        fix = "put the run folder back beside the model, or say --model FILE (public=...)"
        raise UsageError("The public network is not there.", where=str(found or folder), why=why, fix=fix)
    return found


def _chosen(only: str, fitting: Sequence[Named[str]], model: str | Path) -> Named[str]:
    one = named(only, fitting)
    if one is None:
        raise unfitting(only, [each.name for each in fitting], str(model))
    return one


def _refuse_none(one: Named[str], results: Mapping[str, Any], source: str) -> None:
    """Refuse an attack that was given nothing to do, which would look like a pass."""
    if "robustness" in results and not results["robustness"]["clean"]:
        why = "it gets none of the attacked pictures right as they are"
        raise DataError(f"{one.word} has nothing to change: the model is wrong.", where=source, why=why)
    if not figures(results):
        why = f"{results['training']:,} are the thief's, {results['held_out']:,} test"
        raise DataError(f"There are too few pictures for {one.word}.", where=source, why=why, fix="give more")


def _created(request: ModelAudit, job: ModelJob, verb: str) -> Run:
    resolved = request.resolved()
    return Run.create(
        request.folder,
        verb=verb,
        method=request.spec.name,
        args_resolved=resolved,
        key=KeyInfo(id=request.key.id, commitment=request.key.commit()),
        input=DataInfo(uri=resolved["source"], layout="pictures"),
        output=DataInfo(uri=resolved["output"], layout=job.layout),
        state={},
    )


def fallen(run: Run) -> tuple[str, ...]:
    """Return what of a lock's claim does not hold, in words; see :func:`noli.ops.lockclaims.fallen`."""
    return broken(run.manifest.results, registry.module(str(run.manifest.method)).MEASURE[0])
