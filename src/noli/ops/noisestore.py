"""Learned noise on disk: one small picture of noise per item, in a memory-mapped file of signed bytes.

A byte b stands for ``b / 127 * eps``. Noise is learned on squares and stretched over pictures of any size;
stretching cannot exceed the bound, because bilinear values lie between their neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item
from noli.core.errors import DataError, RunError
from noli.core.files import atomic_write
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import FOLDER, Apply, Invert, State
from noli.ops.noise import additive

LEVELS = 127
Noise = npt.NDArray[np.int8]
Rows = Callable[[State, Sequence[Item], Key, Any], Sequence[str]]


@dataclass(frozen=True)
class Store:
    """Noise of many items.

    Attributes:
        rows: Name -> row of the array; names are item ids, class names or patterns.
        noise: ``int8 [N, S, S, C]``.
    """

    rows: dict[str, int]
    noise: Noise


def write(folder: Path, name: str, names: Sequence[str], noise: Noise) -> None:
    """Write noise ``int8 [N, S, S, C]`` and the names of its rows; the names make it complete.

    Raises:
        RunError: The place cannot be written.
    """
    atomic_write(folder / f"{name}.npy", lambda file: np.save(file, noise, allow_pickle=False))
    atomic_write(folder / f"{name}.json", json.dumps(list(names)).encode())
    read.cache_clear()  # a preparation that was killed and repeated writes the same names again


@lru_cache(maxsize=16)
def read(folder: str, name: str) -> Store:
    """Open what :func:`write` wrote; the noise stays on disk.

    Raises:
        RunError: A file is missing or damaged.
    """
    try:
        names = json.loads((Path(folder) / f"{name}.json").read_bytes())
        # Not np.load, which takes other files for pickles or archives, and ends an empty one with EOFError.
        noise = np.lib.format.open_memmap(Path(folder) / f"{name}.npy", mode="r")
    except (OSError, ValueError) as exc:
        fix = "put the run folder's artifacts back, or protect into a new output"
        raise RunError("The learned noise cannot be read.", where=folder, why=str(exc), fix=fix) from exc
    named = isinstance(names, list) and all(isinstance(one, str) for one in names)
    if not named or noise.dtype != np.int8 or noise.ndim != 4 or len(names) != len(noise):
        raise RunError("The learned noise is damaged.", where=f"{folder}/{name}.npy")
    return Store({n: row for row, n in enumerate(names)}, noise)


def lookup(folder: str, files: Sequence[str], names: Sequence[str], items: Sequence[Item]) -> Noise:
    """Return the noise ``int8 [N, S, S, C]`` of the rows called `names`, one per item.

    Where some of it is grey and some coloured (colour came later), grey noise is repeated.

    Raises:
        DataError: No noise was learned for an item.
    """
    stores = [read(folder, file) for file in files]
    found: list[Noise] = []
    missing: list[str] = []
    for name, item in zip(names, items, strict=True):
        store = next((store for store in stores if name in store.rows), None)
        if store is None:
            missing.append(item.path)
        else:
            found.append(store.noise[store.rows[name]])
    if missing:
        raise DataError(
            "No noise was learned for a picture.",
            items=missing,
            why="it was not part of the data when the method learned",
            fix="give the same protect command again: new pictures get noise of their own",
        )
    channels = max(one.shape[2] for one in found)
    return np.stack([np.broadcast_to(one, (*one.shape[:2], channels)) for one in found])


def bounded(noise: Noise, eps: float) -> npt.NDArray[np.float32]:
    """Turn stored noise into working noise of the same shape, within a whole number of levels of 8 bits.

    That number is the largest one within `eps`, so that rounding on writing adds nothing: 0.03 allows 7
    levels, 8/255 allows 8. Pictures of 16 bits are held to the same levels.
    """
    # Many write 8/255 as 0.03137: a hundredth of a level is forgiven.
    whole = np.float32(np.floor(eps * 255 + 0.01) / 255)
    values: npt.NDArray[np.float32] = noise.astype(np.float32) * np.float32(eps / LEVELS)
    return np.clip(values, -whole, whole, out=values)


def published(images: npt.NDArray[np.uint8], noise: Noise, eps: float) -> npt.NDArray[np.uint8]:
    """Add stored noise to images ``uint8 [N, S, S, C]`` of its size, as they will be written."""
    levels = bounded(noise, eps) * np.float32(255)
    return np.clip(images + levels + np.float32(0.5), 0, 255).astype(np.uint8)


def stretched(noise: Noise, eps: float, height: int, width: int, channels: int) -> Working:
    """Turn stored noise into working noise of a picture's size.

    Args:
        noise: ``int8 [N, S, S, C]``.
        eps: Bound in [0, 1] units.
        height: Height in pixels.
        width: Width in pixels.
        channels: 1 or 3; colour noise on a grey picture is averaged, grey noise on colour repeated.

    Returns:
        ``float32 [N, channels, height, width]``; see :func:`bounded`.
    """
    values = bounded(noise, eps)
    if values.shape[3] != channels:
        values = values.mean(3, keepdims=True) if channels == 1 else np.repeat(values, channels, axis=3)
    if values.shape[1:3] != (height, width):
        size = (width, height)
        resized = [cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in values]
        values = np.stack(resized).reshape(len(values), height, width, channels)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _own(state: State, items: Sequence[Item], key: Key, cfg: Any) -> list[str]:
    return [item.id for item in items]


def hooks(rows: Rows = _own) -> tuple[Apply, Invert]:
    """Make `apply` and `invert` of a method whose config has an ``eps`` and whose noise was stored.

    Args:
        rows: Names the row of every item; by default it is the item's own.
    """

    def noise(
        state: State, items: Sequence[Item], key: Key, cfg: Any, channels: int, height: int, width: int
    ) -> Working:
        stored = lookup(state[FOLDER], state["noise"], rows(state, items, key, cfg), items)
        return stretched(stored, cfg.eps, height, width, channels)

    return additive(noise)


def quantised(noise: npt.NDArray[np.float32], eps: float) -> Noise:
    """Turn noise in [-eps, eps] into stored bytes, rounded."""
    levels: Noise = np.rint(np.clip(noise / np.float32(eps), -1, 1) * LEVELS).astype(np.int8)
    return levels
