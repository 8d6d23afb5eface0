import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError
from noli.ops.clusters import ITERATIONS, k_means, nearest


def slow_k_means(points, count, uniforms):
    """The definition, one point at a time."""
    chosen = []
    for u in uniforms:
        weights = [min([1.0] if not chosen else [float(((p - points[c]) ** 2).sum()) for c in chosen])
                   for p in points]  # fmt: skip
        mark, running, place = u * sum(weights), 0.0, None
        for index, weight in enumerate(weights):
            running += weight
            if place is None and running > mark:
                place = index
        chosen.append(place)
    centres = [points[c].astype(float) for c in chosen]
    for _ in range(ITERATIONS):
        groups = [min(range(count), key=lambda k: float(((p - centres[k]) ** 2).sum())) for p in points]
        for k in range(count):
            members = [p for p, group in zip(points, groups, strict=True) if group == k]
            if members:
                centres[k] = np.mean(members, axis=0)
    return np.stack(centres)


@pytest.mark.parametrize(("items", "width", "count"), [(7, 2, 2), (40, 5, 4), (9, 1, 9)])
def test_against_the_definition(key, items, width, count):
    points = np.random.default_rng(items).normal(size=(items, width))
    found = k_means(points, count, key.stream("test"))
    expected = slow_k_means(points, count, key.stream("test").uniform(count))
    np.testing.assert_allclose(found, expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 30), st.integers(1, 6))
def test_nearest_against_the_definition(items, count):
    rng = np.random.default_rng(items)
    points, centres = rng.normal(size=(items, 3)), rng.normal(size=(count, 3))
    expected = [int(np.argmin(((p - centres) ** 2).sum(1))) for p in points]
    assert nearest(points, centres).tolist() == expected


def test_the_key_draws_the_start_and_separate_heaps_are_found(key):
    rng = np.random.default_rng(0)
    heaps = np.concatenate([rng.normal(place, 0.1, (20, 2)) for place in (0, 5, 10)])
    found = k_means(heaps, 3, key.stream("a"))
    assert sorted(np.round(found[:, 0]).tolist()) == [0, 5, 10]
    other = k_means(rng.normal(size=(50, 2)), 5, key.stream("a"))
    assert not np.array_equal(other, k_means(rng.normal(size=(50, 2)), 5, key.stream("b")))


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.ones((9, 3)), np.arange(4.0).reshape(2, 2)])
def test_too_few_different_points(key, points):
    with pytest.raises(DataError, match="fewer different pictures than clusters"):
        k_means(points, 3, key.stream("a"))
