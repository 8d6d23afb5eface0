"""Detect: ask a suspect the secret queries, and bundle what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noli.api._beacon import PROOF, beacon_of
from noli.api._bodies import keeper
from noli.api._bodies import members as bodies_of
from noli.api._mark import commitment_of, marking, owner_key, test_of, vault_of
from noli.api._released import release_of, stamps_record
from noli.api._suspects import queries_of
from noli.core.environment import capture_environment
from noli.core.errors import DataError, UsageError
from noli.core.files import refuse_existing
from noli.core.run import Run
from noli.engine.lock import held
from noli.engine.progress import Progress
from noli.engine.request import KeyLike
from noli.proof import ledger
from noli.proof.claim import Claim, Suspect
from noli.proof.commitment import Commitment
from noli.proof.kinds import kind
from noli.proof.ledger import Spent
from noli.proof.protocol import Protocol
from noli.proof.records import Damaged
from noli.proof.released import Bound
from noli.proof.reproducing import extras, randomness
from noli.proof.session import Ask, Extras, Session, claim_of, enter, members, write_bundle
from noli.proof.times import check_imprint, parse
from noli.proof.transcript import Transcript

LEDGER, TRANSCRIPT = "ledger.jsonl", "transcript.jsonl"


@dataclass(frozen=True)
class Detection:
    """What asking a suspect gave.

    Attributes:
        claim: The claim, with its test and verdict.
        bundle: Where the evidence lies; None if none was asked for.
        transcript: Where every answer is noted.
        protocol: What was committed.
        hopeless: Whether so much was not answered that the rest could not have been evidence.
    """

    claim: Claim
    bundle: Path | None
    transcript: Path
    protocol: Protocol
    hopeless: bool = False

    @property
    def test(self) -> str:
        """Which kind of test was made, such as ``labels``."""
        return self.protocol.test

    @property
    def supported(self) -> bool:
        """Whether the claim holds at the error probability that was fixed beforehand."""
        return self.claim.verdict.supported

    def as_dict(self) -> dict[str, Any]:
        """Return the result for machines."""
        return {
            "supported": self.supported,
            "test": self.test,
            "hopeless": self.hopeless,
            "bundle": str(self.bundle) if self.bundle else None,
            "transcript": str(self.transcript),
            "claim": self.claim.model_dump(mode="json"),
        }


def detect(
    marked: str | Path,
    *,
    key: KeyLike,
    endpoint: str | Path | None = None,
    model: str | Path | None = None,
    suspect: str | None = None,
    since: str | None = None,
    bundle: str | Path | None = None,
    stamps: Sequence[str | Path] = (),
    label_map: str | Path | None = None,
    test: str | None = None,
    bodies: bool = False,
    progress: Progress | None = None,
) -> Detection:
    """Ask a model the secret queries of a marking, note every answer, and test what came back.

    Killed, it goes on with the same call: answers that were noted are not asked for again. A finished test of
    the same suspect (name, address or weights, label map) is not repeated, either, because asking until it
    succeeds would not be a test.

    Args:
        marked: The marked data, or the run folder of its marking.
        key: The key that marked it, or the path of a key file without a passphrase.
        endpoint: Description of a served model, YAML or JSON (:mod:`noli.adapters`).
        model: Instead of it, a model file of noli, or the folder of a language or text-to-image model.
        suspect: Name of the model in words; the place of `endpoint` or `model` by default.
        since: Earliest time at which somebody saw it, ISO 8601 with a zone; for the certificate.
        bundle: Where the evidence is written: a new file. None: nowhere.
        stamps: Time stamps of the commitment (RFC 3161 responses), or of the record of released files that
            was signed after it, for the bundle.
        label_map: For `model`: its class names to the owner's, JSON or CSV.
        test: Of a mark with several tests, which one; the first by default.
        bodies: For `endpoint`: keep what is sent and received, and put it into the bundle. Queries that were
            made without it have digests only.
        progress: Where progress goes; nowhere when None.

    Raises:
        UsageError: Neither or both of `endpoint` and `model`, bodies that are not to be had, a time without a
            zone, a bad description, a budget that does not reach for the test, or so many tests that no
            answers could be evidence any more.
        WrongKey: The data was marked with another key.
        DataError: The commitment is not that of these secrets, the beacon's round is not the planned one, or
            a transcript was changed.
        RunError: The commitment or the beacon's round is missing.
        MissingPrerequisite: For a beacon: py_ecc is missing.
        OutputExists: `bundle` is there already.
    """
    _refuse_unclear(endpoint, model, bodies, bundle)
    run, spec = marking(marked)
    owner, which = owner_key(key, run), test_of(spec, test)
    vault = vault_of(run, spec, owner, which)
    commitment = commitment_of(run, vault, which)
    own, later = _sorted(stamps, run, commitment)
    beacon = beacon_of(run, commitment)
    released, release = release_of(run, commitment, later)
    # Two of them at once would write into one transcript, or one ledger.
    with ExitStack() as stack:
        stack.enter_context(held(run.path))
        queries = queries_of(run, spec, owner, commitment.protocol)
        if endpoint is not None:
            ask, facts = queries.served(Path(endpoint), stack, keeper(run) if bodies else None)
        else:
            ask, facts = queries.loaded(str(model), label_map)
        who = Suspect(name=_name(suspect, endpoint or model), since=_time(since), **facts)
        folder, further = _folder(run, who, which)
        transcript, spent_file = _transcript(folder / TRANSCRIPT, who.identity), run.path / PROOF / LEDGER
        session = _priced(Session(vault, commitment, transcript, beacon), folder, further, spent_file)
        if endpoint is not None:
            _refuse_short(Path(endpoint), session, queries.requests)
        folder.mkdir(parents=True, exist_ok=True)
        _run(session, ask, progress if progress is not None else Progress())
        claim, spent = claim_of(session, who, spent_file)
    if bundle is not None:
        kept = bodies_of(run, transcript.entries) if bodies else {}
        extras = Extras({**released, **kept, **_environment(session)}, own)
        found = members(session, claim, spent, extras)
        write_bundle(Path(bundle), {**found, **_reports(claim, session, spent, release, found)}, owner)
    place = Path(bundle) if bundle else None
    return Detection(claim, place, folder / TRANSCRIPT, commitment.protocol, session.hopeless())


def _refuse_unclear(
    endpoint: str | Path | None, model: str | Path | None, bodies: bool, bundle: str | Path | None
) -> None:
    if (endpoint is None) == (model is None):
        raise UsageError("A suspect is a served model or a model file.", fix="give --endpoint or --model")
    if bodies and endpoint is None:
        raise UsageError("Only a served model has bodies.", where="--bodies", fix="give it with --endpoint")
    if bundle is not None:
        refuse_existing(bundle)


def rehearse(
    marked: str | Path,
    *,
    key: KeyLike,
    endpoint: str | Path | None,
    suspect: str | None = None,
    test: str | None = None,
) -> dict[str, Any]:
    """Say what the first request to a served model would be, without sending or noting anything.

    Args:
        marked: As for :func:`detect`.
        key: As for :func:`detect`.
        endpoint: As for :func:`detect`.
        suspect: As for :func:`detect`: what was answered before is not asked again.
        test: As for :func:`detect`.

    Returns:
        Address, method, names of headers, a shortened body, its size, and how long all queries would take.

    Raises:
        UsageError: No endpoint, a bad description, or a budget that does not reach for the test.
        WrongKey: The data was marked with another key.
        NoliError: As for :func:`detect`.
    """
    from noli.adapters.config_file import load_endpoint

    if endpoint is None:
        raise UsageError("A rehearsal needs the description of a served model.", fix="give --endpoint")
    run, spec = marking(marked)
    owner, which = owner_key(key, run), test_of(spec, test)
    vault = vault_of(run, spec, owner, which)
    commitment, config = commitment_of(run, vault, which), load_endpoint(Path(endpoint))
    protocol, queries = commitment.protocol, queries_of(run, spec, owner, commitment.protocol)
    with ExitStack() as stack:
        _, facts = queries.served(Path(endpoint), stack, None)
    who = Suspect(name=_name(suspect, endpoint), **facts)
    transcript = _transcript(_folder(run, who, which)[0] / TRANSCRIPT, who.identity)
    paid = ledger.paid(protocol, ledger.read(run.path / PROOF / LEDGER), transcript.head)
    session = Session(vault, commitment, transcript, beacon_of(run, commitment), paid)
    _refuse_short(Path(endpoint), session, queries.requests)
    left = protocol.budget * kind(protocol).queries - len(transcript.entries)
    return queries.rehearsed(config, left)


def _refuse_short(endpoint: Path, session: Session, requests: int) -> None:
    from noli.adapters.config_file import load_endpoint
    from noli.adapters.faults import refuse_short

    refuse_short(load_endpoint(endpoint), session.least() * requests)


def _name(suspect: str | None, place: str | Path | None) -> str:
    return (suspect or Path(str(place)).resolve().stem)[:200]


def _folder(run: Run, who: Suspect, which: str) -> tuple[Path, str]:
    """Return where a test of a suspect is noted, and how the folders of this kind of test end.

    Of this very suspect, read in this very way: another one's answers must never be taken for its own.
    """
    further = f"-{which}" if which not in ("", "bits") else ""
    return run.path / PROOF / f"{_slug(who.name)}-{who.identity[:12]}{further}", further


def _run(session: Session, ask: Ask, bar: Progress) -> None:
    protocol = session.commitment.protocol
    queries = kind(protocol).queries
    noted = len(session.transcript.entries)
    bar.start(protocol.budget * queries, f"ask, {noted} answers are already noted" if noted else "ask")
    bar.advance(noted)

    def told(item: int, part: int) -> Mapping[str, Any]:
        found = ask(item, part)
        bar.advance(1)
        return found

    session.run(told)
    bar.finish()


def _priced(session: Session, own: Path, further: str, file: Path) -> Session:
    """Return the session with what its test has to pay, after all others were entered that were begun.

    Raises:
        UsageError: No answers could be evidence any more.
        DataError: The ledger, or another transcript, was changed.
    """
    earlier = _settled(session, own, further, file)
    paid = ledger.paid(session.commitment.protocol, earlier, session.transcript.head)
    session = replace(session, paid=paid)
    _refuse_hopeless(session, earlier)
    return session


def _refuse_hopeless(session: Session, earlier: Sequence[Spent]) -> None:
    """Refuse to begin a test that costs more than any answers are worth; it would make others dearer, too."""
    if not session.transcript.entries and session.hopeless():
        protocol = session.commitment.protocol
        made = sum(entry.family == protocol.family for entry in earlier)
        raise UsageError(
            "No answers could be evidence any more; nothing was asked.",
            why=f"tests of this kind: {made} made, {protocol.tests} planned; a further one pays for all",
            fix="mark anew, and say with --set tests=N how many tests there will be",
        )


def _settled(session: Session, own: Path, further: str, file: Path) -> list[Spent]:
    """Return the ledger, after tests that were begun and are not in it were entered.

    Whoever gives up tests until one begins well has made all of them.
    """
    named = re.compile(rf".*-[0-9a-f]{{12}}{further}")
    try:
        for place in sorted(file.parent.glob(f"*/{TRANSCRIPT}")):
            if place.parent == own or not named.fullmatch(place.parent.name):
                continue
            transcript = Transcript(place, None)
            if transcript.entries:
                other = replace(session, transcript=transcript)
                enter(other, place.parent.name, file, given_up=not other.finished)
        return ledger.read(file)
    except Damaged as error:
        fix = "put the file back as it was; nothing can be claimed without it"
        what = "The ledger, or the transcript of another test, was changed."
        raise DataError(what, where=str(file.parent), why=str(error), fix=fix) from error


def _stamp(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        fix = "name the file that noli mark stamp wrote"
        raise UsageError("The time stamp cannot be read.", where=str(file), why=why, fix=fix) from error


def _sorted(
    stamps: Sequence[str | Path], run: Run, commitment: Commitment
) -> tuple[list[bytes], list[bytes]]:
    """Return the time stamps of the commitment, and those of the record that was signed after it."""
    own, later = list[bytes](), list[bytes]()
    for file in stamps:
        stamp = _stamp(Path(file))
        if stamps_record(run, stamp):
            later.append(stamp)
            continue
        try:
            check_imprint(stamp, commitment.canonical())
        except Damaged as error:
            fix = "name the file that noli mark stamp wrote for this commitment"
            what = "The time stamp is not of this commitment."
            raise DataError(what, where=str(file), why=str(error), fix=fix) from error
        own.append(stamp)
    return own, later


def _transcript(file: Path, start: str) -> Transcript:
    try:
        return Transcript(file, start)
    except Damaged as error:
        fix = "nothing can be claimed of it; name the suspect anew only if nobody changed the file on purpose"
        raise DataError("The transcript was changed.", where=str(file), why=str(error), fix=fix) from error


def _environment(session: Session) -> dict[str, bytes]:
    machine = capture_environment().model_dump(mode="json")
    machine["packages"] |= extras()
    document = {**machine, "randomness": randomness(session)}
    return {"environment.json": json.dumps(document, indent=1).encode()}


def _reports(
    claim: Claim,
    session: Session,
    spent: Sequence[Spent],
    release: Bound | None,
    found: Mapping[str, bytes],
) -> dict[str, bytes]:
    from noli.report.certificate import Certificate, render_html, render_pdf
    from noli.report.contents import contents

    entries, listed = session.transcript.entries, contents(found)
    page = Certificate(claim, session.commitment, spent, entries, release=release, contents=listed)
    return {"report.html": render_html(page).encode(), "report.pdf": render_pdf(page)}


def _time(text: str | None) -> str | None:
    found = parse(text)
    return found.isoformat() if found is not None else None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
