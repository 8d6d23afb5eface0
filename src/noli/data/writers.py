"""Write a dataset with the same tree, names, splits and metadata as its source."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy.typing as npt

from noli.core.dataset import Ref, Source
from noli.core.errors import OutputExists
from noli.data.picture import FormatPolicy, Metadata
from noli.data.place import Place, is_url, local_path

Content = bytes | npt.NDArray[Any]
Stored = Literal["ok", "missing", "changed"]
_LISTED = 1000


class Writer(ABC):
    """The output of a run. Can be pickled; every worker may have its own copy.

    Only items handed to `write_shard` are in the output: rows of skipped items vanish from tables, Parquet
    files and arrays together with their labels.

    Attributes:
        separate: Whether every item is a file of its own.

    Args:
        place: Output folder or file.
        work: Private folder of the run; made when first written to.
    """

    separate: bool

    def __init__(self, place: Place, work: Path) -> None:
        self.place = place
        self.work = Place(work)

    def reserve(self, pairs: Iterable[tuple[str, str]]) -> None:  # noqa: B027 - rows keep their names
        """Keep `target` from giving the out-paths of ``(in-path, out-path)`` pairs to other items."""

    @abstractmethod
    def target(self, ref: Ref, source_format: str, *, channels: int = 3, bits: int = 8) -> str:
        """Choose the out-path of an item; never that of another item."""

    @abstractmethod
    def write_shard(self, index: int, items: Sequence[tuple[Ref, str, Content]]) -> None:
        """Store ``(ref, out-path, content)`` atomically; repeating it gives identical bytes.

        Raises:
            RunError: The disk refused; nothing half-written stays.
        """

    @abstractmethod
    def state(self, out_path: str, size: int | None = None) -> Stored:
        """Tell how an item lies in the output; `size` is the recorded one (None: any will do)."""

    @abstractmethod
    def foreign(self, out_path: str) -> bool:
        """Tell whether something that this run did not write lies where a new item is to go."""

    @abstractmethod
    def read(self, out_path: str) -> Content:
        """Return the stored bytes or pixels of an item.

        Raises:
            DataError: There is no such item.
        """

    @abstractmethod
    def finalise(self, done: Iterable[tuple[str, str]]) -> list[str]:
        """Assemble single-file outputs, copy companions, rewrite tables; may be repeated.

        Args:
            done: ``(in-path, out-path)`` of all items in the output.

        Returns:
            Companions and tables (at most 1,000) left alone because the output has other versions of them.

        Raises:
            RunError: The disk refused.
        """

    def copy_companions(self, source: Place, names: Iterable[str]) -> list[str]:
        """Copy files that the output lacks; return (at most 1,000) names of those it has otherwise."""
        kept: list[str] = []
        for name in names:
            if not self.place.exists(name):
                with source.open(name) as reader, self.place.create(name) as writer:
                    shutil.copyfileobj(reader, writer, 4 << 20)
            elif len(kept) < _LISTED and not self._same(source, name):
                kept.append(name)
        return kept

    def _same(self, source: Place, name: str) -> bool:
        (size, changed), (here, written) = source.stat(name), self.place.stat(name)
        return size == here and (changed <= written or source.read(name) == self.place.read(name))


def open_writer(
    uri: str | Path,
    source: Source,
    *,
    work: Path,
    format: FormatPolicy = "png",  # noqa: A002
    metadata: Metadata = "keep",
    owned: bool = False,
) -> Writer:
    """Open the output for a source.

    Args:
        uri: Output folder; a file name for ``.npz`` and single ``.parquet`` sources (a folder for the
            latter works too).
        source: What will be written, from `open_source`.
        work: Private folder for unfinished parts, inside the run folder.
        format: ``png``, ``webp`` or ``same``, see `output_format`.
        metadata: ``strip`` leaves XMP files beside the pictures out; `encode` strips the pictures.
        owned: The output belongs to the run that calls, so it may exist.

    Returns:
        The writer; nothing is written yet.

    Raises:
        OutputExists: See `check_paths`.
    """
    check_paths(source.uri, uri, owned=owned)
    place, opened = Place(uri), cast(Any, source)
    if source.layout == "npz":
        from noli.data.npz_writer import NpzWriter

        return NpzWriter(place, opened, work)
    if source.layout == "parquet":
        from noli.data.parquet_writer import ParquetWriter

        return ParquetWriter(place, opened, work)
    from noli.data.folder_writer import FolderWriter

    return FolderWriter(place, opened, work, format, strip=metadata == "strip")


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
