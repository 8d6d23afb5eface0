"""Orthogonal projection (Sandoval-Segura et al. 2023, arXiv 2305.19254): remove what is read linearly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from noli.core.images import to_float, to_uint8

Images = npt.NDArray[np.uint8]
# Images are projected about mid grey, so that black and white are equally far and few values are clipped.
CENTRE = 0.5
_BLOCK = 256
_SMALLEST = 1e-6


def orthonormal(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return an orthonormal basis of the rows of `weights`.

    Args:
        weights: ``float [K, D]``, one direction a row; dependent and zero rows are left out.

    Returns:
        ``float32 [D, R]``, R <= K, columns of length 1.
    """
    rows = weights.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # Not the QR of the paper: without pivots it invents directions where rows depend on each other.
    u, sizes, _ = np.linalg.svd((rows / np.maximum(lengths, 1e-300)).T, full_matrices=False)
    basis: npt.NDArray[np.float32] = u[:, sizes > _SMALLEST].astype(np.float32)
    return basis


def project_out(x: Images, basis: npt.NDArray[np.float32]) -> Images:
    """Remove the parts of all images along the columns of `basis`, about mid grey.

    Args:
        x: ``uint8 [N, H, W, C]``.
        basis: ``float32 [C * H * W, R]`` with orthonormal columns, in the order of working images.

    Returns:
        ``uint8 [N, H, W, C]``, computed in float32, rounded and clipped once at the end.
    """
    out = np.empty_like(x)
    for start in range(0, len(x), _BLOCK):
        working = to_float(x[start : start + _BLOCK])
        flat = working.reshape(len(working), -1) - np.float32(CENTRE)
        flat -= (flat @ basis) @ basis.T
        out[start : start + _BLOCK] = to_uint8((flat + np.float32(CENTRE)).reshape(working.shape))
    return out
