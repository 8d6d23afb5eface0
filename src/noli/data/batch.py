"""Write many small files durably: one flush for all of them instead of one for each.

Measured on a virtual disk, 256 files of 3 kB: 0.1 ms a file without flushing, 3.9 ms with one fsync each,
0.2 ms with fsync in 32 threads, 0.13 ms with one flush of the file system.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from noli.core.files import remove_quietly
from noli.core.interrupts import uninterrupted
from noli.data.place import Place, beside, write_errors

_FEW = 8
_THREADS = 16


def write_files(place: Place, files: Sequence[tuple[str, bytes]]) -> None:
    """Write files ``(name, content)`` so that each is either old or complete, also after a power cut.

    Raises:
        RunError: The disk refused; no temporary file stays.
    """
    if not place.local:
        for name, data in files:
            place.write(name, data)
        return
    pending: list[tuple[str, str]] = []
    with write_errors(place.root):
        try:
            for name, data in files:
                path = place.full(name)
                folder, temporary = beside(path)
                Path(folder).mkdir(parents=True, exist_ok=True)
                pending.append((temporary, path))
                with open(temporary, "wb") as handle:  # noqa: PTH123 - Path.write_bytes takes 1.7 times as long
                    handle.write(data)
            _flush([temporary for temporary, _ in pending])
            while pending:
                os.replace(*pending[-1])  # noqa: PTH105
                pending.pop()
        finally:
            for temporary, _ in pending:
                remove_quietly(Path(temporary))


def _flush(paths: Sequence[str]) -> None:
    if len(paths) > _FEW and _flush_file_system(paths[0]):
        return
    with uninterrupted(), ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(_fsync, paths))


def _fsync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_file_system(path: str) -> bool:
    """Call syncfs(2) on the disk that holds `path`; False where there is no such call or it fails."""
    if not sys.platform.startswith("linux"):
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        return int(ctypes.CDLL(None).syncfs(handle)) == 0
    except (OSError, AttributeError):
        return False
    finally:
        os.close(handle)
