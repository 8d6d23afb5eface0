"""When a commitment existed: RFC 3161 tokens, and what a checker knows; never what the owner's clock says."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from noli.core.errors import DataError, MissingPrerequisite, UsageError
from noli.proof.records import Damaged, Record, utc

_NEEDS = "rfc3161_client"
BY_CHECKER = "the checker, who saw the published commitment"
# Clocks of different people may differ by so much.
_CLOCKS = timedelta(days=1)
_NUMBER = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class TimeProof:
    """A time before which a commitment existed.

    Attributes:
        moment: The time.
        by: Who says so.
        of: Digest of the commitment, or how it begins; empty: nobody compared it.
    """

    moment: datetime
    by: str
    of: str = ""


def token_time(token: bytes, message: bytes, roots: Sequence[x509.Certificate]) -> TimeProof:
    """Check an RFC 3161 token against certificates that the checker trusts.

    Args:
        token: A time-stamp response, DER.
        message: The bytes that were stamped.
        roots: Trusted root certificates; the token carries the others.

    Raises:
        Damaged: The token is not of these bytes, or none of the roots vouches for it.
        MissingPrerequisite: rfc3161-client is not installed.
    """
    _require()
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    builder = VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        response = decode_timestamp_response(token)
        builder.build().verify_message(response, message)
    except (VerificationError, ValueError) as error:
        raise Damaged(f"the time stamp is not valid: {error}") from error
    info = response.tst_info
    name = info.name.value.rfc4514_string() if hasattr(info.name, "value") else str(info.name)
    return TimeProof(info.gen_time, f"RFC 3161 time stamp of {name}")


def check_imprint(token: bytes, message: bytes) -> None:
    """Check that a token is one of these bytes; nothing is said about who vouches for it.

    Where rfc3161-client is not installed, nothing is checked.

    Raises:
        Damaged: It is no token, or of something else.
    """
    if importlib.util.find_spec(_NEEDS) is None:
        return
    from rfc3161_client import decode_timestamp_response

    try:
        imprint = decode_timestamp_response(token).tst_info.message_imprint.message
    except ValueError as error:
        raise Damaged(f"it is no time stamp: {error}") from error
    if imprint != hashlib.sha256(message).digest():
        raise Damaged("it is the time stamp of something else")


def request_token(url: str, commitment: Record) -> bytes:
    """Ask a time-stamping authority to stamp a commitment or another record (network); returns the response.

    Raises:
        DataError: The authority does not answer, or refuses.
        MissingPrerequisite: rfc3161-client is not installed.
    """
    _require()
    import httpx
    from rfc3161_client import TimestampRequestBuilder, decode_timestamp_response

    asked = TimestampRequestBuilder().data(commitment.canonical()).nonce(nonce=True).build()
    headers = {"Content-Type": "application/timestamp-query"}
    try:
        answer = httpx.post(url, content=asked.as_bytes(), headers=headers, timeout=30).raise_for_status()
        response = decode_timestamp_response(answer.content)
        if response.tst_info.message_imprint.message != hashlib.sha256(commitment.canonical()).digest():
            raise ValueError("it is the stamp of something else")
    except (httpx.HTTPError, ValueError) as error:
        fix = "try again, or name another authority"
        raise DataError("The time stamp could not be had.", where=url, why=str(error), fix=fix) from error
    return answer.content


def read_roots(data: bytes, where: str) -> list[x509.Certificate]:
    """Read certificates in PEM form.

    Raises:
        UsageError: There is none.
    """
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise UsageError(
            "This file holds no certificate.", where=where, why=str(error), fix="give a PEM file"
        ) from error


@dataclass(frozen=True)
class Order:
    """What is known of when things happened.

    Attributes:
        proofs: Times before which the commitment existed, each said by somebody who is not the owner.
        beacon: When the public randomness was published, if it takes part.
        suspect: Since when the suspect may have existed: the earliest time at which somebody saw it.
        first: The first query.
        created: When the commitment was made, by the owner's clock: no proof, but it must not contradict one.
        told: Since when the suspect exists, as the owner says: the same.
    """

    proofs: tuple[TimeProof, ...]
    beacon: datetime | None
    suspect: datetime | None
    first: datetime | None
    created: datetime | None = None
    told: datetime | None = None

    def objections(self) -> list[str]:
        """Return why the secrets may have been chosen with this suspect at hand; nothing if they were not."""
        if not self.proofs:
            return ["Nobody but the owner says when the commitment was made."]
        committed = min(proof.moment for proof in self.proofs)
        found = []
        if self.beacon is not None and committed >= self.beacon:
            found.append(f"The beacon was public at {said(self.beacon)}, before {said(committed)}.")
        if self.created is not None and self.created > committed + _CLOCKS:
            found.append(f"By its owner's own clock the commitment was made at {said(self.created)}, later.")
        if self.first is not None and self.first < committed:
            found.append(f"The first query, {said(self.first)}, is older than the commitment is known to be.")
        for since in dict.fromkeys((self.suspect, self.told)):
            if since is not None and self.first is not None and self.first < since:
                when = f"{said(self.first)}, before it is said to have existed ({said(since)})"
                found.append(f"The suspect was asked at {when}.")
        if self.beacon is not None:
            found += self._before_the_round(self.beacon)
        else:
            if self.suspect is None:
                found.append("Nobody says since when the suspect exists, and no beacon was used.")
            elif committed >= self.suspect:
                found.append(
                    f"The suspect existed at {said(self.suspect)}, the commitment is known only "
                    f"from {said(committed)} on."
                )
        return found

    def _before_the_round(self, beacon: datetime) -> list[str]:
        """Nothing can have been marked, and no assignment known, before the round was public."""
        found = []
        if self.first is not None and self.first < beacon:
            found.append(f"The first query, {said(self.first)}, came before the beacon's round.")
        if self.suspect is not None and self.suspect < beacon:
            found.append(f"The suspect existed at {said(self.suspect)}, before anything could be marked.")
        return found


def seen_by_checker(text: str) -> TimeProof:
    """Return what a checker knows by having seen a published commitment.

    Args:
        text: ``TIME``, or ``DIGEST=TIME`` with the digest that was published, or its first 16 digits or more.

    Raises:
        UsageError: It is neither.
    """
    number, equals, moment = text.rpartition("=")
    if equals and not _NUMBER.fullmatch(number.strip().lower()):
        what, fix = "This is no number of a commitment.", "write DIGEST=TIME, with 16 hex digits or more"
        raise UsageError(what, where=text, fix=fix)
    return TimeProof(_moment(moment.strip()), BY_CHECKER, number.strip().lower())


def _moment(text: str) -> datetime:
    try:
        return utc(text)
    except ValueError as error:
        fix = "write it like 2026-01-31T00:00:00+00:00"
        raise UsageError("This is not a time with its zone.", where=text, why=str(error), fix=fix) from error


def parse(text: str | None) -> datetime | None:
    """Read a time that a user gave.

    Raises:
        UsageError: It is none, or has no zone.
    """
    return None if text is None else _moment(text)


def said(moment: datetime) -> str:
    """Return a time as messages write it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _require() -> None:
    if importlib.util.find_spec(_NEEDS) is None:
        raise MissingPrerequisite(
            "Time stamps cannot be handled.",
            why="rfc3161-client is not installed",
            fix='pip install "noli[timestamps]"',
        )
