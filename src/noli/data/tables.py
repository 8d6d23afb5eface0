"""Tables beside the images: CSV and JSON lines, read row by row and rewritten with new file names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from noli.core import foreign
from noli.core.errors import DataError
from noli.data.embedded import file_holds
from noli.data.place import Place

LABELS = ("label", "labels", "class", "class_name", "category", "target")
TEXTS = ("text", "caption", "captions", "prompt")
SPLITS = ("split", "subset", "partition")
METADATA_PATHS = ("file_name",)
CSV_PATHS = ("path", "file_name", "image", "filename", "filepath", "file", "image_path")
Row = dict[str, Any]
_HEAD = 1 << 16


class Table:
    """One CSV or JSON-lines file.

    Attributes:
        path: Column with the image paths.
        label, text, split: Columns with these, or None.

    Args:
        place: Where it lies.
        name: Its path inside the place.
        paths: Accepted names of the path column, best first.
        label: Name of the label column, or None to look for one.

    Raises:
        DataError: No path column, no such label column, or text that is not UTF-8 CSV / JSON lines.
    """

    def __init__(self, place: Place, name: str, paths: tuple[str, ...], label: str | None = None) -> None:
        self.place = place
        self.name = name
        self.jsonl = name.lower().endswith((".jsonl", ".ndjson"))
        with place.open(name) as handle:
            if file_holds(handle):
                why = "it has long base64 text, which would be published as it is"
                raise self._error(why, "leave out the columns that hold pictures")
        title = place.read(name, _HEAD).partition(b"\n")[0]
        self.delimiter = max(",;\t", key=lambda mark: (title.count(mark.encode()), mark == ","))
        names = self._names()
        if self.jsonl and not names:
            names = list(paths)  # JSON lines without rows have no columns
        path = first_of(paths, names)
        if path is None:
            have = ", ".join(map(repr, names)) or "nothing"
            raise self._error(f"columns are {have}", f"add a column {paths[0]!r} with the image paths")
        if names.count(path) > 1:
            raise self._error(f"{names.count(path)} columns are called {path!r}", "keep one of them")
        self.path = path
        self.label = first_of((label,) if label else LABELS, names)
        self.text = first_of(TEXTS, names)
        self.split = first_of(SPLITS, names)
        if label and self.label is None:
            raise self._error(f"there is no column {label!r}", f"name one of {', '.join(names)}")

    def rows(self) -> Iterator[Row]:
        """Yield every row as a dict; JSON values keep their types. `DataError` if one cannot be parsed."""
        with self._lines() as lines:
            if not self.jsonl:
                yield from csv.DictReader(lines, delimiter=self.delimiter)
                return
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield self._parse(line, number)

    def rewritten(self, rename: Callable[[Row], str | None]) -> Iterator[bytes]:
        """Yield the file's new lines: paths renamed, rows renamed to None left out.

        All other fields keep their values and order; a CSV keeps its delimiter, line ends and BOM.
        """
        if self.jsonl:
            for row in self.rows():
                if (new := rename(row)) is not None:
                    yield (json.dumps({**row, self.path: new}, ensure_ascii=False) + "\n").encode()
            return
        head, names = self.place.read(self.name, _HEAD), self._names()
        end = "\r\n" if b"\r\n" in head else "\n"
        writer = csv.writer(_Echo(), delimiter=self.delimiter, lineterminator=end)
        first = "\ufeff" if head.startswith(b"\xef\xbb\xbf") else ""
        yield (first + writer.writerow(names)).encode()
        place = names.index(self.path)
        with self._lines() as lines:
            # By position: columns may share a name, and rows may be longer than the first.
            for cells in islice(csv.reader(lines, delimiter=self.delimiter), 1, None):
                if cells and (new := rename(dict(zip(names, cells, strict=False)))) is not None:
                    cells[place] = new
                    yield writer.writerow(cells).encode()

    def _names(self) -> list[str]:
        if self.jsonl:
            return list(dict.fromkeys(name for row in self.rows() for name in row))
        with self._lines() as lines:
            return next(csv.reader(lines, delimiter=self.delimiter), [])

    @contextmanager
    def _lines(self) -> Iterator[io.TextIOWrapper]:
        with self.place.open(self.name) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as lines:
            try:
                yield lines
            except (csv.Error, UnicodeDecodeError) as error:
                raise self._error(str(error), "save the table as UTF-8") from error

    def _parse(self, line: str, number: int) -> Row:
        try:
            row = foreign.loads(line)
        except ValueError as error:
            raise self._error(f"line {number}: {error}", "write one JSON object a line") from error
        if not isinstance(row, dict):
            raise self._error(f"line {number} is no object", "write one JSON object a line")
        return row

    def _error(self, why: str, fix: str) -> DataError:
        return DataError("The table cannot be used.", where=self.place.full(self.name), why=why, fix=fix)


class _Echo:
    """A file that hands every line back, so that `csv.writer` becomes a formatter."""

    def write(self, line: str) -> str:
        return line


def cell(row: Row, column: str | None) -> str | None:
    """Return one value of a row as text; None for an absent column or an empty value."""
    value = row.get(column) if column else None
    return None if value is None or value == "" else str(value)


def first_of(wanted: tuple[str, ...], names: list[str]) -> str | None:
    """Return the first of the wanted column names that exists, as it is written there, whatever its case."""
    lower = {name.strip().lower(): name for name in reversed(names)}
    return next((lower[name.lower()] for name in wanted if name.lower() in lower), None)
