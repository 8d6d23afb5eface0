"""The leaked-pairs attack on filtered data: what a thief gains from a few clean/protected pairs.

For every class the thief estimates the filter from the leaked pairs by least squares (kernel size and
border are unknown and chosen by the Bayesian information criterion), averages it over the pairs, and
inverts it on every protected image of the class. On data that no filter made, the estimate is close to the
identity and little changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from noli.core.images import to_float, to_uint8
from noli.ops.filters import Border, Kernel, invert_batch

# The larger ones are tried on images of at least four times the side; each contains the sizes below it.
KERNEL_SIZES = (3, 5, 9, 15, 31)
DAMPINGS = (1e-3, 1e-2, 3e-2, 1e-1)
# Images per class on which the thief tunes the damping: an upper bound for one who tunes blindly.
_TUNING, _TUNING_NATIVE = 20, 3
_BLIND = 1e-2  # damping of a thief with nothing to tune on
_CLIPPED = 254
_FIT_PIXELS = 1 << 16  # as many pixels of an image as a fit of up to 81 taps looks at: 250 MB
_BLOCK = 256

Images8 = npt.NDArray[np.uint8]
Pair = tuple[Images8, Images8]
Change = Callable[[Images8], Images8]
Labels = npt.NDArray[np.int64]


class ClassFilter(NamedTuple):
    """A thief's estimate for one class: unit-sum kernel ``[k, k]``, border, information criterion.

    ``offset`` is what is added after the filter, ``float32 [H, W, C]`` in [0, 1] units; None for nothing.
    """

    kernel: Kernel
    border: Border
    score: float
    offset: npt.NDArray[np.float32] | None = None


Estimate = Callable[[Sequence[Pair]], ClassFilter]


def sizes_for(height: int, width: int) -> tuple[int, ...]:
    """Return the kernel sizes that are tried on images of a size."""
    return tuple(k for k in KERNEL_SIZES if k <= max(9, min(height, width) // 4))


def estimate_filter(pairs: Sequence[Pair]) -> ClassFilter:
    """Estimate one filter from pairs of one class.

    Args:
        pairs: One or more clean images ``uint8 [H, W, C]`` with their protected version.

    Returns:
        The best estimate, normalised to sum 1 per pair and averaged over the pairs.
    """
    candidates = []
    borders: tuple[Border, ...] = ("zero", "reflect")
    for k in sizes_for(*np.min([x.shape[:2] for x, _ in pairs], axis=0)):
        for border in borders:
            fits = [_least_squares(x, y, k, border) for x, y in pairs]
            kernel = np.mean([kernel for kernel, _ in fits], axis=0).astype(np.float32)
            candidates.append(ClassFilter(kernel, border, float(np.mean([score for _, score in fits]))))
    return min(candidates, key=lambda c: c.score)


def _least_squares(clean: Images8, protected: Images8, k: int, border: Border) -> tuple[Kernel, float]:
    pad = k // 2
    x = clean.astype(np.float64) / 255.0
    h, w = x.shape[:2]
    margins = ((pad, pad), (pad, pad), (0, 0))
    grown = np.pad(x, margins) if border == "zero" else np.pad(x, margins, mode="reflect")
    # A band across the middle of a large image says as much as all of it.
    rows = min(h, max(1, _FIT_PIXELS * 81 // max(k * k, 81) // w))
    top = (h - rows) // 2
    shifts = [(top + i, j) for i in range(k) for j in range(k)]
    design = np.stack([grown[i : i + rows, j : j + w].ravel() for i, j in shifts], axis=1)
    band = protected[top : top + rows].ravel()
    target = band / 255.0
    usable = band < _CLIPPED  # clipped pixels no longer obey the linear model
    if usable.sum() > 4 * k * k:
        design, target = design[usable], target[usable]
    taps = np.linalg.solve(design.T @ design + 1e-6 * np.eye(k * k), design.T @ target)
    error = float(np.mean((design @ taps - target) ** 2))
    score = np.log(max(error, 1e-12)) + k * k * np.log(len(target)) / len(target)
    total = taps.sum()
    kernel = (taps / (total if abs(total) > 1e-3 else 1.0)).reshape(k, k)
    return kernel.astype(np.float32), float(score)


def invert(protected: Images8, estimate: ClassFilter, damping: float = _BLIND) -> Images8:
    """Undo an estimated filter, and what was added after it, on images ``uint8 [N, H, W, C]``.

    Mean brightness is put back to that of the protected image, since the estimate leaves the exposure open.
    """
    out = np.empty_like(protected)
    for start in range(0, len(out), _BLOCK):
        rows = slice(start, start + _BLOCK)
        batch = to_float(protected[rows])
        if estimate.offset is not None:
            batch -= estimate.offset.transpose(2, 0, 1)
        kernels = np.repeat(estimate.kernel[None], len(batch), axis=0)
        found = invert_batch(batch, [(kernels, None)], estimate.border, damping=damping, steps=25)
        level = batch.mean(axis=(1, 2, 3)) / np.maximum(found.mean(axis=(1, 2, 3)), 1e-3)
        out[rows] = to_uint8(found * level.astype(np.float32)[:, None, None, None])
    return out


def exposure_free_psnr(clean: Images8, other: Images8, margin: int = 0) -> npt.NDArray[np.float64]:
    """PSNR in dB per image after the best brightness factor, without ``margin`` pixels at the edges.

    The factor and the margin keep a thief's gain from hiding behind exposure or lost border pixels.

    Args:
        clean: ``uint8 [N, H, W, C]``.
        other: Images to compare, same shape.
        margin: Pixels left out at every side (ignored where nothing would remain).
    """
    h, w = clean.shape[1:3]
    m = margin if min(h, w) > 2 * margin else 0
    x = clean[:, m : h - m, m : w - m].astype(np.float64) / 255.0
    z = other[:, m : h - m, m : w - m].astype(np.float64) / 255.0
    pixels = (1, 2, 3)
    gain = (x * z).sum(pixels, keepdims=True) / np.maximum((z * z).sum(pixels, keepdims=True), 1e-12)
    error = np.mean((np.clip(gain * z, 0.0, 1.0) - x) ** 2, axis=pixels)
    return np.asarray(10.0 * np.log10(1.0 / np.maximum(error, 1e-10)))


class Leak(NamedTuple):
    """Outcome of the attack: restored images, gain of PSNR in dB on images that were not leaked."""

    restored: Images8
    gain: float


def rows_of_groups(groups: Labels) -> list[Labels]:
    """Return the rows of every group in the order in which they leak: as they come.

    A single group is shuffled (always alike), because neighbours in a listing share their class.
    """
    found = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    return found if len(found) > 1 else [np.random.default_rng(0).permutation(rows) for rows in found]


def leaked_of(rows: Labels, pairs: int) -> Labels:
    """Return the first `pairs` rows of a group, at most half of it, but one."""
    return rows[: max(1, min(pairs, len(rows) // 2))]


def leak_attack(
    clean: Images8,
    protected: Images8,
    labels: Labels,
    pairs: int = 1,
    estimate: Estimate = estimate_filter,
) -> Leak:
    """Give the thief the first ``pairs`` pairs of every class and measure what they are worth.

    The damping is the one that serves the thief best on up to 20 other images per class. A class of one image
    leaks that one; where nothing else is left to measure on, the gain is 0.

    Args:
        clean: ``uint8 [N, H, W, C]``, used for the pairs and to measure.
        protected: The same images protected.
        labels: ``int64 [N]``.
        pairs: Leaked pairs per class, at most half of it.
        estimate: How the thief reads a class's filter off its pairs.
    """
    groups = rows_of_groups(labels)
    leaked = [leaked_of(group, pairs) for group in groups]
    filters = [estimate([(clean[i], protected[i]) for i in rows]) for rows in leaked]
    margin = max(len(found.kernel) for found in filters) // 2 + 1
    others = [group[len(rows) :][:_TUNING] for group, rows in zip(groups, leaked, strict=True)]

    def quality(damping: float | None) -> float:
        psnr = []
        for rows, found in zip(others, filters, strict=True):
            images = protected[rows] if damping is None else invert(protected[rows], found, damping)
            psnr.append(exposure_free_psnr(clean[rows], images, margin))
        values = np.concatenate(psnr)
        return float(values.mean()) if len(values) else 0.0

    trials = {damping: quality(damping) for damping in DAMPINGS}
    best = max(trials, key=lambda damping: trials[damping]) if any(map(len, others)) else _BLIND
    restored = np.empty_like(protected)
    for rows, found in zip(groups, filters, strict=True):
        restored[rows] = invert(protected[rows], found, best)
    return Leak(restored, trials[best] - quality(None))


def restore_native(
    clean: Callable[[int], Images8],
    protected: Callable[[int], Images8],
    labels: Labels,
    pairs: int,
    finish: Change,
) -> Images8:
    """The attack at native resolution: filters are read off images before these are reduced.

    Every class's filter is learned from its first `pairs` items and inverted on all of the class, unless
    that restores no tuning image better than doing nothing. Memory holds a few native images
    at a time (about ten times a native image's pixels in float32).

    Args:
        clean: Reads the clean image of a row at native size, ``uint8 [H, W, C]``.
        protected: The same for the protected image; sizes may differ between rows.
        labels: ``int64 [N]``, label of every protected item.
        pairs: Leaked pairs per class, at most half of it.
        finish: Brings a restored image ``[H, W, C]`` to its final size ``[S, S, C]``.

    Returns:
        ``uint8 [N, S, S, C]``.
    """
    out: dict[int, Images8] = {}

    def both(rows: Sequence[int]) -> list[Pair]:
        # A filter can only be read off images that were not resized.
        return [(x, y) for x, y in ((clean(r), protected(r)) for r in rows) if x.shape == y.shape]

    for rows in rows_of_groups(labels):
        leaked = leaked_of(rows, pairs)
        tuning = rows[len(leaked) :][:_TUNING_NATIVE]
        undo = _inversion(both(leaked.tolist()), both(tuning.tolist()))
        out |= {row: finish(undo(protected(row))) for row in rows.tolist()}
    return np.stack([out[row] for row in range(len(labels))])


def _inversion(leaked: Sequence[Pair], tuning: Sequence[Pair]) -> Change:
    """Return the change of a protected image that restores the tuning images best."""

    def nothing(image: Images8) -> Images8:
        return image

    if not leaked:
        return nothing
    estimate = estimate_filter(leaked)
    margin = len(estimate.kernel) // 2 + 1

    def undo(image: Images8, damping: float = _BLIND) -> Images8:
        restored: Images8 = invert(image[None], estimate, damping)[0]
        return restored

    def quality(change: Change) -> float:
        return float(np.mean([exposure_free_psnr(x[None], change(y)[None], margin) for x, y in tuning]))

    changes: list[Change] = [nothing, *(partial(undo, damping=damping) for damping in DAMPINGS)]
    return max(changes, key=quality) if tuning else undo
