"""Write a dataset with the same tree, names, splits and metadata as its source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy.typing as npt

from noli.core.dataset import Ref, Source
from noli.core.errors import OutputExists, UsageError
from noli.data.picture import FormatPolicy, Metadata
from noli.data.place import Place, is_url, local_path

Content = bytes | npt.NDArray[Any]


class Writer(Protocol):
    """The output of a run. Can be pickled; every worker may have its own copy.

    Only items handed to `write_shard` are in the output: rows of skipped items vanish from tables, Parquet
    files and arrays together with their labels.
    """

    @property
    def uri(self) -> str:
        """Where the output lies."""

    @property
    def separate(self) -> bool:
        """Whether every item is a file of its own."""

    def reserve(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Keep `target` from giving the out-paths of ``(in-path, out-path)`` pairs to other items."""

    def target(self, ref: Ref, source_format: str, *, channels: int = 3, bits: int = 8) -> str:
        """Choose the out-path of an item; the same in every process, never that of another item."""

    def write_shard(self, index: int, items: Sequence[tuple[Ref, str, Content]]) -> None:
        """Store ``(ref, out-path, content)`` atomically; repeating it gives identical bytes.

        Raises:
            RunError: The disk refused; nothing half-written stays.
        """

    def exists(self, out_path: str) -> bool:
        """Tell whether an item is stored."""

    def state(self, out_path: str, size: int | None) -> Literal["ok", "missing", "changed"]:
        """Tell how an item lies in the output; `size` is the recorded one (None: any will do)."""

    def foreign(self, out_path: str) -> bool:
        """Tell whether something that this run did not write lies where a new item is to go."""

    def kept(self) -> Sequence[str]:
        """Return the companions that the last `finalise` left alone: they were changed in the output."""

    def read(self, out_path: str) -> Content:
        """Return the stored bytes or pixels of an item.

        Raises:
            DataError: There is no such item.
        """

    def finalise(self) -> None:
        """Assemble single-file outputs, copy companions, rewrite tables; may be repeated.

        Raises:
            RunError: The disk refused.
        """

    def final_path(self, out_path: str) -> str:
        """Return where an item lies in the finished output, when rows before it were left out."""


def open_writer(
    uri: str | Path,
    source: Source,
    *,
    format: FormatPolicy = "png",  # noqa: A002
    metadata: Metadata = "keep",
    work: Path | None = None,
    owned: bool = False,
) -> Writer:
    """Open the output for a source.

    Args:
        uri: Output folder; a file name for ``.npz`` and single ``.parquet`` sources (a folder for the
            latter works too).
        source: What will be written, from `open_source`.
        format: ``png``, ``webp`` or ``same``, see `output_format`.
        metadata: ``strip`` leaves XMP files beside the pictures out; `encode` strips the pictures.
        work: Private folder for unfinished parts; ``<output>.noli/parts`` by default.
        owned: The output belongs to the run that calls, so it may exist.

    Returns:
        The writer; nothing is written yet.

    Raises:
        OutputExists: See `check_paths`.
        UsageError: A source that `open_source` did not make.
    """
    check_paths(source.uri, uri, owned=owned)
    place, folder = Place(uri), work or default_work(uri)
    if source.layout == "npz":
        from noli.data.npz import NpzSource
        from noli.data.npz_writer import NpzWriter

        if isinstance(source, NpzSource):
            return NpzWriter(place, source, folder)
    elif source.layout == "parquet":
        from noli.data.parquet import ParquetSource
        from noli.data.parquet_writer import ParquetWriter

        if isinstance(source, ParquetSource):
            return ParquetWriter(place, source, folder)
    else:
        from noli.data.folder_writer import FolderWriter
        from noli.data.folders import FolderSource

        if isinstance(source, FolderSource):
            return FolderWriter(place, source, folder, format, strip=metadata == "strip")
    raise UsageError("This source has no writer.", why=f"layout {source.layout!r}", fix="use open_source")


def default_work(uri: str | Path) -> Path:
    """Return the folder for unfinished parts: inside the run folder beside the output (or here, for URLs)."""
    text = str(uri).rstrip("/")
    base = Path(text.rpartition("/")[2]) if is_url(uri) else local_path(text)
    return base.with_name(base.name + ".noli") / "parts"


def check_paths(source_uri: str | Path, output: str | Path, *, owned: bool = False) -> None:
    """Refuse outputs that would touch the input or something else.

    Args:
        source_uri: Input folder, file or URL.
        output: Output folder, file or URL.
        owned: The output belongs to the calling run, so it may exist.

    Raises:
        OutputExists: The output is the input, lies inside it or around it, or exists and is not empty.
    """
    before, after = _canonical(source_uri), _canonical(output)
    relation = None
    if before == after:
        relation = "the output is the input"
    elif after.startswith(before.rstrip("/") + "/"):
        relation = "the output lies inside the input"
    elif before.startswith(after.rstrip("/") + "/"):
        relation = "the input lies inside the output"
    if relation:
        fix = "choose an output beside the input, not in it; originals are never overwritten"
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
    if not place.exists():
        return False
    if not place.is_dir():
        return True
    if not place.local:
        return bool(place.entries())
    # Hidden files count here: a folder with .git inside is somebody's folder.
    return next(Path(place.root).iterdir(), None) is not None
