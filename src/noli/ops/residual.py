"""Leaked pairs against noise: subtract what protection added, class by class or pattern by pattern.

Class-wise noise is the same for all images of a class, so its mean over a few leaked pairs is the noise.
Noise that is one of a few patterns, whatever the class, is recognised in other images by itself. The
counterpart for filters is :mod:`noli.ops.leak`; a thief takes what works best on images he can check.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from noli.ops.leak import exposure_free_psnr, leaked_of, rows_of_groups

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
_BLOCK = 256
_ALIKE = 0.5  # correlation from which two changes are one pattern


def leaked_rows(labels: Labels, total: int) -> tuple[Labels, int]:
    """Spread pairs over the classes.

    Args:
        labels: ``int64 [N]``.
        total: Pairs in all.

    Returns:
        Groups ``int64 [N]`` and how many items of every group are leaked, in the order of
        :func:`~noli.ops.leak.rows_of_groups`: the classes with equally many pairs each (a class of fewer than
        twice as many items leaks half of them); one group for all where there are fewer pairs than classes,
        because then a thief must pool what he has.
    """
    found = np.unique(labels)
    return (np.zeros_like(labels), total) if total < len(found) else (labels, total // len(found))


def subtract_residual(clean: Images, protected: Images, groups: Labels, pairs: int) -> Images:
    """Subtract from every protected image the mean change of its group's leaked pairs.

    Args:
        clean: ``uint8 [N, H, W, C]``; only leaked rows are read.
        protected: The same images protected.
        groups: ``int64 [N]``.
        pairs: Leaked pairs per group: its first ones.

    Returns:
        ``uint8 [N, H, W, C]``.
    """
    out = np.empty_like(protected)
    for rows in rows_of_groups(groups):
        leaked = leaked_of(rows, pairs)
        change = (protected[leaked].astype(np.float32) - clean[leaked]).mean(0)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            out[part] = np.clip(protected[part] - change + np.float32(0.5), 0, 255).astype(np.uint8)
    return out


def subtract_patterns(clean: Images, protected: Images, leaked: Labels) -> Images:
    """Subtract from every image the leaked change that explains it best, or nothing.

    Alike changes of leaked pairs are averaged into one pattern. An image is taken to bear the pattern without
    which its gradient has the least energy: a matched filter, because gradients of pictures are nearly white.

    Args:
        clean: ``uint8 [N, H, W, C]``; only leaked rows are read.
        protected: The same images protected.
        leaked: Rows of the leaked pairs.

    Returns:
        ``uint8 [N, H, W, C]``.
    """
    patterns = _patterns(protected[leaked].astype(np.float32) - clean[leaked])
    sought = _gradient(patterns)
    energy = np.einsum("kd,kd->k", sought, sought)
    out = np.empty_like(protected)
    for start in range(0, len(protected), _BLOCK):
        part = protected[start : start + _BLOCK].astype(np.float32)
        saved = 2 * _gradient(part) @ sought.T - energy
        change = patterns[saved.argmax(1)] * (saved.max(1) > 0)[:, None, None, None]
        out[start : start + _BLOCK] = np.clip(part - change + np.float32(0.5), 0, 255).astype(np.uint8)
    return out


def _patterns(changes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Average changes ``[N, H, W, C]`` that are alike: each joins the first that it correlates with."""
    flat = changes.reshape(len(changes), -1)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    open_, means = np.ones(len(flat), bool), []
    for row in range(len(flat)):
        if open_[row]:
            alike = open_ & (unit @ unit[row] > _ALIKE)
            alike[row] = True
            open_ &= ~alike
            means.append(changes[alike].mean(0))
    return np.stack(means)


def _gradient(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return all differences of neighbours, ``[N, H, W, C] -> [N, D]``."""
    across, down = np.diff(images, axis=2), np.diff(images, axis=1)
    return np.concatenate([part.reshape(len(images), -1) for part in (across, down)], axis=1)


def restoration_gains(
    clean: Images, protected: Images, groups: Labels, pairs: int, tried: dict[str, Images], tuning: int = 20
) -> dict[str, float]:
    """Measure restored images on images that were not leaked.

    Args:
        clean: ``uint8 [N, H, W, C]``.
        protected: The images as published.
        groups: ``int64 [N]``.
        pairs: Leaked pairs per group, its first items.
        tried: Name -> restored images, same shape.
        tuning: Images per group on which the thief checks: an upper bound for one who has none.

    Returns:
        Name -> gain of PSNR in dB; empty where every image was leaked.
    """
    rows = np.concatenate(
        [group[len(leaked_of(group, pairs)) :][:tuning] for group in rows_of_groups(groups)]
    )
    if not len(rows):
        return {}
    before = float(exposure_free_psnr(clean[rows], protected[rows]).mean())
    return {
        name: float(exposure_free_psnr(clean[rows], images[rows]).mean()) - before
        for name, images in tried.items()
    }
