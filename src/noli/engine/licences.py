"""Licences for sealed files: the content key wrapped for one customer, with an end, revocable, logged.

A licence holds the content key under X25519 (RFC 7748), HKDF-SHA256 and AES-256-GCM for the customer's key
file, and is signed by the owner (ed25519), as are revocations. End and revocation are policy, which this
program keeps: they stop honest software, not somebody who changes the program, or kept what he once opened.
Likewise the log: its chain has no key, so that it shows what was opened only as long as nobody who can write
it deletes it, cuts off its end, or writes all of it anew.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field, ValidationError

from noli.core.errors import (
    LicenceExpired,
    LicenceRefused,
    LicenceRevoked,
    NoliError,
    SealError,
    UsageError,
    WrongKey,
)
from noli.core.files import storage_error, write_new
from noli.core.key import Key
from noli.core.sealed import Header, Hex8, Hex16, content_key, header_of, unseal
from noli.engine.lock import held
from noli.engine.revocations import read_revocations, stored
from noli.proof import chain
from noli.proof.chain import Link
from noli.proof.commitment import Signature, check_signature, public_key, sign
from noli.proof.records import Damaged, Digest, Moment, Record, now, utc

RECIPIENT: Final = "noli1"
_LEEWAY = timedelta(minutes=5)  # clocks of machines that share a log
_FRESH = "ask the owner for a licence"
_ORIGINAL = "ask the owner for the file"


class Licence(Record):
    """A licence file.

    Attributes:
        licence_id: Random name, by which it is revoked.
        seal_id, key_id: Of the sealed file and its content key.
        sealed: SHA-256 of the whole sealed file: customers share its content key, and one of them could seal
            something else with it.
        customer: Whose it is, in the owner's words.
        recipient: The customer's X25519 public key.
        created: By the owner's clock.
        expires: When it ends; None for never.
        ephemeral, nonce, wrapped: The content key under the customer's.
        owner, signature: ed25519, over everything else.
    """

    format: Literal["noli-licence"] = "noli-licence"
    version: Literal[1] = 1
    licence_id: Hex8
    seal_id: Hex16
    key_id: Hex8
    sealed: Digest
    customer: Annotated[str, Field(max_length=200)]
    recipient: Digest
    created: Moment
    expires: Moment | None
    ephemeral: Digest
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
    wrapped: Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")]
    owner: Digest
    signature: Signature


class Opening(Link):
    """A line of the log.

    Attributes:
        time: Of the try, by the customer's clock.
        owner: Who signed the licence; None in logs from before it was noted.
        seal_id, licence_id: As the licence names them.
        revocations: Number of the owner's list that was looked at; 0 where none was.
        outcome: ``opened`` or the name of an error.
    """

    time: Moment
    owner: Digest | None = None
    seal_id: Hex16
    licence_id: Hex8
    revocations: Annotated[int, Field(ge=0)]
    outcome: Annotated[str, Field(pattern=r"^[A-Za-z]{1,40}$")]

    def canonical(self, *without: str) -> bytes:
        """Return the canonical bytes; lines without an owner keep the form that they were written in."""
        return super().canonical(*without, *(() if self.owner else ("owner",)))


@dataclass(frozen=True)
class Opened:
    """What was sealed, in memory.

    Attributes:
        header: What the file says of itself, now known to be true.
        licence: By which it was opened.
        content: The bytes.
        key: The content key, under which a locked detector inside is locked.
    """

    header: Header
    licence: Licence
    content: bytes = field(repr=False)
    key: Key = field(repr=False)


def recipient(key: Key) -> str:
    """Return a customer's public key, to be sent to the owner: ``noli1:<64 hex digits>:<8 as check>``."""
    public = _private(key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    return f"{RECIPIENT}:{public}:{_checksum(public)}"


def grant(
    data: bytes, where: str, owner: Key, to: str, *, customer: str = "", expires: datetime | None = None
) -> Licence:
    """Make a licence.

    Args:
        data: The sealed file.
        where: Its name.
        owner: The owner's key.
        to: The customer's public key, as :func:`recipient` gives it.
        customer: Who that is, in words.
        expires: When it ends, with a time zone; None for never.

    Raises:
        WrongKey: The file was sealed with another owner's key.
        SealError: The file is damaged.
        UsageError: No public key, an end in the past or outside of all calendars, or an unusable name.
    """
    header = header_of(data, where)
    key = content_key(owner, header.seal_id)
    if key.id != header.key_id or public_key(owner) != header.owner:
        raise WrongKey("This file was sealed with another key.", fix="give the key that it was sealed with")
    end = None if expires is None else _ending(expires)
    if end is not None and end <= utc(now()):
        raise UsageError("The licence would be over before it begins.", where=end.isoformat())
    public, ephemeral = _parsed(to), X25519PrivateKey.generate()
    unseal(data, key, where)
    sender = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    fields = {
        "licence_id": os.urandom(8).hex(),
        "seal_id": header.seal_id,
        "key_id": header.key_id,
        "sealed": hashlib.sha256(data).hexdigest(),
        "customer": customer,
        "recipient": public.hex(),
        "created": now(),
        "expires": None if end is None else end.isoformat(timespec="seconds"),
        "ephemeral": sender.hex(),
        "nonce": os.urandom(12).hex(),
        "owner": header.owner,
    }
    try:
        bare = Licence.model_validate({**fields, "wrapped": "0" * 96, "signature": "0" * 128})
    except ValidationError:
        why = "it has at most 200 characters, all of them in Unicode"
        raise UsageError("This is no name of a customer.", where=repr(customer[:40]), why=why) from None
    sealed = _wrapping(ephemeral, public, sender, public).encrypt(
        bytes.fromhex(bare.nonce), key.export_secret(), bare.canonical("wrapped", "signature")
    )
    whole = bare.model_copy(update={"wrapped": sealed.hex()})
    return whole.model_copy(update={"signature": sign(owner, whole.canonical("signature"))})


def _ending(expires: datetime) -> datetime:
    try:
        return expires.astimezone(UTC)
    except (OverflowError, ValueError):
        fix = "give a nearer end, or none"
        raise UsageError("The end is outside of all calendars.", where=expires.isoformat(), fix=fix) from None


def read_licence(file: Path) -> Licence:
    """Read a licence and check its signature; SealError where it is damaged."""
    try:
        made = Licence.read(stored(file), str(file))
        check_signature(made.owner, made.signature, made.canonical("signature"), "the licence")
    except Damaged as error:
        raise SealError("The licence is damaged.", where=str(file), why=str(error), fix=_FRESH) from None
    return made


def read_openings(file: Path) -> list[Opening]:
    """Read a log of openings and follow its chain; empty where there is none; SealError if changed."""
    try:
        return chain.read(Opening, file.read_bytes(), str(file)) if file.is_file() else []
    except Damaged as error:
        fix = "restore it, or move it away and tell the owner of the licence"
        raise SealError("The log was changed.", where=str(file), why=str(error), fix=fix) from None
    except OSError as error:
        raise storage_error(error, str(file)) from error


def open_file(
    file: Path,
    licence: Path,
    key: Key,
    *,
    revocations: Path | None = None,
    log: Path | None = None,
    owner: str | None = None,
) -> Opened:
    """Open a sealed file into memory.

    Args:
        file: The sealed file.
        licence: The licence.
        key: The customer's key.
        revocations: The owner's list; None: revocations are not looked at.
        log: Where every try is noted; nothing is opened when that fails. None: nothing is noted.
        owner: Whose the file must be: a public signing key, or at least its first 16 digits; None: anybody's.

    Raises:
        UsageError: `owner` is no public key.
        SealError: Something was changed.
        WrongKey: The licence is another customer's.
        LicenceRefused: Another file or owner, expired, revoked, or the clock was set back.
    """
    if owner is not None and not re.fullmatch("[0-9a-fA-F]{16,64}", owner):
        fix = "give at least 16 of the 64 digits that `noli lock seal` prints"
        raise UsageError("This is no public key of an owner.", where=owner[:100], fix=fix)
    if log is None:
        return _open(file, licence, key, revocations, owner, (), {})
    with held(log.with_name(f"{log.name}.lock")):
        before = read_openings(log)
        told = {"number": len(before), "previous": chain.head(before), "time": now(), "revocations": 0}
        names = read_licence(licence)
        told |= {"owner": names.owner, "seal_id": names.seal_id, "licence_id": names.licence_id}
        try:
            opened = _open(file, licence, key, revocations, owner, before, told)
        except NoliError as error:
            _append(log, Opening.model_validate({**told, "outcome": type(error).__name__}))
            raise
        _append(log, Opening.model_validate({**told, "outcome": "opened"}))
        return opened


def _open(
    file: Path,
    licence: Path,
    key: Key,
    revocations: Path | None,
    owner: str | None,
    before: Sequence[Opening],
    told: dict[str, Any],
) -> Opened:
    """Open a file, and put the number of the list that was looked at into `told`, whatever comes of it."""
    data, made = stored(file), read_licence(licence)
    header = header_of(data, str(file))
    if (made.seal_id, made.key_id, made.owner) != (header.seal_id, header.key_id, header.owner):
        fix = "give the licence of this file"
        raise LicenceRefused("The licence is for another file.", where=str(licence), fix=fix)
    if made.sealed != hashlib.sha256(data).hexdigest():
        why = "it is not, byte for byte, what the owner licensed: damaged, or sealed by another customer"
        raise SealError("The sealed file was changed.", where=str(file), why=why, fix=_ORIGINAL)
    if not header.owner.startswith((owner or "").lower()):
        why, fix = f"it is signed by {header.owner}", "ask whom you have it from"
        raise LicenceRefused("The file is another owner's.", where=str(file), why=why, fix=fix)
    if made.recipient != recipient(key).split(":")[1]:
        why = f"it was made for {made.customer or made.recipient[:16]}"
        raise WrongKey("The licence is another customer's.", where=str(licence), why=why, fix=_FRESH)
    listed = read_revocations(revocations, header.owner) if revocations else None
    told["revocations"] = listed.number if listed else 0
    own = [one for one in before if one.owner in (None, header.owner)]
    known = {one.licence_id for one in own if one.outcome == LicenceRevoked.__name__}
    if made.licence_id in known or (listed and made.licence_id in listed.licences):
        raise LicenceRevoked("The licence was revoked.", where=str(licence), fix=_FRESH)
    if listed and listed.number < max((one.revocations for one in own), default=0):
        raise LicenceRefused("The list of revocations is older than one used before.", where=str(revocations))
    _check_time(made, before, str(licence))
    inner = _unwrapped(made, key, str(licence))
    return Opened(header, made, unseal(data, inner, str(file)), inner)


def _check_time(made: Licence, before: Sequence[Opening], where: str) -> None:
    moment = utc(now())
    if made.expires is not None and moment >= utc(made.expires):
        raise LicenceExpired("The licence is over.", where=where, why=f"since {made.expires}", fix=_FRESH)
    # Not only the last: refused tries are noted too, with the very time that was set back.
    latest = max((utc(one.time) for one in before), default=moment)
    if moment + _LEEWAY < latest:
        why = f"something was opened, or tried, at {latest.isoformat()}"
        raise LicenceRefused("The clock was set back.", why=why, fix="set the clock of this machine")


def _unwrapped(made: Licence, key: Key, where: str) -> Key:
    sender, own = bytes.fromhex(made.ephemeral), bytes.fromhex(made.recipient)
    try:
        cipher = _wrapping(_private(key), sender, sender, own)
        secret = cipher.decrypt(
            bytes.fromhex(made.nonce), bytes.fromhex(made.wrapped), made.canonical("wrapped", "signature")
        )
    except (InvalidTag, UsageError):
        raise SealError("The licence is damaged.", where=where, fix=_FRESH) from None
    return Key.from_bytes(secret)


def _wrapping(private: X25519PrivateKey, public: bytes, sender: bytes, receiver: bytes) -> AESGCM:
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise UsageError(
            "This is no public key of a customer.", why="it is a point that hides nothing"
        ) from None
    hkdf = HKDF(SHA256(), length=32, salt=sender + receiver, info=b"noli/v1/licence/wrap")
    return AESGCM(hkdf.derive(shared))


def _private(key: Key) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(key.subkey("noli/v1/licence/recipient"))


def _parsed(text: str) -> bytes:
    kind, _, rest = text.strip().partition(":")
    public, _, check = rest.partition(":")
    if kind != RECIPIENT or len(public) != 64 or check != _checksum(public):
        fix = "ask the customer for what `noli lock recipient KEY` prints"
        raise UsageError("This is no public key of a customer.", where=text[:100], fix=fix)
    try:
        return bytes.fromhex(public)
    except ValueError:
        raise UsageError("This is no public key of a customer.", where=text[:100]) from None


def _checksum(public: str) -> str:
    return hashlib.sha256(f"{RECIPIENT}:{public}".encode()).hexdigest()[:8]


def _append(log: Path, opening: Opening) -> None:
    """Add a line at the end and flush it; what is there is never written again."""
    try:
        with log.open("ab") as handle:
            handle.write(chain.lines([opening]))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise storage_error(error, str(log)) from error


def write_licence(made: Licence, output: Path) -> None:
    """Write a licence to a new file; OutputExists where there is one."""
    write_new(output, made.canonical())
