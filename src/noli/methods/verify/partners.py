"""Is each protected picture a version of its own original? Asked before anything is trained.

A verdict on pictures that are not protected versions of the originals (class folders mixed up, noise) would
be "supported" for a reason that has nothing to do with protection. Similarity is the best normalised
correlation of 16 x 16 grey thumbnails over shifts of one cell: what exposure, small filters, recompression
and dropped colour leave. It is never compared with a fixed number, but with the similarity of the same
protected picture to other originals, so that collections of similar pictures need no setting of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noli.methods.verify.subject import Images

# Three strangers per picture: the share then hardly depends on who they are.
STRANGERS = 3
# Below so many comparisons the share says nothing.
FEWEST = 20
_SIDE = 16
_FLAT = 1.0
_SAME = 0.98
_CHUNK = 2048
Thumbnails = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Likeness:
    """How often a protected picture resembles its own original more than somebody else's.

    Attributes:
        share: Share of comparisons that the own original wins; chance is one half.
        comparisons: Their number. Left out: constant originals, and strangers that look like the original.
    """

    share: float
    comparisons: int


def likeness(clean: Images, protected: Images) -> Likeness:
    """Compare every protected picture with its original and with `STRANGERS` other originals.

    Args:
        clean: ``uint8 [N, S, S, C]``.
        protected: The same shape; row i is said to be made of row i.
    """
    count = len(clean)
    if count < 2:
        return Likeness(1.0, 0)
    ours, theirs = _thumbnails(clean), _thumbnails(protected)
    own = _similarity(theirs, ours)
    order = np.random.default_rng(0).permutation(count)
    won = total = 0
    for step in range(1, min(STRANGERS, count - 1) + 1):
        # Neighbours on a shuffled ring: never the picture itself, of the same class or of another.
        stranger = np.empty(count, np.int64)
        stranger[order] = np.roll(order, step)
        counted = ours.any((1, 2)) & (_similarity(ours, ours[stranger]) < _SAME)
        won += int(np.sum((own > _similarity(theirs, ours[stranger])) & counted))
        total += int(counted.sum())
    return Likeness(won / total if total else 1.0, total)


def _thumbnails(images: Images) -> Thumbnails:
    """Return luminance ``[N, 16, 16]`` without its mean; all zero where an image is constant."""
    import cv2

    out = np.empty((len(images), _SIDE, _SIDE), np.float32)
    for row, image in zip(out, images, strict=True):
        # The plain mean, not luma: a method may swap or mix the channels.
        grey = image.mean(2, dtype=np.float32)
        row[:] = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    out -= out.mean((1, 2), keepdims=True)
    out[out.std((1, 2)) < _FLAT] = 0
    return out


def _similarity(a: Thumbnails, b: Thumbnails) -> npt.NDArray[np.float32]:
    """Best correlation of ``a[i]`` with ``b[i]`` over shifts of one cell, in [-1, 1]; 0 if constant."""
    best = np.full(len(a), -1, np.float32)
    for start in range(0, len(a), _CHUNK):
        part = slice(start, start + _CHUNK)
        inner = b[part, 1:-1, 1:-1]
        for top in range(3):
            for left in range(3):
                moved = a[part, top : top + _SIDE - 2, left : left + _SIDE - 2]
                best[part] = np.maximum(best[part], _correlation(moved, inner))
    return best


def _correlation(a: Thumbnails, b: Thumbnails) -> npt.NDArray[np.float32]:
    a, b = a - a.mean((1, 2), keepdims=True), b - b.mean((1, 2), keepdims=True)
    product = np.einsum("nij,nij->n", a, b)
    norm = np.sqrt(np.einsum("nij,nij->n", a, a) * np.einsum("nij,nij->n", b, b))
    result: npt.NDArray[np.float32] = np.where(norm > 0, product / np.maximum(norm, 1e-12), 0)
    return result
