"""Which stored noise every item gets, where several items share it: a small file beside the noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from noli.core.errors import RunError
from noli.core.files import atomic_write


def write(folder: Path, name: str, rows: Mapping[str, str]) -> None:
    """Write item id -> name of its row in the noise store.

    Raises:
        RunError: The place cannot be written.
    """
    atomic_write(folder / f"{name}.json", json.dumps(dict(rows)).encode())
    read.cache_clear()


@lru_cache(maxsize=16)
def read(folder: str, name: str) -> dict[str, str]:
    """Read what :func:`write` wrote.

    Raises:
        RunError: The file is missing or damaged.
    """
    file = Path(folder) / f"{name}.json"
    try:
        rows = json.loads(file.read_bytes())
    except (OSError, ValueError) as exc:
        fix = "put the run folder's artifacts back, or protect into a new output"
        raise RunError("An assignment cannot be read.", where=str(file), why=str(exc), fix=fix) from exc
    if not isinstance(rows, dict) or not all(isinstance(row, str) for row in rows.values()):
        raise RunError("An assignment is damaged.", where=str(file))
    return rows
