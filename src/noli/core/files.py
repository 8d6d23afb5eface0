"""Durable small files: write all or nothing, and say in plain words why a place cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from noli.core.errors import OutputExists, RunError

TEMP_SUFFIX = ".noli-tmp"
KEY_FORMAT = "noli-key"  # how a key file names itself, in its first line
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


def atomic_write(path: Path, data: bytes | Callable[[BinaryIO], object], *, private: bool = False) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    The parent folder is created. The temporary file lies beside the target and is removed on failure.

    Args:
        path: Target.
        data: The content, or a function that writes it to an open file.
        private: Nobody but the owner of the file may read it (mode 0600), from its first byte on.

    Raises:
        RunError: The place is full, read-only or otherwise not writable.
    """
    # The name depends only on the target: the next try replaces what a kill has left behind.
    temp = path.with_name(f".{path.name}{TEMP_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if private:
            temp.unlink(missing_ok=True)
            temp.touch(0o600)
        with temp.open("wb") as handle:
            if callable(data):
                data(handle)
            else:
                handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temp.replace(path)
    except OSError as exc:
        remove_quietly(temp)
        raise storage_error(exc, str(path)) from exc


def write_new(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` to a place that the user named and that must not exist yet; see :func:`atomic_write`.

    Raises:
        OutputExists: Something is there; it was not touched.
        RunError: The place cannot be written.
    """
    refuse_existing(path)
    atomic_write(path, data, private=private)


def refuse_existing(place: str | Path) -> None:
    """Refuse a place, named by the user, where something is, or where nothing can be written.

    Raises:
        OutputExists: Something is there.
        RunError: The folder it would lie in is a file, or closed.
    """
    target = Path(place)
    if target.exists() or target.is_symlink():
        what = "This exists, and nothing is overwritten."
        raise OutputExists(what, where=str(place), fix="name another or remove it")
    above = next(folder for folder in target.absolute().parents if folder.exists())
    if not above.is_dir():
        raise storage_error(NotADirectoryError(errno.ENOTDIR, f"{above} is a file"), str(place))
    if not os.access(above, os.W_OK | os.X_OK):
        raise storage_error(PermissionError(errno.EACCES, f"{above} is closed to you"), str(place))


def remove_quietly(path: Path) -> None:
    """Remove a file if it is there; never raises, because it runs while another error is handled."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def storage_error(exc: OSError, where: str | None = None) -> RunError:
    """Translate an operating system error into the typed error that names the fix."""
    place = where or (str(exc.filename) if exc.filename else None)
    why = exc.strerror or str(exc)
    if exc.errno in _FULL:
        fix = "free some space (or choose another place), then run the same command again: it resumes"
        return RunError("The disk is full.", where=place, why=why, fix=fix)
    if exc.errno in _CLOSED:
        fix = "choose a place that can be written, or change its permissions; the same command resumes"
        return RunError("This place cannot be written.", where=place, why=why, fix=fix)
    return RunError("Reading or writing failed.", where=place, why=why, fix="run the same command again")
