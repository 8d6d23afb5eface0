"""Seal a model, license it to a customer, open it in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noli.core import sealed
from noli.core.errors import DataError, UsageError
from noli.core.files import refuse_existing, write_new
from noli.core.key import Key
from noli.core.sealed import Header, content_key, header_of
from noli.engine import licences
from noli.engine.licences import Licence, Opened
from noli.engine.lockedmodels import background, kind_of
from noli.engine.request import KeyLike, fitting_key, open_key
from noli.engine.revocations import Revocations, read_revocations, revoke
from noli.proof.commitment import public_key
from noli.proof.records import now

if TYPE_CHECKING:
    from noli.zoo.detector import Detector
    from noli.zoo.locked_detector import LockedDetector


def seal(model: str | Path, output: str | Path, *, key: KeyLike, label: str = "") -> Header:
    """Encrypt a model file with AES-256-GCM under a content key of its own, which follows from the owner's.

    A locked detector goes under the content key as its lock, too, exactly and without training: files that
    were sealed for different customers have different weights inside, and the owner's key opens none of their
    locks. Any other safetensors file is sealed as it is.

    Args:
        model: A safetensors file, or the folder that ``noli lock detector`` wrote.
        output: A new file.
        key: The owner's key, or the path of a key file without a passphrase.
        label: Public note.

    Raises:
        WrongKey: The detector is locked with another key.
        UsageError: A lock that cannot be moved to another key (``pp``, ``np`` with ``max``), and what to
            seal instead; a file over 1 GiB; a folder of another kind.
        DataError: No safetensors file, or a damaged one.
        OutputExists: Something is at `output`.
    """
    from noli.zoo.locked_detector import FILE, is_locked, read_locked

    owner, target = _needed(key), Path(output)
    if owner.state != "active":
        raise UsageError("This key is retired: it must not seal anything new.", where=owner.id)
    refuse_existing(target)
    file = Path(model) / FILE if Path(model).is_dir() else Path(model)
    if file != Path(model) and not file.is_file():
        kind = (kind_of(model) or "folder without a locked detector").replace("-", " ")
        fix = "name one safetensors file, or the folder of a locked detector"
        raise UsageError("This folder cannot be sealed.", where=str(model), why=f"it is a {kind}", fix=fix)
    content = _read(file)
    seal_id = sealed.new_seal_id()
    inner, told = content_key(owner, seal_id), dict[str, Any](kind="safetensors")
    if is_locked(content, str(file)):
        locked = _moved(read_locked(content, str(file)), owner, inner, model)
        told |= {"kind": "locked-detector", "layers": [layer.name for layer in locked.lock.layers]}
        content = locked.to_bytes()
    told |= {"seal_id": seal_id, "created": now(), "label": label}
    data = sealed.seal(content, inner, owner=public_key(owner), owner_id=owner.id, **told)
    write_new(target, data)
    return header_of(data, str(target))


def _moved(locked: LockedDetector, owner: Key, inner: Key, model: str | Path) -> LockedDetector:
    """Return a detector under the content key; a UsageError says what to seal where that is impossible."""
    lock = locked.lock
    lock.check(owner)
    if lock.foldable:
        return locked.relocked(owner, inner)
    form = "pp" if lock.form == "pp" else f"{lock.form} with {lock.negation}"
    known = background(model)
    plain = known.public if known is not None and known.public is not None else None
    instead = "a detector without a lock" if plain is None else f"the one without a lock, {plain}"
    raise UsageError(
        f"A lock with {form} cannot be sealed.",
        where=str(model),
        why="no weights hold its change, so that it cannot be moved from your key to that of the sealed "
        "file, and customers would need your key",
        fix=f"seal {instead}: a seal is encryption and needs none; or lock with cp, np with sign, or both",
    )


def recipient(key: KeyLike) -> str:
    """Return what a customer sends to the owner to get licences: the public half of his own key file.

    Args:
        key: The customer's key, or the path of a key file without a passphrase.
    """
    return licences.recipient(_needed(key))


def licence(
    file: str | Path,
    output: str | Path,
    *,
    key: KeyLike,
    to: str,
    customer: str = "",
    until: datetime | str | None = None,
) -> Licence:
    """Write a licence for a sealed file: its content key, wrapped for one customer.

    Args:
        file: The sealed file.
        output: A new file.
        key: The owner's key that sealed it, or the path of a key file without a passphrase that holds it.
        to: The customer's public key (:func:`recipient`).
        customer: Who that is, in words; public.
        until: When it ends: a time with its zone, or a date, which counts in UTC to its beginning.

    Raises:
        WrongKey: Another key sealed the file.
        SealError: The file is damaged.
        UsageError: No public key, no time, or one that is over.
        OutputExists: Something is at `output`.
    """
    data, end = _read(Path(file)), _moment(until)
    owner = _needed(key, header_of(data, str(file)).owner_id)
    made = licences.grant(data, str(file), owner, to, customer=customer, expires=end)
    licences.write_licence(made, Path(output))
    return made


def revoke_licences(file: str | Path, ids: Sequence[str], *, key: KeyLike) -> Revocations:
    """Add licences to the owner's signed list of revocations, which is made when it is missing.

    What is on the list already changes nothing. Lists are ordered by their number, never by the clock.

    Args:
        file: The list, to be given to customers.
        ids: Names of licences (``licence_id``), or the licences' files.
        key: The owner's key, or the path of a key file without a passphrase: the key of it that signed the
            list, retired or not; for a new list that which signed the licences whose files are named, else
            the active one.

    Raises:
        SealError: The list or a licence is damaged, or the list is another owner's.
        UsageError: No ids, licences of other keys, or another process changes the list for seconds.
    """
    owner = revoking_key(file, key, ids=ids) if isinstance(key, str | Path) else _needed(key)
    return revoke(Path(file), [_id_of(one, owner) for one in ids], owner)


def open_sealed(
    file: str | Path,
    licence: str | Path,
    *,
    key: KeyLike,
    revocations: str | Path | None = None,
    log: str | Path | None = None,
    owner: str | None = None,
) -> Opened:
    """Open a sealed file into memory; nothing is written but the log.

    Args:
        file: The sealed file.
        licence: The licence for it.
        key: The customer's key, or the path of a key file without a passphrase: that which the licence
            is for, retired or not.
        revocations: The owner's list; None: revocations are not looked at.
        log: Where every try is noted, in a chain; None: nowhere.
        owner: Whose the file must be: the owner's public key (``owner`` of what :func:`seal` returns), 64 hex
            digits or the first of them, at least 16; None: anybody's.

    Raises:
        UsageError: `owner` is no public key.
        SealError, WrongKey, LicenceRefused: See :func:`noli.engine.licences.open_file`.
    """
    listed = None if revocations is None else Path(revocations)
    noted = None if log is None else Path(log)
    customer = opening_key(licence, key) if isinstance(key, str | Path) else _needed(key)
    more = {"revocations": listed, "log": noted}
    return licences.open_file(Path(file), Path(licence), customer, owner=owner, **more)


def opened_detector(opened: Opened) -> Detector:
    """Return the detector in an opened file, unlocked in memory.

    Raises:
        UsageError: Something else was sealed.
    """
    from noli.zoo.locked_detector import read_locked

    if opened.header.kind != "locked-detector":
        fix = "read opened.content with safetensors.torch.load"
        raise UsageError("There is no locked detector in this file.", where=opened.header.kind, fix=fix)
    return read_locked(opened.content, "the sealed file").opened(opened.key)


def sealed_header(file: str | Path) -> Header:
    """Return what a sealed file says of itself; SealError where it is none."""
    return header_of(_read(Path(file)), str(file))


def revoking_key(
    file: str | Path, key: str | Path, passphrase: str | None = None, ids: Sequence[str] = ()
) -> Key:
    """Return the key of a key file that signed a list of revocations, or licences; else its active one."""
    signed = read_revocations(Path(file), None).owner if Path(file).exists() else _owner_of(ids)
    return fitting_key(key, passphrase, lambda one: signed in (None, public_key(one)))


def _owner_of(ids: Sequence[str]) -> str | None:
    """Return who signed the licences whose files are named; None where none is.

    Raises:
        UsageError: Several keys did: a list is one key's.
    """
    owners = {licences.read_licence(Path(one)).owner for one in ids if Path(one).is_file()}
    if len(owners) > 1:
        fix = "revoke those of each key in a list of its own"
        raise UsageError("These licences are of several owner's keys.", where=", ".join(ids), fix=fix)
    return next(iter(owners), None)


def _id_of(one: str, owner: Key) -> str:
    """Return the id of a licence, given as such or as the licence's file, which must be the owner's."""
    if not Path(one).is_file():
        return one
    made = licences.read_licence(Path(one))
    if made.owner != public_key(owner):
        why, fix = f"it is signed by {made.owner[:16]}", "name another list for it"
        raise UsageError("This licence is of another key than the list.", where=one, why=why, fix=fix)
    return made.licence_id


def opening_key(licence: str | Path, key: str | Path, passphrase: str | None = None) -> Key:
    """Return the key of a customer's key file that a licence is for, else its active one."""
    to = licences.read_licence(Path(licence)).recipient
    return fitting_key(key, passphrase, lambda one: to == recipient(one).split(":")[1])


def _needed(key: KeyLike, key_id: str | None = None) -> Key:
    found = open_key(key, key_id)
    if found is None:
        raise UsageError("This needs a key.", fix="make one with `noli key new owner.key`")
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError("The file cannot be read.", where=str(file), why=str(error.strerror)) from error


def _moment(until: datetime | str | None) -> datetime | None:
    if until is None:
        return None
    try:
        found = datetime.fromisoformat(until) if isinstance(until, str) else until
        if isinstance(until, str) and found.tzinfo is None and len(until) == len("2030-01-31"):
            found = datetime.fromisoformat(f"{until}T00:00:00+00:00")
    except ValueError as error:
        raise UsageError("This is no time.", where=str(until), fix="give one such as 2030-01-31") from error
    if found.tzinfo is None:
        raise UsageError("The end needs a time zone.", where=str(until), fix="add one, such as +00:00")
    return found
