"""The leaked-pairs attack at native resolution: filters are learned before images are reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from noli.core.dataset import Ref
from noli.methods.verify.pairing import Pair
from noli.methods.verify.subject import Images, Labels
from noli.ops.leak import DAMPINGS, ClassFilter, estimate_filter, exposure_free_psnr
from noli.ops.leak import restore as invert

Read = Callable[[Ref], Images]
# Images per class on which the thief tunes the damping; an upper bound for one who tunes blindly.
_TUNING = 3


def restore(
    read_clean: Read,
    read_protected: Read,
    train: Sequence[Pair],
    labels: Labels,
    pairs: int,
    finish: Callable[[Images], Images],
) -> Images:
    """Learn each class's filter from its first `pairs` items and invert it on all of the class.

    Memory holds one native image at a time beside the result.

    Args:
        read_clean: Reads a clean item at native size, ``uint8 [H, W, C]``.
        read_protected: The same for a protected item.
        train: Pairs ``(clean, protected)``.
        labels: ``int64 [N]``, label of every protected item.
        pairs: Leaked pairs per class.
        finish: Brings a restored image ``[H, W, C]`` to the training size ``[S, S, C]``.

    Returns:
        ``uint8 [N, S, S, C]``.
    """
    out: list[Images] = [np.empty(0, np.uint8)] * len(train)
    for label in np.unique(labels):
        rows = [int(row) for row in np.flatnonzero(labels == label)]

        def both(row: int) -> tuple[Images, Images]:
            return read_clean(train[row][0]), read_protected(train[row][1])

        estimate = _estimate([both(row) for row in rows[:pairs]])
        tuning = [both(row) for row in rows[pairs : pairs + _TUNING]]
        damping = _best_damping(estimate, [pair for pair in tuning if pair[0].shape == pair[1].shape])
        for row in rows:
            protected = read_protected(train[row][1])
            out[row] = finish(_invert(protected, estimate, damping) if estimate and damping else protected)
    return np.stack(out)


def _estimate(leaked: Sequence[tuple[Images, Images]]) -> ClassFilter | None:
    # A filter can only be read off images that were not resized, and is averaged over one shape.
    usable = [pair for pair in leaked if pair[0].shape == pair[1].shape]
    usable = [pair for pair in usable if pair[0].shape == usable[0][0].shape]
    if not usable:
        return None
    return estimate_filter(np.stack([c for c, _ in usable]), np.stack([p for _, p in usable]))


def _invert(protected: Images, estimate: ClassFilter, damping: float) -> Images:
    restored: Images = invert(protected[None], np.zeros(1, np.int64), {0: estimate}, damping)[0]
    return restored


def _best_damping(estimate: ClassFilter | None, tuning: Sequence[tuple[Images, Images]]) -> float | None:
    """Return the damping that restores the tuning images best, or None where none beats doing nothing."""
    if estimate is None:
        return None
    if not tuning:
        return 1e-2
    margin = estimate.kernel.shape[0] // 2 + 1

    def quality(change: Callable[[Images], Images]) -> float:
        return float(np.mean([exposure_free_psnr(c[None], change(p)[None], margin) for c, p in tuning]))

    gains = {d: quality(lambda p, d=d: _invert(p, estimate, d)) for d in DAMPINGS}  # type: ignore[misc]
    best = max(gains, key=lambda d: gains[d])
    return best if gains[best] > quality(lambda p: p) else None
