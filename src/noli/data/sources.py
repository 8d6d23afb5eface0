"""Open a dataset wherever it lies and whatever its layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from noli.core.errors import DataError
from noli.data.folders import SPLIT_NAMES, TABLE_NAMES, FolderSource, TableSource, is_item
from noli.data.place import Place

if TYPE_CHECKING:
    from noli.data.npz import NpzSource
    from noli.data.parquet import ParquetSource

_ACCEPTED = (
    "give a folder of images (flat, or one folder a class, with train/ test/ above if you like), a folder "
    "with metadata.csv or metadata.jsonl, a .csv with paths, a .npz, a .parquet file or a folder of them"
)


def open_source(
    uri: str | Path, *, labels: str | None = None
) -> FolderSource | TableSource | NpzSource | ParquetSource:
    """Detect the layout of a dataset and open it.

    Nothing is read but listings, table heads and array headers. The result can be pickled and sent to
    worker processes.

    Args:
        uri: Folder, file, or fsspec URL (``memory://``, ``s3://`` with the driver installed ...).
        labels: Name of the label column or label array; None looks for the usual names.

    Returns:
        A source; beside the `Source` protocol it has ``companions()``.

    Raises:
        DataError: Nothing there, no images, or a table, archive or Parquet file that cannot be used.
    """
    place = Place(uri)
    if not place.exists():
        raise DataError("There is no data at this place.", where=str(uri), fix=_ACCEPTED)
    if not place.is_dir():
        return _open_file(place, labels)
    return _open_folder(place, labels)


def _open_file(place: Place, labels: str | None) -> TableSource | NpzSource | ParquetSource:
    folder, _, name = place.root.rpartition("/")
    lower = name.lower()
    if lower.endswith((".csv", ".tsv")):
        parent = place.uri.rpartition("/")[0] if not place.local else folder
        return TableSource(Place(parent or "/"), "csv", (name,), labels)
    if lower.endswith(".npz"):
        from noli.data.npz import NpzSource

        return NpzSource(place, labels)
    if lower.endswith(".parquet"):
        from noli.data.parquet import ParquetSource

        return ParquetSource(place, ("",), labels)
    raise DataError("This file is no dataset.", where=place.uri, fix=_ACCEPTED)


def _open_folder(place: Place, labels: str | None) -> FolderSource | TableSource | ParquetSource:
    tables, parquet = _survey(place)
    if tables:
        return TableSource(place, "metadata", tables, labels)
    images = next((True for name, _ in place.walk() if is_item(place, name)), False)
    if parquet and images:
        fix = "move the images or the Parquet files into a folder of their own"
        raise DataError("The folder holds images and Parquet files.", where=place.uri, fix=fix)
    if parquet:
        from noli.data.parquet import ParquetSource

        return ParquetSource(place, parquet, labels)
    if not images:
        raise DataError("The folder holds no images.", where=place.uri, fix=_ACCEPTED)
    return FolderSource(place, "class-folders" if _has_classes(place) else "flat")


def _survey(place: Place) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metadata tables (root and first level) and the Parquet files of the first three levels."""
    tables, files = [], []
    for name in _shallow(place, "", 3):
        if name.lower().endswith(".parquet"):
            files.append(name)
        if name.rpartition("/")[2] in TABLE_NAMES and name.count("/") <= 1:
            tables.append(name)
    return tuple(tables), tuple(files)


def _shallow(place: Place, folder: str, depth: int) -> Iterator[str]:
    prefix = f"{folder}/" if folder else ""
    for entry in place.entries(folder):
        if not entry.is_dir:
            yield prefix + entry.name
        elif depth > 1:
            yield from _shallow(place, prefix + entry.name, depth - 1)


def _has_classes(place: Place) -> bool:
    """Tell whether any folder below the splits holds images: those folders are classes."""
    folders = [entry.name for entry in place.entries() if entry.is_dir]
    below = [
        name
        for folder in folders
        for name in (
            [f"{folder}/{e.name}" for e in place.entries(folder) if e.is_dir]
            if folder.lower() in SPLIT_NAMES
            else [folder]
        )
    ]
    return any(is_item(place, name) for folder in below for name, _ in place.walk(folder))
