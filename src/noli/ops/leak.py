"""The leaked-pairs attack on filtered data: what a thief gains from a few clean/protected pairs.

For every class the thief estimates the filter from the leaked pairs by least squares (kernel size and
border are unknown and chosen by the Bayesian information criterion), averages it over the pairs, and
inverts it on every protected image of the class. On data that no filter made, the estimate is close to the
identity and little changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noli.core.images import to_float, to_uint8
from noli.ops.filters import Border, Kernel, invert_batch

KERNEL_SIZES = (3, 5, 9)
DAMPINGS = (1e-3, 1e-2, 3e-2, 1e-1)
_CLIPPED = 254
_BLOCK = 256

Images8 = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassFilter:
    """A thief's estimate for one class: unit-sum kernel ``[k, k]``, border, information criterion."""

    kernel: Kernel
    border: Border
    score: float


def estimate_filter(clean: Images8, protected: Images8, sizes: tuple[int, ...] = KERNEL_SIZES) -> ClassFilter:
    """Estimate one filter from pairs of one class.

    Args:
        clean: ``uint8 [P, H, W, C]``, P >= 1.
        protected: The same images protected.
        sizes: Kernel sizes to try.

    Returns:
        The best estimate, normalised to sum 1 per pair and averaged over the pairs.
    """
    candidates = []
    borders: tuple[Border, ...] = ("zero", "reflect")
    for k in sizes:
        for border in borders:
            fits = [_least_squares(x, y, k, border) for x, y in zip(clean, protected, strict=True)]
            kernel = np.mean([kernel for kernel, _ in fits], axis=0).astype(np.float32)
            candidates.append(ClassFilter(kernel, border, float(np.mean([score for _, score in fits]))))
    return min(candidates, key=lambda c: c.score)


def _least_squares(clean: Images8, protected: Images8, k: int, border: Border) -> tuple[Kernel, float]:
    pad = k // 2
    x = clean.astype(np.float64) / 255.0
    h, w = x.shape[:2]
    margins = ((pad, pad), (pad, pad), (0, 0))
    grown = np.pad(x, margins) if border == "zero" else np.pad(x, margins, mode="reflect")
    design = np.stack([grown[i : i + h, j : j + w].ravel() for i in range(k) for j in range(k)], axis=1)
    target = protected.ravel() / 255.0
    usable = protected.ravel() < _CLIPPED  # clipped pixels no longer obey the linear model
    if usable.sum() > 4 * k * k:
        design, target = design[usable], target[usable]
    taps = np.linalg.solve(design.T @ design + 1e-6 * np.eye(k * k), design.T @ target)
    error = float(np.mean((design @ taps - target) ** 2))
    score = np.log(max(error, 1e-12)) + k * k * np.log(len(target)) / len(target)
    total = taps.sum()
    kernel = (taps / (total if abs(total) > 1e-3 else 1.0)).reshape(k, k)
    return kernel.astype(np.float32), float(score)


def estimate_class_filters(
    clean: Images8, protected: Images8, labels: Labels, sizes: tuple[int, ...] = KERNEL_SIZES
) -> dict[int, ClassFilter]:
    """Estimate the filter of every class that has at least one pair.

    Args:
        clean: ``uint8 [P, H, W, C]``.
        protected: The same images protected.
        labels: ``int64 [P]``.
        sizes: Kernel sizes to try.
    """
    return {
        int(c): estimate_filter(clean[labels == c], protected[labels == c], sizes) for c in np.unique(labels)
    }


def restore(
    protected: Images8, labels: Labels, filters: dict[int, ClassFilter], damping: float = 1e-2
) -> Images8:
    """Invert the estimated class filters on protected images.

    Mean brightness is put back to that of the protected image, since the estimate leaves the exposure open.

    Args:
        protected: ``uint8 [N, H, W, C]``.
        labels: ``int64 [N]``; images of classes without an estimate are returned unchanged.
        filters: Result of :func:`estimate_class_filters`.
        damping: Tikhonov weight.
    """
    out = protected.copy()
    for label, estimate in filters.items():
        where = np.flatnonzero(labels == label)
        for start in range(0, len(where), _BLOCK):
            rows = where[start : start + _BLOCK]
            batch = to_float(protected[rows])
            kernels = np.broadcast_to(estimate.kernel, (len(rows), *estimate.kernel.shape))
            found = invert_batch(
                batch, np.ascontiguousarray(kernels), estimate.border, damping=damping, steps=25
            )
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
    x = clean[:, m : h - m, m : w - m].reshape(len(clean), -1).astype(np.float64) / 255.0
    z = other[:, m : h - m, m : w - m].reshape(len(other), -1).astype(np.float64) / 255.0
    gain = (x * z).sum(1) / np.maximum((z * z).sum(1), 1e-12)
    error = np.mean((np.clip(gain[:, None] * z, 0.0, 1.0) - x) ** 2, axis=1)
    return np.asarray(10.0 * np.log10(1.0 / np.maximum(error, 1e-10)))


@dataclass(frozen=True)
class Leak:
    """Outcome of the attack: restored images, PSNR before and after on images that were not leaked."""

    restored: Images8
    before: float
    after: float
    damping: float

    @property
    def gain(self) -> float:
        """Gain in dB."""
        return self.after - self.before


def leak_attack(
    clean: Images8, protected: Images8, labels: Labels, pairs: int = 1, *, judge: int = 20
) -> Leak:
    """Give the thief the first ``pairs`` pairs of every class and measure what they are worth.

    The damping is the one that serves the thief best on up to ``judge`` other images per class: an upper
    bound for a thief who tunes blindly.

    Args:
        clean: ``uint8 [N, H, W, C]``, used for the pairs and to measure.
        protected: The same images protected.
        labels: ``int64 [N]``.
        pairs: Leaked pairs per class.
        judge: Images per class on which gain is measured.
    """
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    leaked = np.concatenate([g[:pairs] for g in groups])
    others = np.concatenate([g[pairs : pairs + judge] for g in groups])
    filters = estimate_class_filters(clean[leaked], protected[leaked], labels[leaked])
    margin = max(f.kernel.shape[0] for f in filters.values()) // 2 + 1
    before = exposure_free_psnr(clean[others], protected[others], margin)
    trials = {
        d: exposure_free_psnr(
            clean[others], restore(protected[others], labels[others], filters, d), margin
        ).mean()
        for d in DAMPINGS
    }
    best = max(trials, key=lambda d: trials[d])
    restored = restore(protected, labels, filters, best)
    return Leak(restored, float(before.mean()), float(trials[best]), best)
