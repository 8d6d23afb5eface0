"""Recompute a bundle from nothing but its bytes and what the checker trusts; no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.proof import chain, ledger, released, transcript
from noli.proof.beacon import Beacon
from noli.proof.bodies import PREFIX, check_bodies
from noli.proof.bundle import unpack
from noli.proof.claim import Claim
from noli.proof.commitment import Commitment, Opening, entropy
from noli.proof.kinds import Kind, kind
from noli.proof.outcome import Outcome
from noli.proof.records import Damaged, utc
from noli.proof.times import Order, TimeProof, token_time
from noli.proof.trust import NOBODY, WORDS, Resting, Trust, resting

Status = Literal["valid", "on trust", "not significant", "tampered", "untimely"]
EXIT: Mapping[Status, int] = {
    "valid": 0,
    "on trust": 11,
    "not significant": 10,
    "tampered": 3,
    "untimely": 4,
}
STAMPS, OPENINGS = "timestamps/", "openings/"
_BY_CLOCK = "the owner's clock, which the checker believes"
# Files that only the signature covers: the owner's text.
_FREE = {"report.html", "report.pdf", "environment.json"}


@dataclass(frozen=True)
class Checked:
    """The answer.

    Attributes:
        status: The worst that was found: ``tampered``, then ``untimely``, then ``not significant``, then
            ``on trust``: it is evidence only for somebody who believes the owner.
        reasons: Why, in sentences; empty when valid.
        claim, commitment: As the bundle has them; None where it cannot be read.
        proofs: Times before which the commitment existed.
        sealed: Committed secrets that were not opened.
        since, since_by: Since when the suspect exists, and who says so.
        rests: What rests on the owner's word alone, and was not believed.
        believed: What the checker took on the owner's word, where nothing else stands for it.
        spent: The ledger of the bundle.
        release: Which files the bundle says were released; None where it fixes none.
        compared: A folder held against these, where the checker has one.
    """

    status: Status
    reasons: tuple[str, ...] = ()
    claim: Claim | None = None
    commitment: Commitment | None = None
    proofs: tuple[TimeProof, ...] = ()
    sealed: int = 0
    since: datetime | None = None
    since_by: str = ""
    rests: tuple[Resting, ...] = ()
    believed: tuple[str, ...] = ()
    spent: tuple[ledger.Spent, ...] = ()
    release: released.Bound | None = None
    compared: released.Comparison | None = None

    @property
    def exit_code(self) -> int:
        """0 valid, 11 on trust, 10 not significant, 3 tampered, 4 untimely."""
        return EXIT[self.status]

    def as_dict(self) -> dict[str, Any]:
        """Return the answer for machines."""
        return {
            "status": self.status,
            "exit_code": self.exit_code,
            "reasons": list(self.reasons),
            "owner": self.commitment.owner if self.commitment else None,
            "claim": self.claim.model_dump(mode="json") if self.claim else None,
            "protocol": self.commitment.protocol.model_dump(mode="json") if self.commitment else None,
            "known_before": [{"time": p.moment.isoformat(), "by": p.by} for p in self.proofs],
            "sealed_secrets": self.sealed,
            "suspect_since": {"time": self.since.isoformat(), "by": self.since_by} if self.since else None,
            "rests_on": {one.word: one.why for one in self.rests},
            "believed": list(self.believed),
            "release": self.release.as_dict() if self.release else None,
            "released": self.compared.as_dict() if self.compared else None,
        }


@dataclass(frozen=True)
class Parts:
    """What a bundle holds, read but not yet believed."""

    commitment: Commitment
    claim: Claim
    openings: list[Opening]
    entries: list[transcript.Entry]
    spent: list[ledger.Spent]
    beacon: Beacon | None
    stamps: list[bytes] = field(default_factory=list)
    sealed: released.Sealed = field(default_factory=released.Sealed)


def check(data: bytes, trust: Trust = NOBODY) -> Checked:
    """Check a bundle.

    Args:
        data: The zip.
        trust: What the checker brings along.

    Raises:
        MissingPrerequisite: A time stamp or a beacon cannot be checked without an extra package.
    """
    try:
        members, signed = unpack(data)
        parts = read_parts(members)
        if signed.owner != parts.commitment.owner:
            raise Damaged("the bundle is signed by another than the commitment")
        if trust.owner is not None and trust.owner != signed.owner:
            raise Damaged(f"the bundle is the claim of {signed.owner}, not of {trust.owner}")
        outcome = _recompute(parts)
        release = released.bound(parts.commitment, parts.sealed, trust.roots)
        proofs, notes = _proofs(parts, trust)
    except Damaged as error:
        return Checked("tampered", (f"Damaged or tampered with: {error}.",))
    except (ValueError, ArithmeticError, UsageError) as error:
        # Signed, but with numbers that no test can have.
        return Checked("tampered", (f"Its figures cannot be computed: {type(error).__name__}.",))
    # The words of an outcome are this version's, whatever the owner's said.
    protocol, claim = parts.commitment.protocol, parts.claim.model_copy(update={"outcome": outcome})
    told = utc(claim.suspect.since) if claim.suspect.since else None
    since = trust.suspect_since or told
    words = resting(protocol, claim.suspect, None if trust.suspect_since else told)
    rests = tuple(one for one in words if one.word not in trust.believe)
    # The earliest time decides.
    by_clock = {"clock"} if proofs and proofs[0].by == _BY_CLOCK else set()
    needed = by_clock | {one.word for one in words}
    facts: dict[str, Any] = {
        "since": since,
        "since_by": "the checker" if trust.suspect_since else "the owner",
        "claim": claim,
        "commitment": parts.commitment,
        "proofs": proofs,
        "sealed": protocol.secrets - len(parts.openings),
        "believed": tuple(word for word in WORDS if word in trust.believe & needed),
        "spent": tuple(parts.spent),
        "release": release,
    }
    first = min((utc(entry.time) for entry in parts.entries), default=None)
    beacon = parts.beacon.time if parts.beacon else None
    order = Order(proofs, beacon, since, first, utc(parts.commitment.created), told)
    if objections := order.objections():
        return Checked("untimely", (*objections, *notes), **facts)
    if not claim.verdict.supported:
        found = (
            f"The adjusted p-value is {claim.verdict.p:.3g}; the claim needs at most {protocol.alpha:.3g}."
        )
        return Checked("not significant", (found,), **facts)
    if rests:
        return Checked("on trust", tuple(one.why for one in rests), rests=rests, **facts)
    return Checked("valid", **facts)


def read_parts(members: Mapping[str, bytes]) -> Parts:
    """Read the members of a bundle.

    Raises:
        Damaged: One is missing, unreadable, or does not belong there.
    """
    left = dict(members)

    def take(name: str) -> bytes:
        if name not in left:
            raise Damaged(f"{name} is missing")
        return left.pop(name)

    def group(prefix: str) -> list[tuple[str, bytes]]:
        return [(name, left.pop(name)) for name in sorted(left) if name.startswith(prefix)]

    commitment = Commitment.read(take("commitment.json"), "commitment.json")
    parts = Parts(
        commitment=commitment,
        claim=Claim.read(take("claim.json"), "claim.json"),
        openings=[Opening.read(data, name) for name, data in group(OPENINGS)],
        entries=chain.read(transcript.Entry, take("transcript.jsonl"), "transcript.jsonl", None),
        spent=chain.read(ledger.Spent, take("ledger.jsonl"), "ledger.jsonl"),
        beacon=Beacon.read(take("beacon.json"), "beacon.json") if commitment.protocol.beacon else None,
        stamps=[data for _, data in group(STAMPS)],
        sealed=released.Sealed(
            left.pop(released.LIST, None),
            left.pop(released.RECORD, None),
            tuple(data for _, data in group(released.STAMPS)),
        ),
    )
    check_bodies(group(PREFIX), parts.entries)
    if strange := sorted(left.keys() - _FREE):
        raise Damaged(f"{strange[0]} does not belong into a bundle")
    return parts


def outcome_of(
    commitment: Commitment,
    openings: Sequence[Opening],
    entries: Sequence[transcript.Entry],
    beacon: Beacon | None,
    paid: float,
) -> Outcome:
    """Return the test of a transcript, from the opened secrets.

    Args:
        commitment: The claim.
        openings: Of the secrets that were used.
        entries: The transcript.
        beacon: The public randomness, if the protocol plans one.
        paid: What the test has to pay (:func:`noli.proof.ledger.paid`).

    Raises:
        Damaged: The secrets are not those of the queries.
    """
    test = kind(commitment.protocol, paid)
    seen = list(transcript.observed(entries, test.queries))
    if [one.index for one in openings] != list(range(len(seen))):
        raise Damaged("the opened secrets are not the first ones, in order, that the transcript used")
    if len({one.secret for one in openings}) < len(openings):
        raise Damaged("two of the secrets are the same")
    for entry in entries:
        contents = openings[entry.item].contents
        if entry.part >= len(contents) or entry.content != contents[entry.part]:
            raise Damaged(f"query {entry.number} did not ask what was committed")
    randomness = beacon.randomness if beacon else ""
    drawn = [
        test.draw(Key.from_bytes(bytes.fromhex(one.secret)), entropy(commitment, randomness, one.index))
        for one in openings
    ]
    return _within_budget(test, test.outcome(drawn, seen), len(seen))


def _within_budget(test: Kind, outcome: Outcome, used: int) -> Outcome:
    protocol = test.protocol
    if protocol.looks == "fixed" and used != protocol.budget:
        raise Damaged(f"{used} secrets were used, and the protocol fixes {protocol.budget}")
    if protocol.looks == "sequential" and len(outcome.running) != used:
        raise Damaged(f"the queries went on after the rule had stopped them at {len(outcome.running)}")
    return outcome


def _recompute(parts: Parts) -> Outcome:
    """Compare all figures of the claim with what follows from the records, and return that."""
    commitment, claim = parts.commitment, parts.claim
    commitment.check()
    protocol = commitment.protocol.digest
    for opening in parts.openings:
        opening.check(commitment, protocol)
    plan = commitment.protocol.beacon
    if plan is not None and parts.beacon is not None:
        parts.beacon.check(plan)
    start = claim.suspect.identity
    if parts.entries and parts.entries[0].previous != start:
        raise Damaged("the transcript is not about the suspect of the claim")
    head = chain.head(parts.entries, start)
    if (claim.commitment, claim.transcript) != (commitment.digest, head):
        raise Damaged("the claim is about another commitment or another transcript")
    paid = ledger.paid(commitment.protocol, parts.spent, head)
    outcome = outcome_of(commitment, parts.openings, parts.entries, parts.beacon, paid)
    if not _same_outcome(claim.outcome, outcome):
        raise Damaged("the claim's figures do not follow from the transcript")
    verdict = ledger.judge(commitment.protocol, parts.spent, head)
    if not same(claim.verdict.model_dump(), verdict.model_dump()):
        raise Damaged("the claim's verdict does not follow from the ledger")
    own = ledger.entry_of(commitment.protocol, parts.spent, head)
    if not same([own.p, own.e], [outcome.p, outcome.e]):
        raise Damaged("the ledger has other figures for this test")
    return outcome


def _same_outcome(one: Outcome, other: Outcome) -> bool:
    # Logarithms near zero have no relative precision.
    paths = len(one.running) == len(other.running) and np.allclose(one.running, other.running, atol=1e-6)
    left = {"running", "statistic", "assumptions"}
    return bool(paths) and same(one.model_dump(exclude=left), other.model_dump(exclude=left))


def same(one: Any, other: Any) -> bool:
    """Whether two documents are equal up to the last digits of their numbers, which depend on the machine."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _proofs(parts: Parts, trust: Trust) -> tuple[tuple[TimeProof, ...], list[str]]:
    """Return the times that the checker can believe, and why others do not count."""
    message, digest, notes = parts.commitment.canonical(), parts.commitment.digest, list[str]()
    proofs = [proof for proof in trust.seen if digest.startswith(proof.of)]
    if trust.seen and not proofs:
        notes.append(f"The commitment that you saw is another one: this is {digest}.")
    if parts.stamps and not trust.roots:
        notes.append(f"Its {len(parts.stamps)} time stamps count once you name roots that you trust.")
    for stamp in parts.stamps if trust.roots else ():
        try:
            proofs.append(token_time(stamp, message, trust.roots))
        except Damaged as error:
            notes.append(f"A time stamp does not count: {error}.")
    if "clock" in trust.believe:
        proofs.append(TimeProof(utc(parts.commitment.created), _BY_CLOCK))
    return tuple(sorted(proofs, key=lambda proof: proof.moment)), notes
