"""What the contract checks work on: pictures, folders with files of every kind, an impatient user."""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item
from noli.core.images import Working, to_float
from noli.core.method import Family
from noli.engine.progress import Progress

SHAPES = ((32, 32, 3), (17, 40, 3), (33, 9, 1), (1, 1, 3), (2, 1, 1), (1, 64, 3))
CLASSES = ("bird", "cat", "dog")


def pictures(n: int, shape: tuple[int, int, int], first: int = 0) -> tuple[Working, list[Item]]:
    """Return ``n`` working images with the smoothness of photographs, and their items."""
    stored = np.stack([_pixels(i, shape) for i in range(first, first + n)])
    digests = [hashlib.sha256(picture.tobytes() + bytes([i])).hexdigest() for i, picture in enumerate(stored)]
    items = [
        Item(digest[:20], f"{CLASSES[i % 3]}/{i}.png", CLASSES[i % 3], sha256=digest)
        for i, digest in enumerate(digests)
    ]
    return to_float(stored), items


def write_folder(folder: Path) -> Path:
    """Write class folders with files of every kind; return the folder."""
    from PIL import Image

    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    for i, shape in enumerate(SHAPES):
        pixels = _pixels(i, shape)
        name = folder / CLASSES[i % 3] / f"{'x'.join(map(str, shape))}.png"
        Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels).save(name)
    base = Image.fromarray(_pixels(7, (24, 31, 3)))
    base.quantize(32).save(folder / "cat/palette.png")
    alpha = Image.fromarray(_pixels(8, (24, 31, 1))[..., 0])
    Image.merge("RGBA", (*base.split(), alpha)).save(folder / "dog/alpha.png")
    deep = _pixels(9, (24, 31, 1))[..., 0].astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save(folder / "bird/deep.png")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _pixels(seed: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    y, x, c = np.indices(shape)
    waves = 60 * np.sin(x / (3 + c) + seed) + 50 * np.cos(y / (4 + seed % 3) + c)
    levels: npt.NDArray[np.float64] = 128 + waves + (x * y * (seed + 1)) % 13
    return levels.clip(0, 255).astype(np.uint8)


class StopsAfter(Progress):
    """Somebody who presses Ctrl-C after a number of protected shards."""

    def __init__(self, steps: int) -> None:
        self.left, self.protecting = steps, False

    def start(self, total: int | None, label: str) -> None:
        """Begin a stage; only the one that writes pictures is interrupted, which is called by its verb."""
        self.protecting = label in get_args(Family)

    def advance(self, n: int = 1) -> None:
        """Count a step, and stop when patience is at its end."""
        self.left -= self.protecting
        if self.protecting and self.left < 0:
            raise KeyboardInterrupt


def global_state() -> dict[str, object]:
    """Return everything global that a method must leave alone, by name."""
    import cv2

    state: dict[str, object] = {
        "the global NumPy generator": str(np.random.get_state()),  # noqa: NPY002 - this one is watched
        "the global Python generator": random.getstate(),
        "the OpenCV thread count": cv2.getNumThreads(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        state["the torch generator"] = bytes(torch.get_rng_state().numpy())
        state["torch's grad mode"] = torch.is_grad_enabled()
        state["torch's default type"] = torch.get_default_dtype()
        state["torch's thread count"] = torch.get_num_threads()
    return state
