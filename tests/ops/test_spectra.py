from __future__ import annotations

import numpy as np
import pytest

from noli.ops.spectra import attraction_entropy, nearest_distance, signature


def slow_distance(f: np.ndarray, g: np.ndarray, grid: int = 32) -> float:
    """Weighted log-spectral distance by explicit sums over all frequencies but zero."""
    k = np.arange(len(f))
    total, weight = 0.0, 0.0
    for u in range(grid):
        for v in range(grid):
            if (u, v) == (0, 0):
                continue
            wave = np.exp(-2j * np.pi * (u * k[:, None] + v * k[None]) / grid)
            logs = [np.log((abs((h / h.sum() * wave).sum()) + 0.02) / 1.02) for h in (f, g)]
            fu, fv = min(u, grid - u) / grid, min(v, grid - v) / grid
            total += (logs[0] - logs[1]) ** 2 / (fu**2 + fv**2)
            weight += 1 / (fu**2 + fv**2)
    return float(np.sqrt(total / weight))


def kernels(n: int, k: int = 3, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).uniform(0, 0.3, (n, k, k)).astype(np.float32)
    made[:, k // 2, 0] = 1
    return made


@pytest.mark.parametrize("k", [3, 5])
def test_distance_equals_the_explicit_sum(k: int) -> None:
    f, g = kernels(2, k)
    vectors = signature(np.stack([f, g]))
    assert np.linalg.norm(vectors[0] - vectors[1]) == pytest.approx(slow_distance(f, g), rel=1e-4)


def test_distance_ignores_shift_and_exposure() -> None:
    f = np.zeros((5, 5), np.float32)
    f[1:4, 1:4] = kernels(1)[0]
    moved, brighter = np.roll(f, (1, -1), axis=(0, 1)), f * 3
    vectors = signature(np.stack([f, moved, brighter]))
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)
    np.testing.assert_allclose(vectors[2], vectors[0], atol=1e-6)


def test_identity_is_the_origin() -> None:
    identity = np.zeros((1, 3, 3), np.float32)
    identity[0, 1, 1] = 1
    assert np.abs(signature(identity)).max() < 1e-6
    assert np.linalg.norm(signature(kernels(1))) > 0.1


def test_nearest_distance_equals_a_loop() -> None:
    a, b = signature(kernels(4, seed=1)), signature(kernels(6, seed=2))
    loop = [min(float(np.linalg.norm(x - y)) for y in b) for x in a]
    np.testing.assert_allclose(nearest_distance(a, b), loop, atol=1e-6)
    assert np.isinf(nearest_distance(a, b[:0])).all()


def test_entropy_is_low_when_one_filter_is_nearest_to_the_identity() -> None:
    even, one = np.full(10, 0.5), np.full(10, 0.5)
    one[3] = 0.1
    assert attraction_entropy(even) == pytest.approx(np.log(10))
    assert attraction_entropy(one) < 0.9
