"""Mark a collection of texts: places, passages, draws, released files; resumes to the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from noli.core.errors import OutputExists
from noli.core.manifest import DataInfo, ErrorInfo, KeyInfo
from noli.core.method import Spec, State
from noli.core.run import Run
from noli.data.documents import Edit, open_texts
from noli.data.writers import check_paths
from noli.engine.lock import held
from noli.engine.texts import collection as files
from noli.engine.texts.claims import (
    SOURCE,
    Passages,
    draws_of,
    plan_of,
    refuse_changed,
    refuse_other_texts,
    secrets_of,
)
from noli.engine.texts.claims import claim_over as claim_over
from noli.engine.texts.claims import count_of as count_of
from noli.engine.texts.collection import Collection
from noli.engine.texts.drafts import Drafts, TextRequest, drafts, ordered
from noli.engine.texts.edits import drawn_edits, published_edits
from noli.engine.texts.record import FileRecord, PassageRecord, TextRecord, seal
from noli.engine.texts.restore import restored
from noli.methods.mark.leximark import Config
from noli.proof import releases
from noli.proof.commitment import Vault
from noli.proof.marks import WAITING, public_of
from noli.proof.records import sha256

Draws = Callable[[int], str]
_Plan = tuple[Drafts, Passages, Vault | None]


def run_texts(request: TextRequest) -> tuple[Run, Vault | None, TextRecord]:
    """Write a marked copy of a collection, or confirm an earlier one.

    A run that was begun with a commitment (:func:`begin_texts`) is marked as that and its public randomness
    say.

    Returns:
        The finished run, the secrets to commit to (None in the published mode), and the record.

    Raises:
        UsageError: An output in the way, other arguments than the run was begun with, too few passages,
            public randomness that is not known yet.
        DataError: A document cannot be read, there is no place in any, or the texts are not those of an
            earlier commitment.
        RunError: Disk full, place not writable; the same request resumes.
        Interrupted: Ctrl-C; the same request resumes.
    """
    check_places(request)
    found = request.collection()
    with held(request.folder):
        return _worked(request, found)


def check_places(request: TextRequest) -> None:
    """Refuse an output or a run folder that would touch the input or something else.

    Raises:
        OutputExists: It would.
    """
    folder = request.folder
    # While a run waits it has written nothing there: what lies at the output is somebody else's.
    owned = Run.exists(folder) and not _waits(Run.open(folder))
    check_paths(request.source, request.output, owned=owned)
    if folder.resolve().is_relative_to(Path(request.source).resolve()):
        raise OutputExists(
            "The run folder lies inside the input.", where=str(folder), fix="name another --run"
        )


def _waits(run: Run) -> bool:
    return run.manifest.error is not None and run.manifest.error.type == WAITING


def begun_before(request: TextRequest) -> Run | None:
    """Return the run that was begun with these arguments, if there is one.

    Raises:
        UsageError: It was begun with others.
    """
    folder = request.folder
    if not Run.exists(folder):
        return None
    run = Run.open(folder)
    run.refuse_other("mark", request.resolved())
    return run


def begin_texts(
    request: TextRequest, found: Collection, passages: Passages, state: State, why: ErrorInfo
) -> Run:
    """Begin a run that has committed to its passages, and marks nothing yet.

    Args:
        request: The marking.
        found: The collection.
        passages: All of them, in the order of the secrets.
        state: The commitment, and the public randomness that is waited for.
        why: Why nothing is marked; of the type ``WAITING``.
    """
    # First: without its passages nothing can be said of a commitment, and only the run makes that count.
    seal(request.folder, TextRecord(passages=_recorded(passages), files=()), request.key)
    return _created(request, found, state=state, error=why, status="interrupted")


def _created(request: TextRequest, found: Collection, **fields: Any) -> Run:
    resolved = request.resolved()
    return Run.create(
        request.folder,
        verb="mark",
        method=request.spec.name,
        args_resolved=resolved,
        key=KeyInfo(id=request.key.id, commitment=request.key.commit()),
        input=DataInfo(uri=resolved["source"], layout="texts", items=len(found.texts)),
        output=DataInfo(uri=resolved["output"], layout="texts"),
        **fields,
    )


def _worked(request: TextRequest, found: Collection) -> tuple[Run, Vault | None, TextRecord]:
    run = begun_before(request)
    state: State = (run.manifest.state or {}) if run is not None else {}
    public = draws_of(state)
    everything = list(drafts(request, found))
    source = files.digest([(draft.name, data) for draft, _, data in everything])
    refuse_other_texts(state, source, request.source)
    passages, vault = ordered(everything), None
    if request.cfg.mode != "published":
        vault = secrets_of(request, passages, plan_of(state))
        refuse_changed(state, vault, request.source)
    # Not before it is known that the texts can be marked: a refusal leaves nothing behind.
    if run is None:
        run = _created(request, found, state={SOURCE: source})
    elif run.manifest.status != "running":
        run.resume()
    with run.recording_failures("run the same command again: it gives the same bytes"):
        run.update(state={**(run.manifest.state or {}), SOURCE: source})
        record = _released(request, run, found, (everything, passages, vault), public)
    return run, vault, record


def _released(request: TextRequest, run: Run, found: Collection, plan: _Plan, public: Draws) -> TextRecord:
    """Write the marked documents, seal what was done, and finish the run."""
    everything, passages, vault = plan
    claim = vault.protocol if vault is not None else None
    edits = published_edits(everything)
    if claim is not None:
        edits = drawn_edits(request, releases.released(claim, request.key, public), passages, everything)
    record = TextRecord(
        passages=_recorded(passages) if claim else (),
        files=tuple(_written(request, found, everything, edits)),
    )
    seal(run.path, record, request.key)
    results = {**_figures(everything, passages, record), "asked": claim.budget if claim else 0}
    results["others_copied"] = _carried(request, found)
    if found.left_out:
        results["skipped"] = len(found.left_out)
        run.event("skipped", items=list(found.left_out))
    own = {"protocol": claim.digest if claim else "", "texts": claim.binds["texts"] if claim else ""}
    kept = {**public_of(run.manifest.state), SOURCE: (run.manifest.state or {}).get(SOURCE, "")}
    run.finish(results, state={**kept, **own})
    return record


def _recorded(passages: Passages) -> tuple[PassageRecord, ...]:
    return tuple(PassageRecord.of(layout, one) for layout, one in passages)


def _figures(everything: Drafts, passages: Passages, record: TextRecord) -> dict[str, int]:
    texts = [draft for draft, *_ in everything if draft.number >= 0]
    return {
        "files": len(record.files),
        "texts": len(texts),
        "texts_without_places": sum(not draft.slots for draft in texts),
        "packed_otherwise": sum(one.before != one.back for one in record.files),
        "words": sum(draft.words for draft in texts),
        "places": sum(len(one.places) for _, one in passages),
        "replaced": sum(len(one.edits) for one in record.files),
        "passages": len(passages),
    }


def _written(
    request: TextRequest,
    found: Collection,
    everything: Drafts,
    edits: Mapping[tuple[str, int], list[Edit]],
) -> Iterable[FileRecord]:
    output = Path(request.output)
    documents = {draft.name: (document, data) for draft, document, data in everything}
    for name, (document, data) in documents.items():
        own = {number: edits.get((name, number), []) for number in range(len(document.texts))}
        made = document.rewritten(own)
        edits_of = tuple(
            (number, one.start, one.end, document.texts[number].raw[one.start : one.end], one.new)
            for number, some in own.items()
            for one in some
        )
        back = restored(open_texts(name, made, request.cfg.field), edits_of)
        files.write_if_other(files.target_of(output, found, name), made)
        yield FileRecord(
            name=name, before=sha256(data), after=sha256(made), back=sha256(back), edits=edits_of
        )


def _carried(request: TextRequest, found: Collection) -> int:
    for name in found.others:
        files.write_if_other(files.target_of(Path(request.output), found, name), found.bytes_of(name))
    return len(found.others)


def config_of(run: Run, spec: Spec) -> Config:
    """Return the configuration of a finished marking."""
    return cast(Config, spec.config.model_validate(run.manifest.args_resolved["config"]))
