"""The eight pictures a report starts with: ``artifacts/preview.npz``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TypeVar

import cv2
import numpy as np

from noli.core.dataset import Source
from noli.core.errors import NoliError
from noli.core.files import atomic_write
from noli.core.images import Stored
from noli.core.run import Run
from noli.data.codec import decode, from_array
from noli.data.writers import Content, Writer
from noli.engine.scanstage import row_ref

PREVIEWS = 8
MAX_SIDE = 512
T = TypeVar("T")


def save_preview(run: Run, source: Source, writer: Writer, count: int) -> None:
    """Write ``preview.npz`` from up to eight evenly spaced items of the run's `count` good ones.

    Arrays ``original_0`` ..., ``protected_0`` ... are ``uint8 [H, W, C]`` with sides of at most 512 pixels
    (larger images are averaged down); ``names`` holds the input names. Items that cannot be read any more
    are left out.
    """
    good = (record for record in run.iter_records() if "error" not in record)
    arrays: dict[str, Stored] = {}
    names: list[str] = []
    for record in evenly(good, count, PREVIEWS):
        try:
            before = load_small(source.read(row_ref(record)), record["path"])
            after = load_small(writer.read(record["out"]), record["out"])
        except (NoliError, OSError):
            continue
        arrays[f"original_{len(names)}"] = before
        arrays[f"protected_{len(names)}"] = after
        names.append(record["path"].encode("utf-8", "replace").decode())
    buffer = io.BytesIO()
    np.savez(buffer, names=np.array(names, dtype=np.str_), **arrays)  # type: ignore[arg-type]
    atomic_write(run.artifact("preview.npz"), buffer.getvalue())


def evenly(rows: Iterable[T], count: int, n: int) -> Iterator[T]:
    """Pick up to `n` of `count` rows, evenly spaced, the first and the last among them."""
    wanted = {round(step * (count - 1) / max(1, n - 1)) for step in range(n)}
    for position, row in enumerate(rows):
        if position in wanted:
            yield row


def load_small(content: Content, where: str) -> Stored:
    """Decode to ``uint8 [H, W, C]`` and average down until no side exceeds 512 pixels."""
    picture = (
        from_array(content, where=where) if isinstance(content, np.ndarray) else decode(content, where=where)
    )
    return small(picture.pixels)


def small(pixels: Stored) -> Stored:
    """Return stored pixels as ``uint8`` with sides of at most 512 pixels."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    height, width, channels = pixels.shape
    if max(height, width) <= MAX_SIDE:
        return pixels
    scale = MAX_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)
