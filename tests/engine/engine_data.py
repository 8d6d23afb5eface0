"""Small data sets for the runner's tests; a module of its own because every folder has a `conftest`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noli.core.key import Key

KEY = Key.from_bytes(bytes(range(32)), "test")
OTHER_KEY = Key.from_bytes(bytes(range(1, 33)), "other")


def make_image(seed: int, shape: tuple[int, ...] = (8, 10, 3), dtype: Any = np.uint8) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    return Image.fromarray(pixels)


def make_folder(root: Path, n: int, classes: tuple[str, ...] = ("ant", "bee"), first: int = 0) -> Path:
    for i in range(first, first + n):
        folder = root / classes[i % len(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        make_image(i).save(folder / f"{i:05d}.png")
    return root


def tree_hash(root: Path) -> str:
    """Names and contents of every file below a folder, hidden ones included."""
    digest = hashlib.sha256()
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
