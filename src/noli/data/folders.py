"""Folder layouts: flat, class folders with or without splits, and folders described by a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.embedded import may_travel
from noli.data.formats import (
    FOREIGN_SUFFIXES,
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    PLAIN_SUFFIXES,
    READABLE,
    magic,
    suffix_of,
)
from noli.data.place import Place, inside
from noli.data.tables import CSV_PATHS, METADATA_PATHS, Row, Table, cell

SPLIT_NAMES = frozenset(["train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"])


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
        return magic(place.read(name, HEAD_BYTES)) in READABLE
    except DataError:
        return False


def travels(place: Place, name: str, *, strip: bool = False) -> bool:
    """Tell whether a file that is no picture is copied to the output: see :func:`may_travel`."""
    try:
        with place.open(name) as handle:
            return may_travel(name, handle, strip=strip)
    except (DataError, OSError):
        return False  # gone, or a dangling link


def splits_of(place: Place) -> frozenset[str]:
    """Return the first folders that are splits: those named so, unless they stand for classes.

    A folder ``train`` of pictures beside ``car`` and ``plane`` shows trains.
    """
    folders, _ = place.listing()
    named = {folder for folder in folders if folder.lower() in SPLIT_NAMES}

    def holds(folder: str) -> bool:
        return any(is_item(place, name) for name in place.walk(folder))

    if named and any(holds(folder) for folder in folders if folder not in named):
        named = {folder for folder in named if place.listing(folder)[0]}
    return frozenset(named)


def split_of(name: str, splits: frozenset[str]) -> str | None:
    """Return the split that the first folder of a path names, or None."""
    first, slash, _ = name.partition("/")
    return first if slash and first in splits else None


def label_of(name: str, splits: frozenset[str]) -> str | None:
    """Return the class folder of a path: its first folder, after the split's."""
    folders = PurePosixPath(name).parts[1 if split_of(name, splits) else 0 : -1]
    return folders[0] if folders else None


class Companions:
    """The files of a tree that are no pictures.

    Attributes:
        place: The root.
    """

    place: Place

    def _others(self) -> Iterator[str]:
        raise NotImplementedError

    def companions(self, *, strip: bool = False) -> Iterator[str]:
        """Yield the other files of the tree that a writer copies through: see :func:`travels`."""
        yield from (name for name in self._others() if travels(self.place, name, strip=strip))

    def left_out(self, *, strip: bool = False) -> Iterator[str]:
        """Yield the other files that are not copied, then hidden pictures."""
        yield from (name for name in self._others() if not travels(self.place, name, strip=strip))
        yield from (name for name in self.place.hidden() if suffix_of(name) in IMAGE_SUFFIXES)


class FolderSource(Companions):
    """Images in a folder tree. Files that are missing or unreadable are `DataError`.

    Args:
        place: The root.
        layout: ``flat`` or ``class-folders``.
    """

    def __init__(self, place: Place, layout: str) -> None:
        self.place = place
        self.uri = place.uri
        self.layout = layout
        self.splits = splits_of(place)

    def refs(self) -> Iterator[Ref]:
        """Yield all pictures: a folder's files by name, then its subfolders by name."""
        names = (name for name in self.place.walk() if is_item(self.place, name))
        for index, name in enumerate(names):
            label = None if self.layout == "flat" else label_of(name, self.splits)
            yield Ref(name, label=label, split=split_of(name, self.splits), index=index)

    def read(self, ref: Ref) -> bytes:
        """Return the bytes of one picture."""
        return self.place.read(ref.path)

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Return ``(size, modification time in ns)``."""
        return self.place.stat(ref.path)

    def _others(self) -> Iterator[str]:
        yield from (name for name in self.place.walk() if not is_item(self.place, name))


class TableSource(FolderSource):
    """Images described by tables: ``metadata.csv`` / ``metadata.jsonl`` in the tree, or one CSV of paths.

    Args:
        place: The root.
        layout: ``metadata`` or ``csv``.
        tables: Paths of the tables inside the root.
        labels: Name of the label column, or None to look for one.
    """

    def __init__(self, place: Place, layout: str, tables: list[str], labels: str | None = None) -> None:
        super().__init__(place, layout)
        paths = METADATA_PATHS if layout == "metadata" else CSV_PATHS
        self.tables = [Table(place, name, paths, labels) for name in tables]

    def refs(self) -> Iterator[Ref]:
        """Yield the rows in table order, then pictures no row mentions (``metadata`` only, by folder label).

        Raises:
            DataError: A path outside the tree, or two rows that contradict each other.
        """
        seen: dict[str, tuple[str | None, str | None]] = {}
        for table in self.tables:
            for row in table.rows():
                ref = self._ref(table, row, len(seen))
                said = (ref.label, ref.text)
                if ref.path not in seen:
                    seen[ref.path] = said
                    yield ref
                elif seen[ref.path] != said:
                    what, where = "Two rows give one image different labels.", f"{table.name}: {ref.path}"
                    raise DataError(what, where=where, fix="keep one row for each image", items=(ref.path,))
        if self.layout == "metadata":
            others = (name for name in self.place.walk() if name not in seen and is_item(self.place, name))
            for index, name in enumerate(others, len(seen)):
                label = label_of(name, self.splits)
                yield Ref(name, label=label, split=split_of(name, self.splits), index=index)

    def _others(self) -> Iterator[str]:
        # Tables are rewritten, not copied; a CSV of paths brings no other files.
        names = {table.name for table in self.tables}
        if self.layout == "metadata":
            yield from (name for name in super()._others() if name not in names)

    def path_in(self, table: Table, row: Row) -> str:
        """Return the path inside the tree that a row names; `DataError` if it is empty or lies outside."""
        given = cell(row, table.path) or ""
        folder = table.name.rpartition("/")[0]
        base = self.place.full(folder)
        name = inside(given.removeprefix(base + "/") if self.place.local else given)
        if name is None:
            raise DataError(
                "The table lists a picture outside its own folder." if given else "A row names no picture.",
                where=self.place.full(table.name),
                why=f"a row says {given!r}; only paths below {base} can keep their names in the output",
                fix="move the table to a folder above all its pictures, and let its column "
                f"{table.path!r} say where they lie below that folder, like cat/1.jpg",
                items=(given,),
            )
        return f"{folder}/{name}" if folder else name

    def _ref(self, table: Table, row: Row, index: int) -> Ref:
        name = self.path_in(table, row)
        label = cell(row, table.label)
        if table.label is None and self.layout == "metadata":
            label = label_of(name, self.splits)
        split = cell(row, table.split) or split_of(name, self.splits)
        return Ref(name, label=label, split=split, text=cell(row, table.text), index=index)
