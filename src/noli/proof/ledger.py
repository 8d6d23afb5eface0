"""The alpha ledger: every test of a family, in a chain, so that what one of them is worth can be said.

Alpha is spent in shares that are fixed beforehand (:func:`price`): equal ones for the planned tests, as
Bonferroni has them, which is the first step of Holm's method and of e-BH. Their further steps need the other
tests' figures, which are the owner's word here; :mod:`noli.proof.several` takes them, over bundles that were
recomputed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from noli.core.files import atomic_write
from noli.proof import chain
from noli.proof.chain import Link
from noli.proof.protocol import Protocol
from noli.proof.records import Damaged, Digest, Moment, Record


class Spent(Link):
    """One test.

    Attributes:
        time: When it ended, by the verifier's clock.
        family: The family that shares alpha.
        protocol: Digest of its protocol (a recipient's own, for instance).
        suspect: Which model, in words.
        transcript: Digest of the transcript's last entry.
        p, e: What came of it; p = 1 where it was begun and given up.
    """

    time: Moment
    family: str
    protocol: Digest
    suspect: str
    transcript: Digest
    p: Annotated[float, Field(ge=0, le=1)]
    e: Annotated[float, Field(ge=0)] | None = None


class Verdict(Record):
    """What one test is worth in its family.

    Attributes:
        correction: What pays its share: ``holm`` its p-value, ``e-bh`` its e-value. The names are those of
            the methods whose first step that is.
        tests: Tests in the family, planned or made, whichever is more.
        p: P-value times what this test has to pay (:func:`price`), at most 1.
        supported: Whether the claim holds at the family's alpha.
    """

    correction: Literal["holm", "e-bh"]
    tests: int
    p: float
    supported: bool


def append(file: Path, **fields: object) -> list[Spent]:
    """Add a test to the ledger in a file and return all of it; the same transcript is entered once."""
    entries = read(file)
    if any(entry.transcript == fields["transcript"] for entry in entries):
        return entries
    place = {"number": len(entries), "previous": chain.head(entries)}
    entries.append(Spent.model_validate({**fields, **place}))
    atomic_write(file, chain.lines(entries))
    return entries


def price(place: int, planned: int) -> float:
    """Return by what the p-value of a test is multiplied, an e-value divided.

    The planned tests share alpha in equal parts (Bonferroni). All that come after them, however many, share
    another alpha: the n-th one of all gets planned / (n (n - 1)) of it, and these parts add up to 1. Whoever
    goes on until one succeeds accuses wrongly with probability 2 alpha at most.

    Args:
        place: Which test of the family it is, from 1.
        planned: How many were planned.
    """
    return float(planned) if place <= planned else place * (place - 1) / planned


def paid(protocol: Protocol, entries: Sequence[Spent], transcript: str) -> float:
    """Return what a test has to pay: the one with this transcript, or the next of its family."""
    return price(place_of(protocol, entries, transcript), protocol.tests)


def place_of(protocol: Protocol, entries: Sequence[Spent], transcript: str) -> int:
    """Return which test of its family it is, from 1: the one with this transcript, or the next."""
    heads = [entry.transcript for entry in entries if entry.family == protocol.family]
    return 1 + (heads.index(transcript) if transcript in heads else len(heads))


def sharing(protocol: Protocol, entries: Sequence[Spent], transcript: str) -> str:
    """Return in words how a family shares alpha, and what the test with this transcript pays."""
    place, planned = place_of(protocol, entries, transcript), protocol.tests
    cost = f"{price(place, planned):.6g}"
    figure = "e-value was divided" if protocol.correction == "e-bh" else "p-value was multiplied"
    shared = f"{planned} planned tests share the error probability in equal parts (Bonferroni)"
    if planned == 1:
        shared = "One planned test has the whole error probability"
    further = f"; this is number {place}, and tests beyond the plan share another one, in ever smaller parts"
    return f"{shared}{further if place > planned else ''}. Its {figure} by {cost}."


def entry_of(protocol: Protocol, entries: Sequence[Spent], transcript: str) -> Spent:
    """Return the entry of the test with this transcript.

    Raises:
        Damaged: The ledger does not have it, has a transcript twice, where one could stand for the other, or
            has tests of this protocol in another family, where they would not be paid for.
    """
    heads = [entry.transcript for entry in entries]
    if len(set(heads)) < len(heads):
        raise Damaged("the ledger lists a transcript twice")
    if any(entry.protocol == protocol.digest and entry.family != protocol.family for entry in entries):
        raise Damaged("the ledger lists tests with these secrets in another family")
    own = (protocol.family, protocol.digest, transcript)
    found = [entry for entry in entries if (entry.family, entry.protocol, entry.transcript) == own]
    if not found:
        raise Damaged("the ledger does not list this test")
    return found[0]


def holds(protocol: Protocol, p: float, e: float | None, cost: float) -> bool:
    """Return whether the evidence of a test that has to pay `cost` is enough."""
    if protocol.correction == "e-bh":
        return (e or 0.0) >= cost / protocol.alpha
    return min(1.0, p * cost) <= protocol.alpha


def read(file: Path) -> list[Spent]:
    """Return the ledger in a file; empty where there is none yet.

    Raises:
        Damaged: It was changed.
    """
    return chain.read(Spent, file.read_bytes(), str(file)) if file.is_file() else []


def judge(protocol: Protocol, entries: Sequence[Spent], transcript: str) -> Verdict:
    """Return what the test with this transcript is worth among all tests of its family.

    Of the other tests only their number counts: what they gave is the owner's word, and a step-down procedure
    would believe invented ones. Planned tests count as made.

    Raises:
        Damaged: See :func:`entry_of`.
    """
    made, cost = entry_of(protocol, entries, transcript), paid(protocol, entries, transcript)
    count = max(protocol.tests, sum(entry.family == protocol.family for entry in entries))
    supported = holds(protocol, made.p, made.e, cost)
    return Verdict(
        correction=protocol.correction, tests=count, p=min(1.0, made.p * cost), supported=supported
    )
