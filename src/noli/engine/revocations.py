"""Signed lists of revoked licences, which only grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from noli.core.errors import DataError, SealError, UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.sealed import Hex8
from noli.engine.lock import awaited
from noli.proof.commitment import Signature, check_signature, public_key, sign
from noli.proof.records import Damaged, Digest, Moment, Record, now


class Revocations(Record):
    """A list of revoked licences; `number` grows with every change, so that an older list can be told."""

    format: Literal["noli-revocations"] = "noli-revocations"
    version: Literal[1] = 1
    number: Annotated[int, Field(ge=1)]
    updated: Moment
    licences: tuple[Hex8, ...]
    owner: Digest
    signature: Signature


def revoke(file: Path, licences: Sequence[str], owner: Key) -> Revocations:
    """Add licences to a list of revocations, which is made when it is missing; those on it change nothing.

    Raises:
        SealError: The list is damaged, or another owner's.
        UsageError: No licence ids, or another process changes the list for seconds.
    """
    with awaited(file.with_name(f"{file.name}.lock")):
        return _revoked(file, licences, owner)


def _revoked(file: Path, licences: Sequence[str], owner: Key) -> Revocations:
    before = read_revocations(file, public_key(owner)) if file.exists() else None
    if before and licences and set(licences) <= set(before.licences):
        return before
    all_ = sorted({*licences, *(before.licences if before else ())})
    fields = {"number": before.number + 1 if before else 1, "updated": now(), "owner": public_key(owner)}
    try:
        bare = Revocations.model_validate({**fields, "licences": all_, "signature": "0" * 128})
    except ValueError:
        why = "an id has 16 hex digits"
        raise UsageError("This is no id of a licence.", where=", ".join(licences), why=why) from None
    made = bare.model_copy(update={"signature": sign(owner, bare.canonical("signature"))})
    atomic_write(file, made.canonical())
    return made


def read_revocations(file: Path, owner: str | None) -> Revocations:
    """Read a list of revocations of this owner (None: of whom it names); SealError where it is another's."""
    try:
        made = Revocations.read(stored(file), str(file))
        check_signature(owner or made.owner, made.signature, made.canonical("signature"), "the list")
    except Damaged as error:
        fix = "get the owner's present list"
        raise SealError(
            "The list of revocations is damaged.", where=str(file), why=str(error), fix=fix
        ) from None
    return made


def stored(file: Path) -> bytes:
    """Return the bytes of a file; DataError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError("The file cannot be read.", where=str(file), why=str(error.strerror)) from error
