"""Items and sources: what a dataset is made of, independent of how it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError

Content = bytes | npt.NDArray[Any]
ID_LENGTH = 20
HOW_TO_LABEL = (
    "give every picture a class in one of three ways: one folder per class (photos/cat/1.jpg), a metadata.csv"
    " with the columns file_name and label, or --labels NAME for a table whose class column has another name"
)


@dataclass(frozen=True, slots=True)
class Ref:
    """Where an item lies in its source, known without reading it.

    Attributes:
        path: Name inside the source, POSIX style, unique (``cat/1.jpg``, ``train-0.parquet#17``).
        label: Class name, or None.
        split: ``train``, ``test``, ... or None when the source has no splits.
        text: Caption, or None.
        index: Position in the source order.
    """

    path: str
    label: str | None = None
    split: str | None = None
    text: str | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a dataset.

    Attributes:
        id: First 20 hex digits of the SHA-256 of the item's content; items with equal content share it.
        path, label, split, text: As in :class:`Ref`.
        sha256: Digest of the stored content, hex.
    """

    id: str
    path: str
    label: str | None = None
    split: str | None = None
    text: str | None = None
    sha256: str = ""


def check_labels(items: Iterable[Item], method: str, known: Container[str] | None = None) -> None:
    """Refuse items without a class, or of a class that is not known.

    Args:
        items: What a method was given.
        method: Its name, for the message.
        known: Class names of the prepared run; None accepts all.

    Raises:
        DataError: With the paths of the items.
    """
    missing = [i.path for i in items if i.label is None or (known is not None and i.label not in known)]
    if missing:
        raise DataError(
            f"{method} needs a known class for every image.",
            items=missing,
            why="the image has no label, or its class was not there when the run was prepared",
            fix=HOW_TO_LABEL,
        )


def content_id(content: Content) -> tuple[str, str]:
    """Return ``(id, sha256)`` of a file's bytes or of an array (dtype, shape and pixels)."""
    digest = hashlib.sha256()
    if isinstance(content, np.ndarray):
        digest.update(f"{content.dtype.str}{content.shape}".encode())
        digest.update(np.ascontiguousarray(content).data)
    else:
        digest.update(content)
    full = digest.hexdigest()
    return full[:ID_LENGTH], full


@runtime_checkable
class Source(Protocol):
    """A dataset as it lies on disk or behind a URL: listable, readable, never written."""

    @property
    def uri(self) -> str:
        """Where it lies."""

    @property
    def layout(self) -> str:
        """``flat``, ``class-folders``, ``metadata``, ``csv``, ``npz`` or ``parquet``."""

    def refs(self) -> Iterator[Ref]:
        """Iterate over the items in a fixed order; may be called repeatedly."""

    def read(self, ref: Ref) -> Content:
        """Return the encoded bytes of one item, or its pixels ``[H, W, C]`` for array sources."""

    def stat(self, ref: Ref) -> tuple[int, int]:
        """Return ``(size in bytes, modification time in ns)``; 0 where unknown."""
