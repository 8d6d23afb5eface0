"""What was released: a signed list of all files with their digests, and a folder held against it.

Where the data is marked before the owner commits, the commitment itself fixes the list. Where the commitment
comes first, because a beacon decides the marks or because it is a model that gets them, a second record does
(:class:`Release`): it binds from the day on which its digest was published, and not before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cryptography import x509
from pydantic import TypeAdapter, ValidationError

from noli.core.key import Key
from noli.data.place import Place
from noli.proof.commitment import Commitment, Signature, check_signature, sign
from noli.proof.records import Damaged, Digest, Moment, Record, canonical, now, sha256
from noli.proof.times import TimeProof, said, token_time

LIST, RECORD, STAMPS = "released.json", "release.json", "release/"
_LIST: TypeAdapter[list[tuple[str, Digest]]] = TypeAdapter(list[tuple[str, Digest]])
_CHUNK = 1 << 22


class Release(Record):
    """The list of what was released, signed after the commitment.

    Attributes:
        commitments: Digests of the commitments that the release belongs to.
        released: SHA-256 of the list.
        made: By the owner's clock, which proves nothing.
        signature: Of everything else in its canonical form.
    """

    schema_version: Literal[1] = 1
    commitments: tuple[Digest, ...]
    released: Digest
    made: Moment
    signature: Signature


class Sealed(NamedTuple):
    """Members of a bundle, not yet believed; None where it has none.

    Attributes:
        listed: ``released.json``: names and SHA-256 of all files.
        record: ``release.json``: a :class:`Release`.
        stamps: ``release/``: RFC 3161 time stamps of that record.
    """

    listed: bytes | None = None
    record: bytes | None = None
    stamps: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Bound:
    """What a bundle says was released.

    Attributes:
        digest: SHA-256 of the list.
        files: Name -> SHA-256; None where the bundle withholds the list.
        record: Digest of the second record that fixes the list; empty where the commitment does.
        known: Time before which that record existed, where a stamp of an authority that the checker trusts
            says so.
    """

    digest: str
    files: Mapping[str, str] | None = None
    record: str = ""
    known: TimeProof | None = None

    @property
    def words(self) -> str:
        """Return what fixes it, in a sentence."""
        count = "files" if self.files is None else f"{len(self.files):,} file{'s' * (len(self.files) != 1)}"
        if not self.record:
            return f"{count}, fixed by the commitment"
        if self.known is not None:
            when = f"{said(self.known.moment)}: {self.known.by}"
            return f"{count}, fixed by a record that was signed after the commitment and before {when}"
        return (
            f"{count}, by a record that was signed after the commitment: it binds only if its SHA-256 was "
            f"published, {self.record}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines."""
        count = None if self.files is None else len(self.files)
        known = {"time": self.known.moment.isoformat(), "by": self.known.by} if self.known else None
        found = {"sha256": self.digest, "files": count, "record_sha256": self.record or None}
        return {**found, "known_before": known}


@dataclass(frozen=True)
class Comparison:
    """A folder held against the list.

    Attributes:
        outcome: ``same``; ``differs``; or ``not bound``: the bundle fixes no list.
        different, missing, extra: Names of files with other content, of listed ones that are not there, and
            of others that are; all empty where the bundle withholds the list.
    """

    outcome: Literal["same", "differs", "not bound"]
    different: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines."""
        names = {"different": self.different, "missing": self.missing, "extra": self.extra}
        return {"outcome": self.outcome, **{name: list(found) for name, found in names.items()}}


def files_of(place: Place) -> dict[str, str]:
    """Return name and SHA-256 of every file of a folder, or of a single file.

    Hidden files, run folders and thumbnail caches are passed over, as everywhere.

    Raises:
        DataError: A file cannot be read.
    """
    if place.is_dir():
        return {_name(name): _digest(place, name) for name in place.walk()}
    folder, name = place.split()
    return {_name(name): _digest(folder, name)}


def listing(files: Mapping[str, str]) -> bytes:
    """Return the form that is signed: pairs of name and SHA-256, sorted."""
    return canonical(sorted(files.items()))


def release(key: Key, commitments: Sequence[Commitment], listed: bytes) -> Release:
    """Sign the list of what was released under commitments that do not have it."""
    digests = tuple(one.digest for one in commitments)
    unsigned = Release(commitments=digests, released=sha256(listed), made=now(), signature="0" * 128)
    return unsigned.model_copy(update={"signature": sign(key, unsigned.canonical("signature"))})


def bound(commitment: Commitment, sealed: Sealed, roots: Sequence[x509.Certificate] = ()) -> Bound | None:
    """Return what a bundle fixes of the release; None if nothing, as in bundles of older versions.

    Args:
        commitment: That of the bundle.
        sealed: The members that speak of the release.
        roots: Time-stamping authorities that the checker trusts; stamps of others do not count.

    Raises:
        Damaged: List, record and commitment do not belong together.
        MissingPrerequisite: rfc3161-client is not installed, and there is a stamp to be checked.
    """
    digest, by, known = commitment.released, "", None
    if sealed.stamps and sealed.record is None:
        raise Damaged(f"there are time stamps of {RECORD}, and no such record")
    if sealed.record is not None:
        if digest is not None:
            raise Damaged(f"{RECORD} is about a commitment that fixes its release itself")
        record = Release.read(sealed.record, RECORD)
        check_signature(commitment.owner, record.signature, record.canonical("signature"), RECORD)
        if commitment.digest not in record.commitments:
            raise Damaged(f"{RECORD} belongs to another commitment")
        digest, by, known = record.released, record.digest, _known(sealed, sealed.record, roots)
    if sealed.listed is None:
        return Bound(digest, None, by, known) if digest else None
    if sha256(sealed.listed) != digest:
        raise Damaged(f"{LIST} is not the list that was signed")
    return Bound(digest, _read(sealed.listed), by, known)


def compare(fixed: Bound | None, place: Place) -> Comparison:
    """Hold a folder against what a bundle fixes.

    Raises:
        DataError: A file cannot be read.
    """
    if fixed is None:
        return Comparison("not bound")
    here = files_of(place)
    if sha256(listing(here)) == fixed.digest:
        return Comparison("same")
    listed = fixed.files
    if listed is None:
        return Comparison("differs")
    return Comparison(
        "differs",
        different=tuple(sorted(name for name in listed.keys() & here if listed[name] != here[name])),
        missing=tuple(sorted(listed.keys() - here)),
        extra=tuple(sorted(here.keys() - listed)),
    )


def _known(sealed: Sealed, record: bytes, roots: Sequence[x509.Certificate]) -> TimeProof | None:
    found = []
    for stamp in sealed.stamps if roots else ():
        with contextlib.suppress(Damaged):
            found.append(token_time(stamp, record, roots))
    return min(found, key=lambda one: one.moment, default=None)


def _read(data: bytes) -> dict[str, str]:
    try:
        files = dict(pairs := _LIST.validate_json(data))
    except ValidationError as error:
        raise Damaged(f"{LIST} is not readable") from error
    if len(files) < len(pairs) or listing(files) != data:
        raise Damaged(f"{LIST} is not in canonical form")
    return files


def _name(name: str) -> str:
    # A name that is no text still has one form, and another name has another.
    return os.fsencode(name.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def _digest(place: Place, name: str) -> str:
    found = hashlib.sha256()
    with place.open(name) as handle:
        while chunk := handle.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
