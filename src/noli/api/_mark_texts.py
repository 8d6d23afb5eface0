"""Mark a collection of texts, and commit to its secrets, before anything is published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from noli import registry
from noli.api._beacon import Wanted
from noli.api._commit_first import committed_of, planned, refuse_beacon
from noli.api._mark import COMMITMENT, PROOF, committed
from noli.api._released import note_release
from noli.api._texts_first import await_round
from noli.core.errors import UsageError
from noli.core.files import atomic_write, write_new
from noli.core.key import Key
from noli.core.run import Run
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, KeyLike, folder_of, key_for
from noli.engine.texts.claims import claim_over, vault_of
from noli.engine.texts.drafts import TextRequest, drafts
from noli.engine.texts.marking import config_of, run_texts
from noli.engine.texts.proposals import approval, table
from noli.engine.texts.record import TextRecord, unseal
from noli.methods.mark.leximark import Config
from noli.options import configure
from noli.proof.beacon import round_time
from noli.proof.commitment import Commitment, Vault
from noli.proof.records import sha256

_PAGE = "changes.html"


class TextRun(Run):
    """A marking of texts.

    Attributes:
        commitment: To be published before the texts are, and before the beacon's round; None in the published
            mode, which proves nothing.
        waiting: Whether nothing is marked yet, because the beacon's round is not published.
    """

    commitment: Commitment | None = None
    waiting: bool = False

    @property
    def round_time(self) -> datetime | None:
        """When the round appears that decides which variants are released; None without a beacon."""
        plan = planned(self)
        return round_time(plan.round) if plan is not None else None

    @property
    def output(self) -> str:
        """Where the marked texts lie."""
        return self.manifest.output.uri if self.manifest.output else ""

    @property
    def commitment_file(self) -> Path:
        """Where the commitment lies."""
        return self.path / PROOF / COMMITMENT

    @property
    def changes_file(self) -> Path:
        """The page that shows every change; for the owner only."""
        return self.path / _PAGE


def request_for(
    data: str | Path,
    output: str | Path,
    method: str = "leximark",
    *,
    key: KeyLike,
    approved: str | Path | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    on_error: ErrorPolicy = "fail",
    config: Mapping[str, object] | None = None,
    **options: object,
) -> TextRequest:
    """Check the arguments of :func:`mark_texts`."""
    spec = registry.get(method if "/" in method else f"mark/{method}")
    owner = key_for(spec, key, folder_of(run, output))
    cfg = configure(Config, spec.name, {**(config or {}), **options})
    more: dict[str, Any] = {}
    if approved is not None:
        more = {"approve": approval(approved), "approved": sha256(Path(approved).read_bytes())}
    return TextRequest(
        source=str(data),
        output=str(output),
        spec=spec,
        cfg=cfg,
        key=owner,
        run_dir=None if run is None else Path(run),
        progress=progress or Progress(),
        on_error=on_error,
        **more,
    )


def mark_texts(
    data: str | Path,
    output: str | Path,
    method: str = "leximark",
    *,
    name: str = "",
    beacon: bool = False,
    beacon_delay: int = 10,
    beacon_file: str | Path | None = None,
    allow_network: bool = False,
    **arguments: Any,
) -> TextRun:
    """Write a marked copy of texts, and the commitment that has to be published before it.

    With a beacon the first call only commits; the same call after the round appeared marks.

    Args:
        data: A folder, or one file, of text, Markdown, HTML, LaTeX, JSONL or Word documents.
        output: A new place of the same kind.
        method: Registry name, or the short one.
        name: Who claims, in words; it is part of the commitment.
        beacon: Let a round of drand that is not published yet decide which variants are released.
        beacon_delay: Minutes from the first call to that round; later calls do not change it.
        beacon_file: The round's JSON as drand serves it.
        allow_network: Whether noli may fetch the round.
        arguments: ``key`` (needed), ``approved`` (table of :func:`propose_words`), ``run``, ``progress``,
            ``on_error`` (``fail``, or ``skip`` to leave out documents that cannot be read), ``config`` and
            options of the method.

    Returns:
        The run; nothing is marked while it is ``waiting``.

    Raises:
        UsageError: A bad option, an output in the way, texts that can never be evidence, or a run that was
            begun with a beacon where there is none now, or the reverse.
        DataError: A document cannot be read, no word of any may vary, the texts are not those of the
            commitment, or what should be the round is not.
        MissingPrerequisite: For a beacon: py_ecc is missing, or its round where it is published already.
        RunError: Disk full, place not writable; the same call resumes.
        Interrupted: Ctrl-C; the same call resumes.
    """
    request = request_for(data, output, method, **arguments)
    if beacon:
        file = Path(beacon_file) if beacon_file is not None else None
        begun, ready = await_round(request, name, Wanted(beacon_delay, file, allow_network))
        if not ready:
            run = TextRun(begun.path, begun.manifest)
            run.commitment, run.waiting = committed_of(begun), True
            return run
    else:
        refuse_beacon(request.folder, given=allow_network or beacon_file is not None)
    done, vault, record = run_texts(request)
    run = TextRun(done.path, done.manifest)
    if vault is not None:
        run.commitment = committed(run, vault, name)
        note_release(run, request.key, [run.commitment])
    _write_page(run, request, record)
    return run


def propose_words(
    data: str | Path, table_file: str | Path, method: str = "leximark", **arguments: Any
) -> int:
    """Write a table of the words that may vary, for approval; nothing is marked.

    Args:
        data: As for :func:`mark_texts`.
        table_file: Where the table goes: a new file.
        method: As for :func:`mark_texts`.
        arguments: As for :func:`mark_texts`; a key is not needed.

    Returns:
        Number of words.

    Raises:
        OutputExists: The file is there already.
        DataError: A document cannot be read.
    """
    # Nothing of it depends on the key.
    request = request_for(data, table_file, method, key=Key.generate(), **arguments)
    found = request.collection()
    rows = [
        (draft.name, draft.number, document.texts[draft.number].raw, draft.slots)
        for draft, document, _ in drafts(request, found)
        if draft.slots
    ]
    write_new(Path(table_file), table(rows, request.cfg.options))
    return sum(len(slots) for *_, slots in rows)


def text_vault(run: Run, key: Key) -> Vault:
    """Return the owner's secrets for a marking of texts, finished or waiting for a beacon.

    Raises:
        UsageError: It was made in the published mode.
        DataError: The record was changed.
        RunError: It is missing.
    """
    record, cfg = record_of(run, key)
    if not record.passages:
        fix = "mark the texts in the keyed mode"
        raise UsageError("The published mode proves nothing.", where=str(run.path), fix=fix)
    claim = claim_over([one for _, one in record.ordered], cfg, planned(run))
    return vault_of(claim, record.ordered, key, cfg)


def record_of(run: Run, key: Key) -> tuple[TextRecord, Config]:
    """Open the record of a marking of texts.

    Raises:
        DataError: Another key, or a changed record.
        RunError: It is missing.
    """
    spec = registry.get(str(run.manifest.method))
    return unseal(run.path, key), config_of(run, spec)


def _write_page(run: TextRun, request: TextRequest, record: TextRecord) -> None:
    from noli.report.texts import ChangedText, render

    edits = {one.name: one.edits for one in record.files}
    texts = []
    for name, _, document in request.collection().open(request.cfg.field):
        for number, text in enumerate(document.texts):
            own = [(start, end, new) for n, start, end, _, new in edits[name] if n == number]
            if own:
                texts.append(ChangedText(name, text.raw, sorted(own)))
    page = render(Path(request.output).name, run.manifest.results, texts)
    atomic_write(run.changes_file, page.encode("utf-8", "replace"))
