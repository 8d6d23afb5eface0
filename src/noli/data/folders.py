"""Folder layouts: flat, class folders with or without splits, and folders described by a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.formats import (
    FOREIGN_SUFFIXES,
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    PLAIN_SUFFIXES,
    SUFFIXES,
    magic,
    suffix_of,
)
from noli.data.place import Place, check_name
from noli.data.tables import CSV_PATHS, METADATA_PATHS, Table

SPLIT_NAMES = frozenset(["train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"])
TABLE_NAMES = ("metadata.csv", "metadata.jsonl")
_READABLE = frozenset((*SUFFIXES, "GIF", "JPEG 2000", "JPEG XL", "Photoshop", "OpenEXR", "DICOM", "BigTIFF"))


def is_item(place: Place, name: str) -> bool:
    """Tell whether a file is a picture: by its suffix, or by its first bytes when the suffix says nothing.

    Pictures of foreign kinds count: copied through as companions, they would be published unprotected.
    """
    suffix = suffix_of(name)
    if suffix in IMAGE_SUFFIXES or suffix in FOREIGN_SUFFIXES:
        return True
    if suffix in PLAIN_SUFFIXES:
        return False
    try:
        return magic(place.read(name, HEAD_BYTES)) in _READABLE
    except DataError:
        return False


def split_of(name: str) -> str | None:
    """Return the split that the first folder of a path names, or None."""
    first, slash, _ = name.partition("/")
    return first if slash and first.lower() in SPLIT_NAMES else None


def label_of(name: str) -> str | None:
    """Return the class folder of a path: its first folder, after the split's."""
    parts = PurePosixPath(name).parts
    folders = parts[1 if split_of(name) else 0 : -1]
    return folders[0] if folders else None


class FolderSource:
    """Images in a folder tree.

    Args:
        place: The root.
        layout: ``flat`` or ``class-folders``.
    """

    def __init__(self, place: Place, layout: str) -> None:
        self.place = place
        self._layout = layout

    @property
    def uri(self) -> str:
        """The root as it was given."""
        return self.place.uri

    @property
    def layout(self) -> str:
        """``flat`` or ``class-folders``."""
        return self._layout

    def refs(self) -> Iterator[Ref]:
        """Yield all pictures: a folder's files by name, then its subfolders by name."""
        labelled = self._layout == "class-folders"
        for index, name in enumerate(self._pictures()):
            label = label_of(name) if labelled else None
            yield Ref(name, label=label, split=split_of(name), index=index)

    def read(self, ref: Ref) -> bytes:
        """Return the bytes of one picture.

        Raises:
            DataError: Missing or unreadable.
        """
        return self.place.read(ref.path)

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Return ``(size, modification time in ns)``.

        Raises:
            DataError: Missing or unreadable.
        """
        return self.place.stat(ref.path)

    def companions(self) -> Iterator[str]:
        """Yield the other files of the tree, which a writer copies through."""
        for name, _ in self.place.walk():
            if not is_item(self.place, name):
                yield name

    def _pictures(self) -> Iterator[str]:
        for name, _ in self.place.walk():
            if is_item(self.place, name):
                yield name


class TableSource(FolderSource):
    """Images described by tables: ``metadata.csv`` / ``metadata.jsonl`` in the tree, or one CSV of paths.

    Args:
        place: The root.
        layout: ``metadata`` or ``csv``.
        tables: Paths of the tables inside the root.
        labels: Name of the label column, or None to look for one.
    """

    def __init__(self, place: Place, layout: str, tables: tuple[str, ...], labels: str | None = None) -> None:
        super().__init__(place, layout)
        paths = METADATA_PATHS if layout == "metadata" else CSV_PATHS
        self.tables = tuple(Table(place, name, paths, labels) for name in tables)

    def refs(self) -> Iterator[Ref]:
        """Yield the rows in table order, then pictures no row mentions (``metadata`` only, by folder label).

        Raises:
            DataError: A path outside the tree, or two rows that contradict each other.
        """
        seen: dict[str, tuple[str | None, str | None]] = {}
        index = 0
        for table in self.tables:
            for row in table.rows():
                name = self.path_in(table, row)
                ref = self._ref(table, row, name, index)
                if name not in seen:
                    seen[name] = (ref.label, ref.text)
                    index += 1
                    yield ref
                elif seen[name] != (ref.label, ref.text):
                    fix = "keep one row for each image"
                    what = "Two rows give one image different labels."
                    raise DataError(what, where=f"{table.name}: {name}", fix=fix, items=(name,))
        if self._layout == "metadata":
            for name in self._pictures():
                if name not in seen:
                    yield Ref(name, label=label_of(name), split=split_of(name), index=index)
                    index += 1

    def companions(self) -> Iterator[str]:
        """Yield the other files, without the tables; a CSV of paths brings no companions."""
        names = {table.name for table in self.tables}
        if self._layout == "metadata":
            yield from (name for name in super().companions() if name not in names)

    def path_in(self, table: Table, row: dict[str, Any]) -> str:
        """Return the path inside the tree that a row names.

        Raises:
            DataError: The path is empty or lies outside.
        """
        given = table.cell(row, table.columns.path) or ""
        folder = table.name.rpartition("/")[0]
        if self.place.local and given.startswith(self.place.root + "/"):
            given = given[len(self.place.root) + 1 :].removeprefix(f"{folder}/" if folder else "")
        name = check_name(given, self.place.full(table.name))
        return f"{folder}/{name}" if folder else name

    def _ref(self, table: Table, row: dict[str, Any], name: str, index: int) -> Ref:
        columns = table.columns
        label = table.cell(row, columns.label)
        if columns.label is None and self._layout == "metadata":
            label = label_of(name)
        split = table.cell(row, columns.split) or split_of(name)
        return Ref(name, label=label, split=split, text=table.cell(row, columns.text), index=index)
