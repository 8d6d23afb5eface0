"""The list of what a marking releases: made once, kept with the run, put into bundles, held to folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noli.api._beacon import PROOF
from noli.core.errors import DataError, UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.run import Run
from noli.data.place import Place, is_url
from noli.proof.commitment import Commitment
from noli.proof.records import Damaged, sha256
from noli.proof.released import (
    LIST,
    RECORD,
    STAMPS,
    Bound,
    Comparison,
    Release,
    Sealed,
    bound,
    compare,
    files_of,
    listing,
    release,
)


def listed(run: Run) -> bytes:
    """Return the list of all files that a finished marking wrote; made by the first call, then kept.

    Files that a later extension adds are not in it: who committed to a list cannot commit to more.
    """
    file = run.path / PROOF / LIST
    if not file.is_file():
        output = run.manifest.output
        assert output is not None  # noqa: S101 - a finished marking has one
        atomic_write(file, listing(files_of(Place(output.uri))))
    return file.read_bytes()


def digest_of(run: Run) -> str:
    """Return the digest of that list, for a commitment."""
    return sha256(listed(run))


def note_release(run: Run, key: Key, commitments: Sequence[Commitment]) -> None:
    """Sign the list of released files, once, where the commitments came before the files."""
    file = run.path / PROOF / RECORD
    if file.is_file() or all(one.released for one in commitments):
        return
    atomic_write(file, release(key, commitments, listed(run)).canonical())


def release_of(
    run: Run, commitment: Commitment, stamps: Sequence[bytes] = ()
) -> tuple[dict[str, bytes], Bound | None]:
    """Return what a bundle has of the release, and what that fixes; nothing for runs of older versions.

    Args:
        run: A marking.
        commitment: The one that the bundle is about.
        stamps: Time stamps of the record that was signed after it.

    Raises:
        DataError: It was changed.
    """
    found = _members(run.path)
    later = {f"{STAMPS}{i:03d}.tsr": stamp for i, stamp in enumerate(stamps)}
    try:
        return {**found, **later}, bound(commitment, Sealed(found.get(LIST), found.get(RECORD)))
    except Damaged as error:
        what, fix = "The list of released files was changed.", "put it back as it was"
        raise DataError(what, where=str(run.path / PROOF), why=str(error), fix=fix) from error


def record_of(run: Run) -> Release:
    """Return the record that was signed after the commitment.

    Raises:
        UsageError: There is none.
        DataError: It was changed.
    """
    data = _members(run.path).get(RECORD)
    if data is None:
        raise UsageError(
            "There is no record of the release to stamp.",
            where=str(run.path / PROOF / RECORD),
            why="the commitment has the list of released files, or nothing is marked yet",
            fix="leave --release out: the stamp of the commitment is enough; with a beacon, mark first",
        )
    try:
        return Release.read(data, RECORD)
    except Damaged as error:
        what, fix = "The record of the release was changed.", "put it back as it was"
        raise DataError(what, where=str(run.path / PROOF), why=str(error), fix=fix) from error


def stamps_record(run: Run, stamp: bytes) -> bool:
    """Whether a time stamp is one of the record that was signed after the commitment."""
    digest = record_digest(run.path)
    # A stamp holds the digest of what it stamps, as it is.
    return bool(digest) and bytes.fromhex(digest) in stamp


def held_against(fixed: Bound | None, folder: str | Path) -> Comparison:
    """Hold a folder, or a single file, against what a bundle fixes.

    Raises:
        UsageError: It is not there, or not on this machine.
        DataError: A file of it cannot be read.
    """
    if is_url(folder):
        fix = "copy it to this machine: a check uses no network"
        raise UsageError("The released files are not here.", where=str(folder), fix=fix)
    place = Place(folder)
    if not place.exists():
        fix = "name the folder that was released, or a copy of it"
        raise UsageError("There is no such folder.", where=str(folder), fix=fix)
    return compare(fixed, place)


def record_digest(folder: Path) -> str:
    """Return the SHA-256 of the record that a run signed after its commitment; empty where there is none."""
    return sha256(found) if (found := _members(folder).get(RECORD)) else ""


def _members(folder: Path) -> dict[str, bytes]:
    files = {name: folder / PROOF / name for name in (LIST, RECORD)}
    return {name: file.read_bytes() for name, file in files.items() if file.is_file()}
