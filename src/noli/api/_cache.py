"""Finished trainings on disk, so that a killed verification goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from noli.core.files import storage_error
from noli.core.run import dump_line, read_lines


class TrainingCache(MutableMapping[str, dict[str, Any]]):
    """A mapping that appends every new entry to a JSON-lines file; a line torn by a kill is passed over.

    Args:
        file: The file; it is made with the first entry.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, dict[str, Any]] = {}
        if file.is_file():
            for line in read_lines(file, torn="skip"):
                self._known[line["key"]] = line["value"]

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._known[key]

    def __setitem__(self, key: str, value: dict[str, Any]) -> None:
        try:
            with self._file.open("ab") as handle:
                # Starting on a fresh line keeps a torn one from swallowing this entry.
                handle.write(b"\n" + dump_line({"key": key, "value": value}))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise storage_error(error, str(self._file)) from error
        self._known[key] = value

    def __delitem__(self, key: str) -> None:
        raise TypeError("finished trainings are kept")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
