"""Finished trainings on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from noli.core.files import storage_error
from noli.core.run import dump_line, read_lines


class TrainingCache(dict[str, dict[str, Any]]):
    """Finished trainings: a dict that appends every new entry to a file, so that a killed run goes on.

    Args:
        file: JSON lines, made with the first entry; a line torn by a kill is passed over.
        others: Files of other runs on the same data, which are only read.
    """

    def __init__(self, file: Path, others: Iterable[Path] = ()) -> None:
        self._file = file
        found = (read_lines(place, torn="skip") for place in (*others, file) if place.is_file())
        super().__init__({line["key"]: line["value"] for lines in found for line in lines})

    def __setitem__(self, key: str, value: dict[str, Any]) -> None:
        try:
            with self._file.open("ab") as handle:
                # Starting on a fresh line keeps a torn one from swallowing this entry.
                handle.write(b"\n" + dump_line({"key": key, "value": value}))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise storage_error(error, str(self._file)) from error
        super().__setitem__(key, value)
