from __future__ import annotations

import numpy as np
import pytest

from noli.ops.autoregress import (
    COPIES,
    LAGS,
    Processes,
    edge_size,
    lay_tiles,
    moments,
    response,
    sweep,
    tiles,
    try_out,
)


def slow_sweep(weights: np.ndarray, edge: np.ndarray, height: int, width: int) -> np.ndarray:
    """One picture, pixel by pixel in reading order."""
    values = iter(edge.tolist())
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            out[i, j] = next(values) if i < 2 or j < 2 else 0.0
    for i in range(2, height):
        for j in range(2, width):
            window = out[i - 2 : i + 1, j - 2 : j + 1].ravel()[:8]
            out[i, j] = sum(w * x for w, x in zip(weights.tolist(), window.tolist(), strict=True))
    return out


def slow_response(weights: np.ndarray, noise: np.ndarray) -> float:
    height, width = noise.shape
    answers = [
        noise[i - 2 : i + 1, j - 2 : j + 1].ravel() @ np.append(weights, -1)
        for i in range(2, height)
        for j in range(2, width)
    ]
    return float(np.sqrt(np.mean(np.square(answers)) / np.mean(noise**2)))


def tame_weights(count: int, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).random((8, count))
    return raw / raw.sum(axis=0)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 9), (9, 2), (3, 3), (7, 12), (13, 6)])
def test_sweep_equals_the_loop_over_pixels(height: int, width: int) -> None:
    rng, weights = np.random.default_rng(1), tame_weights(4)
    edge = rng.normal(size=(edge_size(height, width), 4))
    fast = sweep(weights, edge, height, width)
    for m in range(4):
        np.testing.assert_array_equal(fast[..., m], slow_sweep(weights[:, m], edge[:, m], height, width))


def test_sweep_of_nothing_and_of_explosions() -> None:
    assert sweep(np.zeros((8, 0)), np.zeros((12, 0)), 4, 4).shape == (4, 4, 0)
    exploding = sweep(np.full((8, 1), 1e200), np.ones((edge_size(20, 20), 1)), 20, 20)
    assert not np.isfinite(exploding).all()


def test_responses_equal_the_filters() -> None:
    rng, weights = np.random.default_rng(2), tame_weights(3)
    noise = sweep(weights, rng.normal(size=(edge_size(16, 13), 3)), 16, 13)
    answers = response(weights, moments(noise))
    slow = [[slow_response(weights[:, a], noise[..., b]) for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(answers, slow, atol=1e-6)
    assert np.diag(answers).max() < 1e-6
    assert answers[~np.eye(3, dtype=bool)].min() > 1e-3


def test_distance_is_the_weaker_answer_of_the_nearest() -> None:
    rng, weights = np.random.default_rng(3), tame_weights(5)
    noise = sweep(weights, rng.normal(size=(edge_size(12, 12), 5)), 12, 12)
    both = Processes(weights, moments(noise))
    one, two = (Processes(weights[:, part], both.seen[part]) for part in (slice(2), slice(2, 5)))
    for a, found in enumerate(one.distance(two)):
        pairs = [
            min(slow_response(weights[:, a], noise[..., b]), slow_response(weights[:, b], noise[..., a]))
            for b in range(2, 5)
        ]
        assert found == pytest.approx(min(pairs), rel=1e-6)
    grown = one.join(two, 1)
    np.testing.assert_array_equal(grown.weights, weights[:, [0, 1, 3]])
    np.testing.assert_array_equal(grown.seen, both.seen[[0, 1, 3]])


def test_only_processes_within_the_limit_are_kept() -> None:
    weights = np.stack(
        [tame_weights(1)[:, 0], np.full(8, 0.5), COPIES[:, 0], tame_weights(1, 5)[:, 0]], axis=1
    )
    starts = np.random.default_rng(4).normal(size=(edge_size(30, 30), 3))
    kept, processes = try_out(weights, starts, 30, 4, 0.9)
    assert kept == [0, 3]
    np.testing.assert_array_equal(processes.weights, weights[:, kept])
    assert processes.seen.shape == (2, 9, 9)
    for m in range(4):
        sizes = [
            np.sqrt((slow_sweep(weights[:, m], start, 30, 30)[4:, 4:] ** 2).mean()) for start in starts.T
        ]
        assert (max(sizes) <= 0.9) == (m in kept)
    assert try_out(weights[:, 1:3], starts, 30, 4, 0.9)[0] == [1], "the smallest one where none is tame"
    assert try_out(weights[:, :3], starts, 30, 4)[0] == [0, 1, 2]


def test_copies_copy() -> None:
    edge = np.random.default_rng(5).normal(size=edge_size(6, 7))
    left, above = (sweep(COPIES[:, [m]], edge[:, None], 6, 7)[..., 0] for m in range(2))
    assert (left[2:, 2:] == left[2:, 1:2]).all()
    assert (above[2:, 2:] == above[1:2, 2:]).all()
    assert LAGS[int(np.argmax(COPIES[:, 0]))] == (0, 1)


@pytest.mark.parametrize(("length", "expected"), [(1, (1, 1)), (48, (1, 48)), (49, (2, 25)), (224, (5, 45))])
def test_tiles_cover_the_axis(length: int, expected: tuple[int, int]) -> None:
    count, side = tiles(length, 48)
    assert (count, side) == expected
    assert side <= 48
    assert length <= count * side < length + count


def test_tiles_lie_in_their_places_with_equal_strength() -> None:
    made = np.random.default_rng(6).normal(size=(3, 4, 2, 2, 3, 3)) * 5
    made[:, :, 1, 0, 2] = 0
    whole = lay_tiles(made)
    assert whole.shape == (2, 3, 6, 12)
    for n, row, column in np.ndindex(2, 2, 3):
        tile = made[:, :, n, row, column]
        expected = tile / max(np.sqrt((tile**2).sum()), 1e-9)
        placed = whole[n, :, row * 3 : row * 3 + 3, column * 4 : column * 4 + 4]
        np.testing.assert_allclose(placed.transpose(1, 2, 0), expected, rtol=1e-12)
