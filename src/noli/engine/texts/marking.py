"""Mark a collection of texts: places, passages, draws, released files; resumes to the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from noli.core.errors import DataError, Interrupted, OutputExists, UsageError
from noli.core.manifest import DataInfo, KeyInfo
from noli.core.method import Spec
from noli.core.run import Run
from noli.data.documents import Edit, open_texts
from noli.data.writers import check_paths
from noli.engine.lock import locked
from noli.engine.texts import collection as files
from noli.engine.texts.collection import Collection
from noli.engine.texts.drafts import Drafts, TextRequest, drafts, ordered
from noli.engine.texts.record import FileRecord, PassageRecord, TextRecord, seal
from noli.engine.texts.restore import restored
from noli.methods.mark import leximark
from noli.methods.mark.leximark import Config
from noli.proof import releases
from noli.proof.protocol import Protocol
from noli.proof.records import sha256
from noli.proof.releases import Passage

_Plan = tuple[Drafts, Sequence[tuple[str, Passage]], Protocol | None]


def run_texts(request: TextRequest) -> tuple[Run, Protocol | None, TextRecord]:
    """Write a marked copy of a collection, or confirm an earlier one.

    Returns:
        The finished run, the claim to commit (None in the published mode), and the record.

    Raises:
        UsageError: An output in the way, other arguments than the run was begun with, too few passages.
        DataError: A document cannot be read, or there is no place in any.
        RunError: Disk full, place not writable; the same request resumes.
        Interrupted: Ctrl-C; the same request resumes.
    """
    folder = request.folder
    check_paths(request.source, request.output, owned=Run.exists(folder))
    if folder.resolve().is_relative_to(Path(request.source).resolve()):
        raise OutputExists(
            "The run folder lies inside the input.", where=str(folder), fix="name another --run"
        )
    found = Collection.find(request.source)
    made_here = not folder.exists()
    try:
        with locked(folder):
            return _worked(request, folder, found)
    finally:
        if made_here:  # refused before any work: nothing stays behind
            with suppress(OSError):
                folder.rmdir()


def _before(request: TextRequest, folder: Path) -> Run | None:
    """Return the run that was begun with these arguments, if there is one."""
    if not Run.exists(folder):
        return None
    run, resolved = Run.open(folder), request.resolved()
    before = run.manifest.args_resolved
    if run.manifest.verb != "mark" or before != resolved:
        changed = [name for name, value in resolved.items() if before.get(name) != value]
        raise UsageError(
            "The run was begun with other arguments.",
            where=str(folder),
            why=f"different: {', '.join(changed) or 'the verb'}",
            fix="give the arguments it was begun with, or choose another output",
        )
    if run.manifest.status != "running":
        run.resume()
    return run


def _created(request: TextRequest, folder: Path, found: Collection) -> Run:
    resolved = request.resolved()
    return Run.create(
        folder,
        verb="mark",
        method=request.spec.name,
        args_resolved=resolved,
        key=KeyInfo(id=request.key.id, commitment=request.key.commit()),
        input=DataInfo(uri=resolved["source"], layout="texts", items=len(found.texts)),
        output=DataInfo(uri=resolved["output"], layout="texts"),
    )


def _worked(request: TextRequest, folder: Path, found: Collection) -> tuple[Run, Protocol | None, TextRecord]:
    run = _before(request, folder)
    everything = list(drafts(request, found))
    passages = ordered(everything)
    claim = None if request.cfg.mode == "published" else _claim(request, [one for _, one in passages])
    # Not before it is known that the texts can be marked: a refusal leaves nothing behind.
    run = run or _created(request, folder, found)
    try:
        record = _released(request, run, found, (everything, passages, claim))
    except KeyboardInterrupt as exc:
        error = Interrupted("Stopped.", fix="run the same command again: it gives the same bytes")
        run.fail(error)
        raise error from exc
    except BaseException as exc:
        run.fail(exc)
        raise
    return run, claim, record


def _released(request: TextRequest, run: Run, found: Collection, plan: _Plan) -> TextRecord:
    """Write the marked documents, seal what was done, and finish the run."""
    everything, passages, claim = plan
    edits = _published(everything) if claim is None else _drawn(request, claim, passages, everything)
    record = TextRecord(
        passages=tuple(PassageRecord.of(layout, one) for layout, one in passages) if claim else (),
        files=tuple(_written(request, found, everything, edits)),
    )
    seal(run.path, record, request.key)
    results = {**_figures(everything, passages, record), "asked": claim.budget if claim else 0}
    results["others_copied"] = _carried(request, found)
    state = {"protocol": claim.digest if claim else "", "texts": claim.binds["texts"] if claim else ""}
    run.finish(results, state=state)
    return record


def _figures(
    everything: Drafts, passages: Sequence[tuple[str, Passage]], record: TextRecord
) -> dict[str, int]:
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


def _claim(request: TextRequest, passages: Sequence[Passage]) -> Protocol:
    cfg = request.cfg
    if not passages:
        raise DataError(
            "No text has enough words that may vary.",
            where=request.source,
            why=f"a passage of {cfg.passage} characters needs {cfg.least} such places",
            fix="give longer texts, lower --set least or similarity, or raise k and share",
        )
    claim = claim_over(passages, cfg)
    _check_possible(claim, cfg)
    return claim


def claim_over(passages: Sequence[Passage], cfg: Config) -> Protocol:
    """Return the claim that is committed over these passages, in the order of the secrets."""
    return releases.protocol(
        passages,
        ask=cfg.ask,
        variants=count_of(cfg),
        asked=cfg.documents,
        alpha=cfg.alpha,
        looks=cfg.looks,
        tests=cfg.tests,
        words=leximark.WORDS[cfg.ask],
        recipient=cfg.recipient or "",
    )


def count_of(cfg: Config) -> int:
    """Return how many variants a passage has: in a cloze, one per word."""
    return cfg.options if cfg.ask == "cloze" else cfg.variants


def _check_possible(claim: Protocol, cfg: Config) -> None:
    best = float(count_of(cfg)) ** -claim.budget
    if best > claim.alpha / claim.tests:
        raise UsageError(
            "These texts can never be evidence.",
            why=f"{claim.budget} passages of {count_of(cfg)} variants have a p-value of {best:.2g} at best",
            fix="mark more or longer texts, or choose more variants or a larger alpha",
        )


def _drawn(
    request: TextRequest,
    claim: Protocol,
    passages: Sequence[tuple[str, Passage]],
    everything: Drafts,
) -> dict[tuple[str, int], list[Edit]]:
    drawn = {}
    for (_, passage), number in zip(passages, releases.released(claim, request.key), strict=True):
        drawn[passage.id] = releases.variants(passage, request.key, count_of(request.cfg))[number]
    edits: dict[tuple[str, int], list[Edit]] = {}
    for draft, *_ in everything:
        own = edits.setdefault((draft.name, draft.number), [])
        for start, passage in draft.passages:
            for place, pick in zip(passage.places, drawn[passage.id], strict=True):
                if pick:  # number 0 is the word that stands there
                    own.append(Edit(start + place.start, start + place.end, place.words[pick]))
    return edits


def _published(everything: Drafts) -> dict[tuple[str, int], list[Edit]]:
    dictionary: dict[str, str] = {}
    return {
        (draft.name, draft.number): [
            Edit(slot.start, slot.end, word)
            for slot, word in zip(draft.slots, leximark.published(draft.slots, dictionary), strict=True)
        ]
        for draft, *_ in everything
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
