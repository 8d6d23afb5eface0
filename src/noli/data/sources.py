"""Open a dataset wherever it lies and whatever its layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noli.core.errors import DataError
from noli.data.folders import FolderSource, TableSource, is_item, label_of, splits_of
from noli.data.place import Place

if TYPE_CHECKING:
    from noli.data.npz import NpzSource
    from noli.data.parquet import ParquetSource

TABLES = ("metadata.csv", "metadata.jsonl")
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
        The source; those of folders also list their other files: ``companions()``.

    Raises:
        DataError: Nothing there, no images, or a table, archive or Parquet file that cannot be used.
    """
    place = Place(uri)
    if not place.exists():
        raise DataError("There is no data at this place.", where=str(uri), fix=_ACCEPTED)
    return _open_folder(place, labels) if place.is_dir() else _open_file(place, labels)


def _open_file(place: Place, labels: str | None) -> TableSource | NpzSource | ParquetSource:
    folder, name = place.split()
    lower = name.lower()
    if lower.endswith((".csv", ".tsv")):
        return TableSource(folder, "csv", [name], labels)
    if lower.endswith(".npz"):
        from noli.data.npz import NpzSource

        return NpzSource(place, labels)
    if lower.endswith(".parquet"):
        from noli.data.parquet import ParquetSource

        return ParquetSource(folder, [name], labels, single=True)
    raise DataError("This file is no dataset.", where=place.uri, fix=_ACCEPTED)


def _open_folder(place: Place, labels: str | None) -> FolderSource | TableSource | ParquetSource:
    """Tell the layout of a folder by its tables (root and first level), else by the files it holds."""
    tables: list[str] = []
    parquet: list[str] = []
    images = classes = False
    splits = splits_of(place)
    for name in place.walk():
        if name.rpartition("/")[2] in TABLES and name.count("/") <= 1:
            tables.append(name)
        elif name.lower().endswith(".parquet"):
            parquet.append(name)
        elif not (images and classes) and is_item(place, name):
            images, classes = True, classes or label_of(name, splits) is not None
    if tables:
        return TableSource(place, "metadata", tables, labels)
    if parquet and images:
        fix = "move the images or the Parquet files into a folder of their own"
        raise DataError("The folder holds images and Parquet files.", where=place.uri, fix=fix)
    if parquet:
        from noli.data.parquet import ParquetSource

        return ParquetSource(place, parquet, labels)
    if not images:
        raise DataError("The folder holds no images.", where=place.uri, fix=_ACCEPTED)
    if labels:
        fix = "leave it out: folders give the classes; or add a metadata.csv with this column"
        raise DataError(f"No table here has a column {labels!r}.", where=place.uri, fix=fix)
    return FolderSource(place, "class-folders" if classes else "flat")
