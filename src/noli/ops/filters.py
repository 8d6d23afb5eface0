"""Small linear filters on batches of images: apply, rescale, undo.

Filters are square, of odd side k, the same for every channel of an image, and are applied as a
cross-correlation with stride 1 that keeps the image size (the convention of convolutional networks).
One SIMD library call per image beats batching here: an image stays in the cache (see benchmarks/).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from noli.core.images import Working

Border = Literal["zero", "reflect"]
Kernel = npt.NDArray[np.float32]
Anchors = npt.NDArray[np.int64]
Part = tuple[Kernel, Anchors | None]
_CV_BORDER: dict[str, int] = {"zero": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


def filter_batch(
    batch: Working, kernels: Kernel, border: Border = "zero", anchors: Anchors | None = None
) -> Working:
    """Filter every image with its own kernel.

    Args:
        batch: Working images ``float32 [N, C, H, W]``.
        kernels: ``float32 [N, k, k]``, k odd.
        border: ``zero`` pads with black; ``reflect`` mirrors without repeating the edge (an axis of
            length 1 has nothing to mirror: its own value is repeated).
        anchors: ``int [N, 2]``, the tap (row, column) that lies on the output pixel; the centre if None.

    Returns:
        ``float32 [N, C, H, W]``, not clamped.
    """
    n, c, h, w = batch.shape
    out = np.empty((n, h, w, c), np.float32)
    images = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
    k = kernels.shape[-1]
    spots = np.full((n, 2), k // 2) if anchors is None else anchors
    code = _CV_BORDER[border]
    # OpenCV mirrors at most once per axis; tiny images are padded by NumPy's rule beforehand.
    tiny = border == "reflect" and min(h, w) <= k
    for image, kernel, (row, col), target in zip(images, kernels, spots.tolist(), out, strict=True):
        if tiny:
            target[:] = _filter_padded(image, kernel, row, col)
        elif c == 1:
            cv2.filter2D(image[..., 0], cv2.CV_32F, kernel, target[..., 0], (col, row), borderType=code)
        else:
            cv2.filter2D(image, cv2.CV_32F, kernel, target, (col, row), borderType=code)
    return out.transpose(0, 3, 1, 2)


def _filter_padded(
    image: npt.NDArray[np.float32], kernel: Kernel, row: int, col: int
) -> npt.NDArray[np.float32]:
    h, w = image.shape[:2]
    pad = len(kernel)
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    result = cv2.filter2D(padded, cv2.CV_32F, kernel, anchor=(col, row), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(result, np.float32).reshape(padded.shape)[pad : pad + h, pad : pad + w]


def rescale_to_max(batch: Working) -> Working:
    """Divide every image by its largest value over all pixels and channels, in place.

    An image whose maximum is 0 (all black) stays as it is: the published formula divides 0 by 0 there.
    """
    peak = image_peaks(batch)
    # A product is twice as fast as a division. The reciprocal is rounded down: no value ends above 1.
    inverse = np.nextafter((1.0 / np.where(peak > 0, peak, 1.0)).astype(np.float32), np.float32(0))
    batch *= np.where(peak > 0, inverse, np.float32(1))[:, None, None, None]
    return batch


def image_peaks(batch: Working) -> npt.NDArray[np.float32]:
    """Largest value of every image of ``[N, C, H, W]`` as ``float32 [N]``."""
    if len(batch) == 0:
        return np.zeros(0, np.float32)
    # Reducing in memory order is several times faster than over the transposed view.
    peaks: npt.NDArray[np.float32] = batch.transpose(0, 2, 3, 1).reshape(len(batch), -1).max(axis=1)
    return peaks


def invert_batch(
    batch: Working, parts: Sequence[Part], border: Border = "zero", *, damping: float = 1e-3, steps: int = 40
) -> Working:
    """Find the images that filters turn into ``batch``: regularised least squares.

    Starting from the filtered image b, its exposure corrected, solves ``(A'A + damping I) d = A'(y - A b)``
    per image by conjugate gradients, where A is the filter with its exact border handling, and returns
    ``b + d``. The damping keeps quantisation noise from growing (Tikhonov); what the filter pushed out of
    the frame cannot come back and stays as in b.

    Args:
        batch: Filtered working images ``[N, C, H, W]``.
        parts: A is the sum of these filters, each with one kernel ``[k, k]`` per image and its anchors. Two
            small ones cost a fifth of their sum, which is twice as wide.
        border: Border used when filtering.
        damping: Weight of the solution's energy, relative to a filter of sum 1.
        steps: Conjugate-gradient iterations at most.

    Returns:
        ``float32 [N, C, H, W]``, not clamped.
    """

    def all_of(apply: Callable[..., Working], x: Working) -> Working:
        first, *more = (apply(x, kernels, border, anchors) for kernels, anchors in parts)
        for out in more:
            first += out
        return first

    total = np.sum([kernels.sum(axis=(1, 2)) for kernels, _ in parts], axis=0)
    x = batch / np.where(np.abs(total) > 1e-3, total, 1.0).astype(np.float32)[:, None, None, None]
    residual = all_of(adjoint_batch, batch - all_of(filter_batch, x))
    residual, direction = residual.copy(), residual.copy()
    energy = _dot(residual, residual)
    floor = 1e-10 * np.maximum(energy, 1e-20)
    for _ in range(steps):
        active = energy > floor
        if not active.any():
            break
        image = all_of(adjoint_batch, all_of(filter_batch, direction))
        image += np.float32(damping) * direction
        rate = _quotient(energy, _dot(direction, image), active)
        x += rate * direction
        residual -= rate * image
        renewed = _dot(residual, residual)
        direction = residual + _quotient(renewed, energy, active) * direction
        energy = renewed
    return x


def _dot(a: Working, b: Working) -> npt.NDArray[np.float64]:
    return np.asarray(np.einsum("nchw,nchw->n", a, b, dtype=np.float64))


def _quotient(
    top: npt.NDArray[np.float64], bottom: npt.NDArray[np.float64], active: npt.NDArray[np.bool_]
) -> Working:
    value = np.where(active, top / np.maximum(bottom, 1e-30), 0.0).astype(np.float32)
    return value[:, None, None, None]


def adjoint_batch(
    batch: Working, kernels: Kernel, border: Border = "zero", anchors: Anchors | None = None
) -> Working:
    """The transpose of :func:`filter_batch` as a linear map: ``<filter(x), y> = <x, adjoint(y)>``."""
    flipped = np.ascontiguousarray(kernels[:, ::-1, ::-1])
    k = kernels.shape[-1]
    mirrored = None if anchors is None else k - 1 - np.asarray(anchors)
    if border == "zero":
        return filter_batch(batch, flipped, "zero", mirrored)
    pad = k - 1
    grown = np.pad(batch, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    full = filter_batch(grown, flipped, "zero", mirrored)
    return _fold(_fold(full, 2, pad), 3, pad)


def _fold(full: Working, axis: int, pad: int) -> Working:
    """Add what fell on the mirrored margin back to the pixels it was mirrored from."""
    if pad == 0:
        return full
    size = full.shape[axis] - 2 * pad
    source = np.pad(np.arange(size), pad, mode="reflect")
    moved = np.moveaxis(full, axis, 0)
    out = moved[pad : pad + size].copy()
    for margin in (*range(pad), *range(pad + size, size + 2 * pad)):
        out[source[margin]] += moved[margin]
    return np.moveaxis(out, 0, axis)
