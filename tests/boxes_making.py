"""Pictures with boxes for tests: bright discs and squares on a dark ground, as Pascal VOC stores them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def voc(name: str, size: tuple[int, int], boxes: list[tuple[str, tuple[float, ...]]]) -> str:
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for label, (a, b, c, d) in boxes
    )
    width, height = size
    size_told = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation><filename>{name}</filename>{size_told}{objects}</annotation>"


def scene(
    rng: np.random.Generator, side: int, names: tuple[str, str] = ("disc", "square")
) -> tuple[np.ndarray, list[tuple[str, tuple[float, ...]]]]:
    """A picture with one to three shapes: red squares, and green discs."""
    image = rng.integers(0, 40, (side, side, 3)).astype(np.uint8)
    boxes = []
    y, x = np.mgrid[:side, :side]
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.integers(side // 5, side // 3))
        left, top = (int(v) for v in rng.integers(0, side - size, 2))
        kind = int(rng.integers(0, 2))
        inside = (x >= left) & (x < left + size) & (y >= top) & (y < top + size)
        if kind == 0:
            half = size / 2
            inside &= (x + 0.5 - left - half) ** 2 + (y + 0.5 - top - half) ** 2 <= half**2
        image[inside] = (40, 220, 60) if kind == 0 else (220, 50, 40)
        boxes.append((names[kind], (left, top, left + size, top + size)))
    return image, boxes


def scenes(
    place: Path, count: int, side: int = 48, seed: int = 0, names: tuple[str, str] = ("disc", "square")
) -> Path:
    """Write a zip file of scenes."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(place, "w") as archive:
        for number in range(count):
            image, boxes = scene(rng, side, names)
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "PNG")
            archive.writestr(f"images/{number:03d}.png", stream.getvalue())
            archive.writestr(f"annotations/{number:03d}.xml", voc(f"{number:03d}.png", (side, side), boxes))
    return place
