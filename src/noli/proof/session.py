"""One verification: ask what was committed, in order; note every answer; stop by the rule; bundle it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from noli.core.files import write_new
from noli.core.key import Key
from noli.proof import chain, ledger
from noli.proof.beacon import Beacon
from noli.proof.bundle import pack
from noli.proof.check import OPENINGS, STAMPS
from noli.proof.claim import Claim, Suspect
from noli.proof.commitment import Commitment, Vault, entropy
from noli.proof.kinds import Kind, Seen, kind
from noli.proof.outcome import Outcome
from noli.proof.records import now
from noli.proof.transcript import Transcript, observed

# Secret number and part -> what came back: status, answer and the other fields of an Entry.
Ask = Callable[[int, int], Mapping[str, Any]]


@dataclass(frozen=True)
class Session:
    """What a verification needs.

    Attributes:
        vault: The owner's secrets.
        commitment: As it was published.
        transcript: What was asked so far.
        beacon: The public randomness, if the protocol plans one.
        paid: What this test has to pay (:func:`noli.proof.ledger.paid`), which decides when a sequence
            stops; None: what planned ones pay.
    """

    vault: Vault
    commitment: Commitment
    transcript: Transcript
    beacon: Beacon | None = None
    paid: float | None = None

    def run(self, ask: Ask, tell: Callable[[Outcome], None] | None = None) -> Outcome:
        """Ask until the budget is spent or the rule stops; goes on where an earlier transcript ended.

        Args:
            ask: Makes one query. Called with the number of the secret and of its query.
            tell: Called with the outcome so far after every secret of a sequential test.
        """
        protocol = self.commitment.protocol
        queries, sequential = kind(protocol).queries, protocol.looks == "sequential"
        for item in range(len(self.transcript.entries) // queries, protocol.budget):
            if sequential and self._ended():
                break
            done = len(self.transcript.entries) - item * queries
            for part in range(max(0, done), queries):
                fields = {"time": now(), **ask(item, part)}
                content = self.vault.contents[item][part]
                self.transcript.add(item=item, part=part, content=content, **fields)
            if tell is not None and sequential:
                tell(self.outcome())
        return self.outcome()

    def outcome(self) -> Outcome:
        """Return the test of what was asked so far (in a fixed test, worth something at its end only)."""
        test = self._test()
        seen = list(observed(self.transcript.entries, test.queries))
        return test.outcome(self._drawn(test, len(seen)), seen)

    def hopeless(self) -> bool:
        """Whether no answers could be evidence: too many tests were made, or too much was not answered."""
        test, protocol = self._test(), self.commitment.protocol
        drawn = self._drawn(test, protocol.budget)
        best = [test.ideal(one) for one in drawn]
        entries = self.transcript.entries
        for place, one in enumerate(
            observed(entries[: len(entries) // test.queries * test.queries], test.queries)
        ):
            answers = zip(best[place].answers, one.answers, strict=True)
            best[place] = Seen(tuple(None if came is None else ideal for ideal, came in answers))
        found = test.outcome(drawn, best)
        return not ledger.holds(protocol, found.p, found.e, self.paid or protocol.tests)

    def least(self) -> int:
        """Return how many further queries it takes at least.

        All that are left; in a sequence, those to evidence if every further answer speaks for the claim.
        """
        test, protocol = self._test(), self.commitment.protocol
        noted, secrets = len(self.transcript.entries), protocol.budget
        if protocol.looks == "sequential":
            drawn = self._drawn(test, secrets)
            seen = list(
                observed(self.transcript.entries[: noted // test.queries * test.queries], test.queries)
            )
            best = [*seen, *(test.ideal(one) for one in drawn[len(seen) :])]
            secrets = len(test.outcome(drawn, best).running)
        return max(0, secrets * test.queries - noted)

    @property
    def finished(self) -> bool:
        """Whether all was asked that the protocol wants."""
        protocol = self.commitment.protocol
        whole = len(self.transcript.entries) >= protocol.budget * self._test().queries
        return whole or (protocol.looks == "sequential" and self._ended())

    def _test(self) -> Kind:
        return kind(self.commitment.protocol, self.paid)

    def _drawn(self, test: Kind, secrets: int) -> list[tuple[int, ...]]:
        randomness = self.beacon.randomness if self.beacon else ""
        return [
            test.draw(self.vault.secret(i), entropy(self.commitment, randomness, i)) for i in range(secrets)
        ]

    def _ended(self) -> bool:
        entries = len(self.transcript.entries)
        return entries > 0 and entries % self._test().queries == 0 and self.outcome().stopped != "going on"


@dataclass(frozen=True)
class Extras:
    """Further members of a bundle, and proofs of time.

    Attributes:
        files: ``report.html``, ``report.pdf``, ``environment.json``, and what :mod:`noli.proof.released` and
            :mod:`noli.proof.bodies` check.
        stamps: RFC 3161 time stamps of the commitment.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    stamps: Sequence[bytes] = ()


def enter(
    session: Session, name: str, spent: Path, *, given_up: bool = False
) -> tuple[Outcome, list[ledger.Spent]]:
    """Enter a test in the ledger: what came of it, or, where it was begun and given up, p = 1.

    Args:
        session: The verification.
        name: Which model, in words.
        spent: The ledger's file.
        given_up: It was not finished.
    """
    protocol, head = session.commitment.protocol, session.transcript.head
    # By the ledger, as a checker will do: the session may have been told another price.
    session = replace(session, paid=ledger.paid(protocol, ledger.read(spent), head))
    nothing = Outcome(statistic="", value=0, expected=0, n=0, p=1.0)
    outcome = nothing if given_up else session.outcome()
    entries = ledger.append(
        spent,
        time=now(),
        family=protocol.family,
        protocol=protocol.digest,
        suspect=name,
        transcript=head,
        p=outcome.p,
        e=outcome.e,
    )
    return outcome, entries


def claim_of(session: Session, suspect: Suspect, spent: Path) -> tuple[Claim, list[ledger.Spent]]:
    """Enter a test in the ledger, and return what may be claimed of it.

    Args:
        session: The verification.
        suspect: The model that was asked.
        spent: The ledger's file.
    """
    outcome, entries = enter(session, suspect.name, spent)
    head = session.transcript.head
    claim = Claim(
        commitment=session.commitment.digest,
        suspect=suspect,
        made=now(),
        outcome=outcome,
        verdict=ledger.judge(session.commitment.protocol, entries, head),
        transcript=head,
    )
    return claim, entries


def members(
    session: Session, claim: Claim, spent: Sequence[ledger.Spent], extras: Extras
) -> dict[str, bytes]:
    """Return the members of a bundle; only the secrets that were used are opened."""
    queries = kind(session.commitment.protocol).queries
    opened = session.vault.open(range(len(session.transcript.entries) // queries))
    found = {
        "claim.json": claim.canonical(),
        "commitment.json": session.commitment.canonical(),
        "transcript.jsonl": session.transcript.lines(),
        "ledger.jsonl": chain.lines(spent),
        **{f"{OPENINGS}{one.index:06d}.json": one.canonical() for one in opened},
        **{f"{STAMPS}{i:03d}.tsr": stamp for i, stamp in enumerate(extras.stamps)},
        **extras.files,
    }
    if session.beacon is not None:
        found["beacon.json"] = session.beacon.canonical()
    return found


def write_bundle(path: Path, found: Mapping[str, bytes], key: Key) -> None:
    """Sign and write a bundle to a new file.

    Raises:
        OutputExists: Something is there.
        RunError: The place cannot be written.
    """
    write_new(path, pack(found, key))
