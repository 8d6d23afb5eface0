"""Leaked pairs against filters and noise at once: ``protected = gain * filter(clean) + offset``.

Neither the inversion of a filter nor the subtraction of a mean change undoes what does both. All pairs of a
class are solved for together: what is constant over a cell is taken off images and filtered images alike
(the within-transformation of panel regressions), which leaves the filter's taps alone, and the offset
follows from what they do not explain. A cell is a pixel, where there are two pairs or more, or a part of a
grid that lies over the image: one pair is then enough. Filter, border and cells are unknown and chosen by
the Bayesian information criterion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from noli.ops.filters import Border
from noli.ops.leak import ClassFilter, Labels, Pair, sizes_for

GRIDS = (4, 8)
# The first pairs say as much as all: at 32 px a fit of 81 taps then holds 40 MB.
_PAIRS = 20
_LOW, _HIGH = 0, 254
_BORDERS: tuple[Border, ...] = ("zero", "reflect")

Floats = npt.NDArray[np.float64]


def estimate_mixture(pairs: Sequence[Pair]) -> ClassFilter:
    """Estimate one filter and one offset from pairs of one class.

    Args:
        pairs: One or more clean images ``uint8 [H, W, C]`` of one size with their protected version; the
            first 20 are used.

    Returns:
        The best estimate: unit-sum kernel (side 1 for none) and offset.
    """
    clean, protected = (np.stack(images) for images in zip(*pairs[:_PAIRS], strict=True))
    x, y = clean / 255.0, protected / 255.0
    usable = (protected > _LOW) & (protected < _HIGH)  # clipped pixels do not obey the linear model
    if usable.mean() < 0.1:
        usable = np.ones_like(usable)
    found = [
        _solved(x, y, usable, k, border, cells)
        for cells in _cells(*y.shape)
        for k in (1, *sizes_for(*y.shape[1:3]))
        for border in (_BORDERS if k > 1 else _BORDERS[:1])
    ]
    return min(found, key=lambda one: one.score)


def _cells(count: int, height: int, width: int, channels: int) -> list[Labels]:
    """Return what may be constant: the cell of every value, ``int64 [H, W, C]``; first nothing at all."""
    down, across, channel = np.indices((height, width, channels))
    grids = [
        (down * n // height * n + across * n // width) * channels + channel
        for n in GRIDS
        if n <= min(height, width)
    ]
    pixels = [np.arange(height * width * channels).reshape(height, width, channels)] if count > 1 else []
    return [np.full((height, width, channels), -1), *grids, *pixels]


def _solved(
    x: Floats, y: Floats, usable: npt.NDArray[np.bool_], k: int, border: Border, cells: Labels
) -> ClassFilter:
    height, width = x.shape[1:3]
    margins = ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0))
    grown = np.pad(x, margins, mode="constant" if border == "zero" else "reflect")
    shifts = [(i, j) for i in range(k) for j in range(k)]
    design = np.stack([grown[:, i : i + height, j : j + width][usable] for i, j in shifts], axis=1)
    target = y[usable]
    place = np.broadcast_to(cells, y.shape)[usable]
    free = int(cells.max()) + 1  # 0 for no offset
    means = np.zeros((free, k * k + 1))
    if free:
        seen = np.maximum(np.bincount(place, minlength=free), 1)
        columns = [*design.T, target]
        means = np.stack([np.bincount(place, column, free) / seen for column in columns], axis=1)
        design, target = design - means[place, :-1], target - means[place, -1]
    taps = np.linalg.solve(design.T @ design + 1e-6 * np.eye(k * k), design.T @ target)
    error, count = float(np.mean((design @ taps - target) ** 2)), len(target)
    score = np.log(max(error, 1e-12)) + (k * k + free) * np.log(count) / count
    total = taps.sum() if abs(taps.sum()) > 1e-3 else 1.0
    offset = None
    if free:
        offset = (means[:, -1] - means[:, :-1] @ taps).astype(np.float32)[cells]
    return ClassFilter((taps / total).reshape(k, k).astype(np.float32), border, float(score), offset)
