"""Base of every signed or hashed record: one canonical form, digests of it, UTC times."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Damaged(ValueError):
    """A record, a bundle or a chain that is not what its author signed; the message says which and why."""


def canonical(document: Any) -> bytes:
    """Return the one JSON form that is hashed and signed: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def sha256(*parts: bytes) -> str:
    """Return the SHA-256 of the joined parts, 64 hex digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def utc(text: str) -> datetime:
    """Read an ISO 8601 time with its zone.

    Raises:
        ValueError: Not a time, or one without a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text} is outside of all calendars") from error


def _is_time(text: str) -> str:
    utc(text)
    return text


Moment = Annotated[str, AfterValidator(_is_time)]


def now() -> str:
    """Return this machine's time, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Record(BaseModel):
    """A frozen record with a canonical form."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def canonical(self, *without: str) -> bytes:
        """Return the canonical bytes, leaving out the fields named."""
        document = self.model_dump(mode="json")
        return canonical({name: value for name, value in document.items() if name not in without})

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes."""
        return sha256(self.canonical())

    @classmethod
    def read(cls, data: bytes, where: str) -> Self:
        """Read a record, which must be stored in its canonical form.

        Raises:
            Damaged: It is not one.
        """
        try:
            record = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise Damaged(f"{where} is not readable: {place}: {first['msg']}") from error
        if record.canonical() != data:
            raise Damaged(f"{where} is not in canonical form")
        return record
