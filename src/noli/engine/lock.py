"""One process per run folder: a lock file that names its owner and cannot go stale."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noli.core.errors import UsageError
from noli.core.files import storage_error

LOCK = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder (the folder is made when missing).

    The operating system drops the lock when its owner dies, however it dies, so a lock file left by a
    killed process is simply taken over; the process number inside is for people.

    Raises:
        UsageError: Another living process works in this folder.
        RunError: The folder cannot be written.
    """
    file = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _acquire(file)
    except OSError as exc:
        raise storage_error(exc, str(file)) from exc
    try:
        yield
    finally:
        # Removed while still held; whoever opened it in between notices that the name is gone.
        file.unlink(missing_ok=True)
        os.close(handle)


def _acquire(file: Path) -> int:
    import fcntl  # POSIX only; imported here so that other platforms can at least import the engine

    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(file, handle):
                os.ftruncate(handle, 0)
                os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except OSError as exc:
            owner = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            if exc.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise UsageError(
                "Another process works in this run folder.",
                where=str(file.parent),
                why=f"process {owner or '(starting)'} holds its lock",
                fix="wait until it has ended, or stop it",
            ) from exc
        os.close(handle)


def _is_still(file: Path, handle: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
