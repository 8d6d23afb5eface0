"""The alpha ledger: every test of a family, in a chain, so that what one of them is worth can be said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from noli.core.files import atomic_write
from noli.proof.protocol import Protocol
from noli.proof.records import Damaged, Digest, Moment, Record

START = "0" * 64


class Spent(Record):
    """One test.

    Attributes:
        number: Its place, from 0.
        time: When it ended, by the verifier's clock.
        family: The family that shares alpha.
        protocol: Digest of its protocol (a recipient's own, for instance).
        suspect: Which model, in words.
        transcript: Digest of the transcript's last entry.
        p, e: What came of it.
        previous: Digest of the entry before.
    """

    number: Annotated[int, Field(ge=0)]
    time: Moment
    family: str
    protocol: Digest
    suspect: str
    transcript: Digest
    p: Annotated[float, Field(ge=0, le=1)]
    e: Annotated[float, Field(ge=0)] | None = None
    previous: Digest = START


class Verdict(Record):
    """What one test is worth in its family.

    Attributes:
        correction: How it was corrected.
        tests: Tests in the family, planned or made, whichever is more.
        p: P-value times the number of tests, at most 1.
        supported: Whether the claim holds at the family's alpha.
    """

    correction: Literal["holm", "e-bh"]
    tests: int
    p: float
    supported: bool


def read(data: bytes, where: str) -> list[Spent]:
    """Read a stored ledger and follow its chain.

    Raises:
        Damaged: An entry is unreadable, missing or out of order.
    """
    entries: list[Spent] = []
    if data and not data.endswith(b"\n"):
        raise Damaged(f"{where} ends in the middle of a line")
    for number, line in enumerate(data.split(b"\n")[:-1]):
        entry = Spent.read(line, f"{where}, line {number + 1}")
        previous = entries[-1].digest if entries else START
        if entry.number != number or entry.previous != previous:
            raise Damaged(f"{where}, line {number + 1} does not follow the line before it")
        entries.append(entry)
    return entries


def append(file: Path, **fields: object) -> list[Spent]:
    """Add a test to the ledger in a file and return all of it; the same transcript is entered once."""
    entries = read(file.read_bytes(), str(file)) if file.is_file() else []
    if any(entry.transcript == fields["transcript"] for entry in entries):
        return entries
    previous = entries[-1].digest if entries else START
    entries.append(Spent.model_validate({**fields, "number": len(entries), "previous": previous}))
    atomic_write(file, lines(entries))
    return entries


def lines(entries: Sequence[Spent]) -> bytes:
    """Return the stored form."""
    return b"".join(entry.canonical() + b"\n" for entry in entries)


def judge(protocol: Protocol, entries: Sequence[Spent], transcript: str) -> Verdict:
    """Return what the test with this transcript is worth among all tests of its family.

    Tests that were planned and not made count as made, without evidence.

    Raises:
        Damaged: The ledger does not have this test.
    """
    family = [entry for entry in entries if entry.family == protocol.family]
    own = (transcript, protocol.digest)
    places = [i for i, entry in enumerate(family) if (entry.transcript, entry.protocol) == own]
    if not places:
        raise Damaged("the ledger does not list this test")
    # Of the other tests only their number counts: what they gave is the owner's word, and a step-down
    # procedure would believe invented ones.
    own_test, tests = family[places[0]], max(protocol.tests, len(family))
    p = min(1.0, own_test.p * tests)
    supported = p <= protocol.alpha
    if protocol.correction == "e-bh":
        supported = (own_test.e or 0.0) >= tests / protocol.alpha
    return Verdict(correction=protocol.correction, tests=tests, p=p, supported=supported)
