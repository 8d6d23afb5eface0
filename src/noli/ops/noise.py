"""Additive noise on batches of images: draw it, scale it to a budget, add it.

Noise is an array ``[N, C, H, W]`` in the units of working images, so 1/255 is one 8-bit level. Scaling and
adding treat every image by itself: results do not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item
from noli.core.images import Working, check_images
from noli.core.key import Key
from noli.core.keystream import Floats, box_muller
from noli.core.method import Apply, Extra, Invert, State

Noise = npt.NDArray[Any]


def keyed_normals(key: Key, purpose: str, items: Sequence[Item], count: int) -> Floats:
    """Draw standard normal values for every item from the stream of its id.

    Returns:
        ``float64 [N, count]``; a row holds what ``key.stream(purpose, item.id).normal(count)`` gives.
    """
    words = count + count % 2
    units = [key.stream(purpose, item.id).uniform(words) for item in items]
    first, second = np.array(units).reshape(-1, 2).T
    return box_muller(first + 2.0**-53, second).reshape(len(items), words)[:, :count]


def scale_l2(noise: Noise, norm: float) -> Working:
    """Give the noise of every image the L2 norm ``norm`` over all its values; noise of zeros stays zero."""
    squares = np.square(_rows(noise), dtype=np.float64)
    return _scaled(noise, norm, np.sqrt(squares.sum(axis=1)))


def scale_linf(noise: Noise, norm: float) -> Working:
    """Give the noise of every image the largest magnitude ``norm``; noise of zeros stays zero."""
    return _scaled(noise, norm, np.abs(_rows(noise)).max(axis=1, initial=0.0))


def add(batch: Working, noise: Noise) -> Working:
    """Add noise to working images and clip to [0, 1]; returns a new ``float32 [N, C, H, W]``."""
    out = np.add(batch, noise, dtype=np.float32)
    return np.clip(out, 0.0, 1.0, out=out)


def additive(noise: Callable[..., Noise]) -> tuple[Apply, Invert]:
    """Make `apply` and `invert` of a method that adds noise.

    Args:
        noise: Called with state, items, key, config, channels, height and width; returns ``[N, C, H, W]``.
    """

    def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any) -> Working:
        """Add the noise; working images ``float32 [N, C, H, W]`` in [0, 1] in and out.

        Raises:
            DataError: Bad images, or an item whose class is unknown.
        """
        check_images(batch)
        return add(batch, noise(state, items, key, cfg, *batch.shape[1:])) if len(batch) else batch

    def invert(
        state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Any, extras: Sequence[Extra]
    ) -> Working:
        """Subtract the noise of the *original* ids; values that were clipped stay changed."""
        check_images(batch)
        return add(batch, -noise(state, items, key, cfg, *batch.shape[1:])) if len(batch) else batch

    return apply, invert


def _rows(noise: Noise) -> Noise:
    # Channels last, as working images lie in memory: no copy then. The order of a sum is the same anyway.
    return noise.transpose(0, 2, 3, 1).reshape(len(noise), int(np.prod(noise.shape[1:])))


def _scaled(noise: Noise, norm: float, sizes: Noise) -> Working:
    factors = norm / np.where(sizes > 0, sizes, 1.0)
    scaled: Working = (noise * factors[:, None, None, None]).astype(np.float32)
    return scaled
