"""Write a dataset with the same tree, names, splits and metadata as its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from noli.core.dataset import Content, Source
from noli.core.errors import OutputExists
from noli.data.assembled import AssembledWriter
from noli.data.folder_writer import FolderWriter
from noli.data.picture import FormatPolicy, Metadata
from noli.data.place import Place, is_url, local_path

__all__ = ["Content", "Writer", "check_paths", "open_writer"]

Writer = FolderWriter | AssembledWriter


def open_writer(
    uri: str | Path,
    source: Source,
    *,
    work: Path,
    format: FormatPolicy = "png",  # noqa: A002
    metadata: Metadata = "keep",
) -> Writer:
    """Open the output for a source; its place is not checked, see `check_paths`.

    Args:
        uri: Output folder; a file name for ``.npz`` and single ``.parquet`` sources (a folder for the
            latter works too).
        source: What will be written, from `open_source`.
        work: Private folder for unfinished parts, inside the run folder.
        format: ``png``, ``webp`` or ``same``, see `output_format`.
        metadata: ``strip`` leaves XMP files and positions beside the pictures out; `encode` strips the
            pictures.

    Returns:
        The writer; nothing is written yet.
    """
    place, opened, strip = Place(uri), cast(Any, source), metadata == "strip"
    if source.layout == "npz":
        from noli.data.npz_writer import NpzWriter

        return NpzWriter(place, opened, work, strip=strip)
    if source.layout == "parquet":
        from noli.data.parquet_writer import ParquetWriter

        return ParquetWriter(place, opened, work, strip=strip)
    return FolderWriter(place, opened, work, format, strip=strip)


def check_paths(source_uri: str | Path, output: str | Path, *, owned: bool = False) -> None:
    """Refuse outputs that would touch the input or something else.

    The input of a CSV of paths is its whole folder, because that is where its pictures lie.

    Args:
        source_uri: Input folder, file or URL.
        output: Output folder, file or URL.
        owned: The output belongs to the calling run, so it may exist.

    Raises:
        OutputExists: The output is the input, lies inside it or around it, or exists and is not empty.
    """
    head, slash, name = str(source_uri).rpartition("/")
    table = name.lower().endswith((".csv", ".tsv"))
    before, after = _canonical(head + slash or "." if table else source_uri), _canonical(output)
    what = f"the folder of {name}" if table else "the input"
    relation = None
    if before == after:
        relation = f"the output is {what}"
    elif after.startswith(before.rstrip("/") + "/"):
        relation = f"the output lies inside {what}"
    elif before.startswith(after.rstrip("/") + "/"):
        relation = f"{what} lies inside the output"
    if relation:
        fix = "choose an output beside the input, not in it; originals are never overwritten"
        if table:
            relation += ", and that folder is the input, because the pictures lie where the table's paths say"
            fix = f"choose an output outside {before}, or give {name} and its pictures a folder of their own"
        raise OutputExists("This output is refused.", where=str(output), why=relation, fix=fix)
    if not owned and _taken(Place(output)):
        fix = "choose another output or remove this one yourself; nothing is overwritten"
        raise OutputExists("The output exists already.", where=str(output), fix=fix)


def _canonical(uri: str | Path) -> str:
    if not is_url(uri):
        return str(local_path(uri).resolve())
    head, _, rest = str(uri).partition("://")
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    return f"{head}://" + "/".join(parts)


def _taken(place: Place) -> bool:
    if not place.exists() or not place.is_dir():
        return place.exists()
    # Hidden files count on disk: a folder with .git inside is somebody's folder.
    return any(Path(place.root).iterdir()) if place.local else any(place.listing())
