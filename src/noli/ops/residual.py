"""Leaked pairs against noise: subtract what protection added on average, class by class.

Class-wise noise is the same for all images of a class, so its mean over a few leaked pairs is the noise. The
counterpart for filters is :mod:`noli.ops.leak`; a thief takes what works better on images he can check.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from noli.ops.leak import Leak, exposure_free_psnr, leaked_of, rows_of_groups

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
_BLOCK = 256


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


def best_restoration(
    clean: Images, protected: Images, groups: Labels, pairs: int, tried: dict[str, Images]
) -> tuple[str, Leak]:
    """Choose among restored images by their quality on images that were not leaked.

    Args:
        clean: ``uint8 [N, H, W, C]``.
        protected: The images as published, taken where nothing tried comes closer to the originals.
        groups: ``int64 [N]``.
        pairs: Leaked pairs per group, its first items.
        tried: Name -> restored images, same shape.

    Returns:
        Name of the best (empty for the images as published), its images and gain of PSNR in dB.
    """
    gains = restoration_gains(clean, protected, groups, pairs, tried)
    best = max(gains, key=lambda name: gains[name], default="")
    if not best or gains[best] <= 0:
        return "", Leak(protected, 0.0)
    return best, Leak(tried[best], gains[best])
