"""Tables beside the images: CSV and JSON lines, read row by row and rewritten with new file names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from noli.core.errors import DataError
from noli.data.place import Place

LABELS = ("label", "labels", "class", "class_name", "category", "target")
TEXTS = ("text", "caption", "captions", "prompt")
SPLITS = ("split", "subset", "partition")
METADATA_PATHS = ("file_name",)
CSV_PATHS = ("path", "file_name", "image", "filename", "filepath", "file", "image_path")
Rename = Callable[[dict[str, Any]], str | None]


@dataclass(frozen=True)
class Columns:
    """Which columns of a table say what; None where the table does not say it."""

    path: str
    label: str | None
    text: str | None
    split: str | None


class Table:
    """One CSV or JSON-lines file.

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
        self.delimiter = "," if self.jsonl else self._sniff()
        names = self._names()
        self.columns = Columns(
            path=self._need(paths, names),
            label=self._find((label,) if label else LABELS, names),
            text=self._find(TEXTS, names),
            split=self._find(SPLITS, names),
        )
        if label and self.columns.label is None:
            raise self._error(f"there is no column {label!r}", f"name one of {', '.join(names)}")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield every row as a dict; JSON values keep their types.

        Raises:
            DataError: A row that cannot be parsed.
        """
        with self.place.open(self.name) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as lines:
            try:
                if not self.jsonl:
                    yield from csv.DictReader(lines, delimiter=self.delimiter)
                    return
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield self._parse(line, number)
            except (csv.Error, UnicodeDecodeError) as error:
                raise self._error(str(error), "save the table as UTF-8") from error

    def cell(self, row: dict[str, Any], column: str | None) -> str | None:
        """Return one value as text; None for an absent column or an empty value."""
        value = row.get(column) if column else None
        return None if value is None or value == "" else str(value)

    def rewritten(self, rename: Rename) -> Iterator[bytes]:
        """Yield the file's new content in pieces: paths renamed, rows renamed to None left out.

        All other fields keep their values and order; a CSV keeps its delimiter and line ends.
        """
        if self.jsonl:
            for row in self.rows():
                new = rename(row)
                if new is not None:
                    yield (json.dumps({**row, self.columns.path: new}, ensure_ascii=False) + "\n").encode()
            return
        head = self.place.read(self.name, 1 << 16)
        buffer = io.StringIO(newline="")
        end = "\r\n" if b"\r\n" in head else "\n"
        writer = csv.writer(buffer, delimiter=self.delimiter, lineterminator=end)
        names = self._names()
        writer.writerow(names)
        mark = b"\xef\xbb\xbf" if head.startswith(b"\xef\xbb\xbf") else b""
        for row in self.rows():
            new = rename(row)
            if new is not None:
                row[self.columns.path] = new
                writer.writerow([row.get(name) if row.get(name) is not None else "" for name in names])
            if buffer.tell() > 1 << 20:
                yield mark + buffer.getvalue().encode()
                mark = b""
                buffer.seek(0)
                buffer.truncate()
        yield mark + buffer.getvalue().encode()

    def _names(self) -> list[str]:
        if self.jsonl:
            return list(next(self.rows(), {}))
        with self.place.open(self.name) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as lines:
            try:
                return next(csv.reader(lines, delimiter=self.delimiter), [])
            except (csv.Error, UnicodeDecodeError) as error:
                raise self._error(str(error), "save the table as UTF-8 CSV") from error

    def _sniff(self) -> str:
        head = self.place.read(self.name, 1 << 16).partition(b"\n")[0]
        return max(",;\t", key=lambda mark: (head.count(mark.encode()), mark == ","))

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise self._error(f"line {number}: {error}", "write one JSON object a line") from error
        if not isinstance(row, dict):
            raise self._error(f"line {number} is no object", "write one JSON object a line")
        return row

    def _need(self, wanted: tuple[str, ...], names: list[str]) -> str:
        found = self._find(wanted, names)
        if found is None and self.jsonl and not names:
            return wanted[0]  # JSON lines without rows have no columns
        if found is None:
            have = ", ".join(map(repr, names)) or "nothing"
            raise self._error(f"columns are {have}", f"add a column {wanted[0]!r} with the image paths")
        return found

    @staticmethod
    def _find(wanted: tuple[str | None, ...], names: list[str]) -> str | None:
        lower = {name.strip().lower(): name for name in reversed(names)}
        return next((lower[name.lower()] for name in wanted if name and name.lower() in lower), None)

    def _error(self, why: str, fix: str) -> DataError:
        return DataError("The table cannot be used.", where=self.place.full(self.name), why=why, fix=fix)
