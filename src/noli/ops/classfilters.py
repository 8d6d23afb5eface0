"""Keyed class filters: drawn by class name, chosen among several sets, with taps of their own per image.

Shared by the methods that filter images class by class (CUDA, arXiv 2303.04278, and what builds on it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.core.dataset import Item, check_labels
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import DataSummary, State
from noli.ops.filters import Anchors, Border, Kernel, Part, filter_batch
from noli.ops.spectra import Vectors, attraction_entropy, nearest_distance, signature

LARGE_SIDE = 128
_ATTEMPTS = 32
_JOINED = 9  # below, a call costs more than the taps that it saves
_BLUR_POWER = math.log(5, 3)


def kernel_for(
    height: int, width: int, kernel: int | None = None, blur: float | None = None
) -> tuple[int, float]:
    """Kernel side and blur for an image of this size: the paper's two settings, unless they are given."""
    side, bound = (3, 0.3) if min(height, width) < LARGE_SIDE else (9, 0.06)
    if kernel is not None:
        # A power law through the paper's two settings, (3, 0.3) and (9, 0.06).
        side, bound = kernel, 0.3 * (3 / kernel) ** _BLUR_POWER
    return side, blur if blur is not None else bound


@lru_cache(maxsize=4096)  # images arrive a few at a time; drawing again would cost as much as filtering
def class_filter(
    key: Key, label: str, draw: int, kernel: int, blur: float, binary: bool, purpose: str = "protect/cuda"
) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
    """Draw the filter of one class.

    Args:
        key: Owner's key.
        label: Class name.
        draw: Which of the key's draws for this class.
        kernel: Side k.
        blur: Upper bound p_b of the random taps.
        binary: Taps from {0, blur} with equal chances instead of U(0, blur).
        purpose: The method, so that two methods never share a filter.

    Returns:
        The kernel ``[k, k]``, and the position (row, column) of its tap of 1.
    """
    stream = key.stream(f"{purpose}/class/{draw}", label)
    row, column = (int(u * kernel) for u in stream.uniform(2))
    taps = stream.uniform(kernel * kernel)
    scaled = (np.where(taps < 0.5, 0.0, blur) if binary else taps * blur).reshape(kernel, kernel)
    filled = scaled.astype(np.float32)
    filled[row, column] = 1.0
    filled.setflags(write=False)
    return filled, (row, column)


@dataclass(frozen=True)
class ItemFilters:
    """Filters of N images, all of one size.

    Attributes:
        kernels: Class filters ``[N, k, k]``, scaled.
        anchors: Tap that lies on the output pixel, ``[N, 2]``.
        noise: Taps added per image ``[N, k, k]``, scaled, with an anchor of their own; None without jitter.
        noise_anchors: ``[N, 2]``.
    """

    kernels: Kernel
    anchors: Anchors
    noise: Kernel | None = None
    noise_anchors: Anchors | None = None

    def apply(self, batch: Working, border: Border) -> Working:
        """Filter working images; two small filters cost less than their sum, which is twice as wide."""
        out = filter_batch(batch, self.kernels, border, self.anchors)
        if self.noise is not None:
            out += filter_batch(batch, self.noise, border, self.noise_anchors)
        return out

    def parts(self) -> list[Part]:
        """Filters whose sum this is, for `noli.ops.filters.invert_batch`: one of up to 9 x 9, or two."""
        if self.noise is None or self.noise_anchors is None:
            return [(self.kernels, self.anchors)]
        n, k, _ = self.kernels.shape
        if 2 * k - 1 > _JOINED:
            return [(self.kernels, self.anchors), (self.noise, self.noise_anchors)]
        wide = np.zeros((n, 2 * k - 1, 2 * k - 1), np.float32)
        for part, spots in ((self.kernels, self.anchors), (self.noise, self.noise_anchors)):
            for target, taps, (row, column) in zip(wide, part, (k - 1 - spots).tolist(), strict=True):
                target[row : row + k, column : column + k] += taps
        return [(wide, np.full((n, 2), k - 1))]


def keyed_filters(
    state: State, items: Sequence[Item], key: Key, cfg: Any, height: int, width: int, purpose: str
) -> ItemFilters:
    """The filters of the items, anchored on the tap of 1 and divided by their sum.

    Args:
        state: Result of :func:`choose_draws`.
        items: Items whose images are all of one size.
        key: Owner's key.
        cfg: Has ``shape_for(height, width)``, which returns side and blur, ``binary`` as of
            :func:`class_filter`, and ``jitter``: random taps per image in units of the blur, 0 for none.
        height: Height in pixels.
        width: Width in pixels.
        purpose: As of :func:`class_filter`.

    Raises:
        DataError: An item's class has no draw.
    """
    draws: dict[str, int] = state["draws"]
    kernel, blur = cfg.shape_for(height, width)
    labels = class_numbers(items, draws)
    bank = [class_filter(key, label, draws[label], kernel, blur, cfg.binary, purpose) for label in labels]
    rows = np.fromiter((labels[str(item.label)] for item in items), np.intp, len(items))
    kernels = np.stack([taps for taps, _ in bank])[rows]
    anchors = np.array([spot for _, spot in bank])[rows]
    total = kernels.sum(axis=(1, 2), keepdims=True)
    if not cfg.jitter:
        return ItemFilters(kernels / total, anchors)
    # The extra taps lie around the output pixel in a window that moves from image to image: taps that
    # were always in the same places would add a common blur, which one leaked pair gives away.
    raw = np.stack([key.stream(f"{purpose}/item", i.id).uniform(2 + kernel**2) for i in items])
    spots = (raw[:, :2] * kernel).astype(np.int64)
    noise = (raw[:, 2:] * (cfg.jitter * blur)).reshape(kernels.shape).astype(np.float32)
    noise[np.arange(len(items)), spots[:, 0], spots[:, 1]] = 0.0
    total += noise.sum(axis=(1, 2), keepdims=True)
    return ItemFilters(kernels / total, anchors, noise / total, spots)


def class_numbers(items: Sequence[Item], known: Mapping[str, object]) -> dict[str, int]:
    """The items' class names, numbered in sorted order.

    Raises:
        DataError: An item's class is not among the known ones.
    """
    check_labels(items, "This method", known)
    return {label: row for row, label in enumerate(sorted({str(item.label) for item in items}))}


def choose_draws(summary: DataSummary, key: Key, cfg: Any, previous: State | None, purpose: str) -> State:
    """Choose, per class name, which keyed draw to use; classes of ``previous`` keep theirs.

    A draw is rejected when its filter is closer than ``cfg.separation`` to another class's or to doing
    nothing; after 32 draws the best one is taken. Of ``cfg.candidates`` complete sets the one with the lowest
    attraction entropy is used. Later classes join the chosen set. The rest of `cfg` is as of
    :func:`keyed_filters`.

    Returns:
        ``{"draws": {class: draw}, "series": chosen set, "judged": [kernel, blur]}``; not secret.
    """
    old = previous or {}
    draws: dict[str, int] = dict(old.get("draws", {}))
    fresh = [label for label in summary.classes if label not in draws]
    height, width, _ = max(summary.shapes, key=lambda s: (summary.shapes[s], s), default=(32, 32, 3))
    kernel, blur = old.get("judged", cfg.shape_for(height, width))

    def vector(label: str, draw: int) -> Vectors:
        return signature(class_filter(key, label, draw, kernel, blur, cfg.binary, purpose)[0][None])

    serieses = [old["series"]] if old else range(cfg.candidates)
    sets = {s: _complete(draws, fresh, s * _ATTEMPTS, vector, cfg.separation) for s in serieses}
    best = min(sets, key=lambda s: _attraction(sets[s], vector))
    return {"draws": sets[best], "series": best, "judged": [kernel, blur]}


def _complete(
    draws: dict[str, int],
    fresh: list[str],
    first: int,
    vector: Callable[[str, int], Vectors],
    separation: float,
) -> dict[str, int]:
    """Add the fresh classes, each with its first draw from ``first`` on that keeps away from all taken."""
    chosen = dict(draws)
    taken = [vector(label, draw) for label, draw in chosen.items()]
    for label in fresh:
        # Doing nothing counts as taken, too: all taps of a class may be drawn as zero.
        others = np.concatenate([np.zeros_like(vector(label, first)), *taken])
        distances = []
        for draw in range(first, first + _ATTEMPTS):
            distances.append(float(nearest_distance(vector(label, draw), others)[0]))
            if distances[-1] >= separation:
                break
        chosen[label] = first + int(np.argmax(distances))
        taken.append(vector(label, chosen[label]))
    return chosen


def _attraction(draws: dict[str, int], vector: Callable[[str, int], Vectors]) -> float:
    lengths = [np.linalg.norm(vector(label, draw)) for label, draw in draws.items()]
    return attraction_entropy(np.array(lengths)) if lengths else 0.0
