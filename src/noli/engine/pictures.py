"""Pictures that people look at, and what a record says about a change."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

import cv2
import numpy as np

from noli.core.dataset import Source
from noli.core.errors import NoliError
from noli.core.files import atomic_write
from noli.core.images import Stored
from noli.core.run import Run
from noli.data.codec import upright
from noli.data.writers import Writer
from noli.engine.scanstage import row_ref

PREVIEWS = 8
MAX_SIDE = 512
T = TypeVar("T")


def small(pixels: Stored) -> Stored:
    """Return stored pixels as ``uint8``, averaged down to sides of at most 512 pixels."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    height, width, channels = pixels.shape
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)


def places(count: int, n: int) -> set[int]:
    """Return up to `n` of `count` positions, evenly spaced, the first and the last among them."""
    return {round(step * (count - 1) / max(1, n - 1)) for step in range(n)}


def evenly(rows: Iterable[T], count: int, n: int) -> Iterator[T]:
    """Pick up to `n` of `count` rows, evenly spaced."""
    wanted = places(count, n)
    return (row for position, row in enumerate(rows) if position in wanted)


def save_preview(run: Run, source: Source, writer: Writer, count: int) -> None:
    """Write ``preview.npz``, the pictures a report starts with: eight of the run's `count` good items.

    Arrays ``original_0`` ..., ``protected_0`` ... are ``uint8 [H, W, C]``; ``names`` holds the input names.
    Items that cannot be read any more are left out.
    """
    good = (record for record in run.iter_records() if "error" not in record)
    arrays: dict[str, Stored] = {}
    names: list[str] = []
    for record in evenly(good, count, PREVIEWS):
        try:
            before = upright(source.read(row_ref(record)), record["path"])
            after = upright(writer.read(record["out"]), record["out"])
        except (NoliError, OSError):
            continue
        arrays[f"original_{len(names)}"] = small(before)
        arrays[f"protected_{len(names)}"] = small(after)
        names.append(record["path"].encode("utf-8", "replace").decode())
    buffer = io.BytesIO()
    np.savez(buffer, names=np.array(names, dtype=np.str_), **arrays)  # type: ignore[arg-type]
    atomic_write(run.artifact("preview.npz"), buffer.getvalue())


def common(before: Stored, after: Stored) -> tuple[Stored, Stored]:
    """Return what two pictures of different size or colour have in common: the corner, the first channels."""
    height, width, channels = (min(pair) for pair in zip(before.shape, after.shape, strict=True))
    return before[:height, :width, :channels], after[:height, :width, :channels]


def measure(before: Stored, after: Stored) -> dict[str, float | None]:
    """Compare one image before and after, both ``uint8`` or ``uint16 [H, W, C]`` as read from disk.

    Returns:
        ``psnr`` in dB (None when identical) and ``linf`` in levels of the bit depth.
    """
    top = int(np.iinfo(before.dtype).max)
    squared = cv2.norm(before, after, cv2.NORM_L2SQR)
    return {
        "psnr": round(10 * math.log10(top * top * before.size / squared), 4) if squared else None,
        "linf": int(cv2.norm(before, after, cv2.NORM_INF)),
    }
