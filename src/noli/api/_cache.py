"""Finished trainings on disk, so that a killed verification goes on where it stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from noli.core.files import storage_error
from noli.core.run import dump_line, read_lines


class TrainingCache(dict[str, dict[str, Any]]):
    """A mapping that appends every new entry to a JSON-lines file; a line torn by a kill is passed over.

    Args:
        file: The file; it is made with the first entry.
    """

    def __init__(self, file: Path) -> None:
        lines = read_lines(file, torn="skip") if file.is_file() else ()
        super().__init__({line["key"]: line["value"] for line in lines})
        self._file = file

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
