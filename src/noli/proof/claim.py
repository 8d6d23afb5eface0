"""The claim of a bundle: against whom, and what came of the test."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from noli.proof.ledger import Verdict
from noli.proof.outcome import Outcome
from noli.proof.records import Digest, Moment, Record, sha256


class Suspect(Record):
    """The model that was queried.

    Attributes:
        name: In words.
        where: Its address, or the file.
        weights: SHA-256 of its weights, where there are any; empty for a service.
        since: Earliest time at which somebody saw it, as far as the owner knows; a checker may know better.
        label_map: What its classes were taken for, where they are not called as the owner's.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    where: Annotated[str, Field(max_length=500)] = ""
    weights: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    since: Moment | None = None
    label_map: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Digest of who is asked, and how its classes are read: the start of its transcript."""
        return sha256(b"noli/suspect/v1", self.canonical("since"))


class Claim(Record):
    """What the owner claims; a check recomputes all of it.

    Attributes:
        commitment: Digest of the commitment.
        suspect: The model.
        made: When, by the verifier's clock.
        outcome: The test.
        verdict: What it is worth among all tests of its family.
        transcript: Digest of the transcript's last entry.
    """

    schema_version: Literal[1] = 1
    commitment: Digest
    suspect: Suspect
    made: Moment
    outcome: Outcome
    verdict: Verdict
    transcript: Digest
