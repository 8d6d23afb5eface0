"""Key files on disk: mode 0600, written atomically, never overwritten by a new key."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noli.core.errors import KeyFileError, OutputExists, WrongKey
from noli.core.keyformat import Entry, PublicEntry, Ring, State, make_entry, open_entry, parse, render
from noli.core.keysecret import Secret

_MAX_BYTES: Final = 2**20
_PRIVATE: Final = 0o600


@dataclass(frozen=True)
class Loaded:
    """A secret read from a key file, checked, with its public facts."""

    secret: Secret
    label: str
    created: str
    state: State


def create(
    path: Path, secret: Secret, label: str, created: str, passphrase: Secret | None, scrypt_n: int
) -> None:
    """Write a ring with one active key to a new file; see :meth:`noli.core.key.Key.new`."""
    ring = Ring(label=label, keys=(make_entry(secret, label, created, passphrase, scrypt_n),))
    taken = OutputExists(
        "The key file exists already; a key is never overwritten.",
        where=str(path),
        fix="choose another name, or add a key to it with `noli key rotate`",
    )
    with _claimed(path, taken), _claimed(_fresh(path), _busy(path)):
        _replace(path, render(ring))


def load(path: Path, passphrase: Secret | None, wanted: str | None) -> Loaded:
    """Read one key; see :meth:`noli.core.key.Key.load`."""
    ring = _read(path)
    entry = _find(ring, path, wanted)
    if entry.state == "revoked":
        raise KeyFileError(
            "This key was revoked.",
            where=f"{path}, key {entry.key_id}",
            fix="use the active key by leaving the key id out",
        )
    secret = open_entry(entry, ring.label, passphrase, f"{path}, key {entry.key_id}")
    return Loaded(secret, ring.label, entry.created, entry.state)


def rotate(path: Path, secret: Secret, created: str, passphrase: Secret | None, scrypt_n: int) -> str:
    """Add an active key, make the previous one decrypt-only, return the label."""
    with _changing(path) as (target, ring):
        # Only somebody who can open the ring may add to it, and only with the same passphrase.
        open_entry(ring.keys[-1], ring.label, passphrase, str(path))
        older = tuple(
            entry.model_copy(update={"state": "decrypt-only"}) if entry.state == "active" else entry
            for entry in ring.keys
        )
        entry = make_entry(secret, ring.label, created, passphrase, scrypt_n)
        _replace(target, render(ring.model_copy(update={"keys": (*older, entry)})))
    return ring.label


def revoke(path: Path, wanted: str) -> None:
    """Mark one key as revoked; see :meth:`noli.core.key.Key.revoke`."""
    with _changing(path) as (target, ring):
        found = _find(ring, path, wanted)
        keys = tuple(
            entry.model_copy(update={"state": "revoked"}) if entry is found else entry for entry in ring.keys
        )
        _replace(target, render(ring.model_copy(update={"keys": keys})))


def public_entries(path: Path) -> list[PublicEntry]:
    """List a ring's keys, oldest first, without secrets."""
    return _read(path).public()


def _find(ring: Ring, path: Path, wanted: str | None) -> Entry:
    for entry in ring.keys:
        if entry.key_id == wanted or (wanted is None and entry.state == "active"):
            return entry
    if wanted is None:
        raise KeyFileError(
            "No key of this file is active.", where=str(path), fix="add a new key with `noli key rotate`"
        )
    raise WrongKey(
        "The key file does not hold the key that is needed.",
        where=str(path),
        why=f"needed {wanted}, the file holds {', '.join(entry.key_id for entry in ring.keys)}",
        fix="use the key file that the data was made with",
    )


# ---------------------------------------------------------------------- reading


def _read(path: Path) -> Ring:
    return parse(_content(path), str(path))


def _content(path: Path) -> Secret:
    with _file_errors(path, "read"):
        info = path.stat()
        if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_BYTES:
            raise KeyFileError("This is no key file.", where=str(path), why="not a small regular file")
        with path.open("rb") as handle:
            _check_mode(os.fstat(handle.fileno()).st_mode, path)
            content = Secret(handle.read(_MAX_BYTES))
    if not content.reveal().strip():
        raise KeyFileError(
            "The key file is empty.",
            where=str(path),
            why="making it was interrupted, or the disk was full",
            fix="restore it from a backup; if it never held a key, delete it and make a new one",
        )
    return content


def _check_mode(mode: int, path: Path) -> None:
    if os.name == "posix" and mode & 0o077:
        raise KeyFileError(
            "Other users can open the key file.",
            where=str(path),
            why=f"its mode is {stat.S_IMODE(mode):04o}",
            fix=f"chmod 600 {shlex.quote(str(path))}",
        )


@contextlib.contextmanager
def _file_errors(path: Path, verb: str) -> Iterator[None]:
    """Turn errors of the operating system into typed ones."""
    try:
        yield
    except FileNotFoundError as error:
        what = "The key file does not exist." if verb == "read" else "The key file's folder does not exist."
        fix = f"noli key new {shlex.quote(str(path))}" if verb == "read" else "make the folder first"
        raise KeyFileError(what, where=str(path), fix=fix) from error
    except OSError as error:
        raise KeyFileError(
            f"The key file cannot be {'read' if verb == 'read' else 'written'}.",
            where=str(path),
            why=error.strerror or type(error).__name__,
            fix="check the permissions of the file and its folder, and the free space",
        ) from error


# ---------------------------------------------------------------------- writing


def _fresh(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _busy(path: Path) -> KeyFileError:
    return KeyFileError(
        "The key file is being changed by another process, or a change was interrupted.",
        where=str(path),
        fix=f"wait; if nothing else is running, delete {shlex.quote(str(_fresh(path)))} and try again",
    )


@contextlib.contextmanager
def _claimed(path: Path, taken: KeyFileError | OutputExists) -> Iterator[None]:
    """Create `path` exclusively; remove it again if the block fails before replacing or moving it."""
    with _file_errors(path, "write"):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        except FileExistsError:
            raise taken from None
        os.close(handle)
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[tuple[Path, Ring]]:
    """Hold the change lock of an existing key file (its ``.new`` neighbour) and read the file under it."""
    _read(path)  # a missing or damaged file must be reported as such before anything is created
    target = path.resolve()
    with _claimed(_fresh(target), _busy(target)):
        yield target, _read(path)


def _replace(path: Path, content: Secret) -> None:
    """Write the claimed ``.new`` neighbour, flush it to the disk, and move it into place."""
    fresh = _fresh(path)
    with _file_errors(path, "write"):
        with fresh.open("wb") as handle:
            if os.name == "posix":
                os.fchmod(handle.fileno(), _PRIVATE)
            handle.write(content.reveal())
            handle.flush()
            os.fsync(handle.fileno())
        fresh.replace(path)
    if os.name == "posix":
        # The file is in place; a file system that cannot flush folders is no reason to report failure.
        with contextlib.suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
