"""One process per run folder: a lock file that names its owner and cannot go stale."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from noli.core.errors import RunError, UsageError
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
        handle = file.open("a+")
    except OSError as exc:
        raise storage_error(exc, str(file)) from exc
    with handle:
        _take(file, handle)
        try:
            yield
        finally:
            # Removed while still held; whoever opened it in between notices that the name is gone.
            file.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; one that was made for a refused call does not stay behind.

    Raises:
        UsageError: Another living process works in this folder.
        RunError: The folder cannot be written.
    """
    made_here = not folder.exists()
    try:
        with locked(folder):
            yield
    finally:
        if made_here:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def awaited(folder: Path) -> Iterator[None]:
    """Hold a lock that has a folder of its own for a moment; wait two seconds for others who do.

    Raises:
        UsageError: Others hold it longer.
        RunError: The folder cannot be written.
    """
    with ExitStack() as patience:
        for last in (*[False] * 40, True):
            try:
                patience.enter_context(held(folder))
                break
            except (UsageError, RunError):  # the other may just be removing what it held
                if last:
                    raise
                time.sleep(0.05)
        yield
    with suppress(OSError):  # whoever made it may have found it in use by the next
        folder.rmdir()


def _take(file: Path, handle: IO[str]) -> None:
    import fcntl  # POSIX only; imported here so that other platforms can at least import the engine

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(file.stat(), os.fstat(handle.fileno())):
            raise BlockingIOError
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
    except (BlockingIOError, FileNotFoundError) as exc:
        handle.seek(0)
        raise UsageError(
            "Another process works in this run folder.",
            where=str(file.parent),
            why=f"process {handle.read(32).strip() or '(starting)'} holds its lock",
            fix="wait until it has ended, or stop it",
        ) from exc
    except OSError as exc:
        raise storage_error(exc, str(file)) from exc
