"""How far apart two filters are for natural images.

Natural images have power near ``1 / frequency^2``, so a difference at low frequencies weighs most. The
distance between filters f and g is the root mean square of ``log|F| - log|G|`` with those weights, both
scaled to 1 at frequency 0 (exposure does not count). It ignores shifts, as convolutional networks nearly do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GRID = 32
_FLOOR = 0.02  # keeps the logarithm finite where a filter blocks a frequency

Vectors = npt.NDArray[np.float64]


def signature(kernels: npt.NDArray[np.float32]) -> Vectors:
    """Map kernels ``[N, k, k]`` to vectors ``[N, D]`` whose Euclidean distance is the filter distance.

    The identity maps to (nearly) the zero vector, so a vector's length is the distance to clean images.
    """
    n = len(kernels)
    total = kernels.sum(axis=(1, 2), dtype=np.float64)
    unit = kernels / np.where(np.abs(total) > 1e-6, total, 1.0)[:, None, None]
    k = kernels.shape[-1]
    grid = max(_GRID, 2 * k)
    magnitude = np.abs(np.fft.rfft2(unit, (grid, grid)))
    logs = np.log((magnitude + _FLOOR) / (1.0 + _FLOOR))
    return np.asarray((logs * _weights(grid)).reshape(n, -1))


def _weights(grid: int) -> Vectors:
    rows, columns = np.fft.fftfreq(grid)[:, None], np.fft.rfftfreq(grid)[None]
    power = rows**2 + columns**2
    power[0, 0] = 1.0
    weight = 1.0 / power
    weight[0, 0] = 0.0
    weight[:, 1:-1] *= 2.0  # rfft keeps one half of the symmetric spectrum
    return np.asarray(np.sqrt(weight / weight.sum()))


def nearest_distance(candidates: Vectors, taken: Vectors) -> npt.NDArray[np.float64]:
    """Distance of every candidate ``[N, D]`` to the nearest of ``taken [M, D]`` (infinity when M is 0)."""
    if len(taken) == 0:
        return np.full(len(candidates), np.inf)
    square = (candidates**2).sum(1)[:, None] + (taken**2).sum(1)[None] - 2.0 * candidates @ taken.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)).min(axis=1))


def attraction_entropy(distances: npt.NDArray[np.float64], temperature: float = 0.2) -> float:
    """How evenly clean images would be shared between classes, in nats; small predicts strong protection.

    A network trained on filtered classes sends a clean image to the class whose filter is nearest to
    doing nothing. Shares are ``softmax(-d / (temperature * mean d))``; where one class takes all, clean
    accuracy collapses (`benchmarks/keys.py` measures how well this predicts).

    Args:
        distances: Distance of each class's filter to the identity, ``[K]``.
        temperature: Softness, relative to the mean distance.
    """
    scaled = -distances / (temperature * max(float(distances.mean()), 1e-12))
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    return float(-(shares * np.log(shares + 1e-12)).sum())
