from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.ops.stats import accuracy_interval, wilson

Z95 = 1.959963984540054


def slow_wilson(successes, trials, z=Z95):
    """The interval's definition: all p whose score test does not reject; ends found by bisection."""
    share = successes / trials

    def rejected(p):
        return abs(share - p) > z * sqrt(p * (1 - p) / trials)

    def edge(outside, inside):
        for _ in range(200):
            middle = (outside + inside) / 2
            outside, inside = (middle, inside) if rejected(middle) else (outside, middle)
        return inside

    return (edge(0.0, share) if share > 0 else 0.0), (edge(1.0, share) if share < 1 else 1.0)


@given(trials=st.integers(1, 5000), data=st.data())
@settings(max_examples=60, deadline=None)
def test_wilson_inverts_the_score_test(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    slow_low, slow_high = slow_wilson(successes, trials)
    assert low == pytest.approx(slow_low, abs=1e-9)
    assert high == pytest.approx(slow_high, abs=1e-9)
    assert 0 <= low <= successes / trials <= high <= 1


def test_wilson_known_values_and_refusals():
    assert wilson(10, 100) == pytest.approx((0.05522914, 0.17436566), abs=1e-7)
    assert wilson(5, 10, 0.99)[0] < wilson(5, 10, 0.95)[0]
    for bad in ((-1, 10), (11, 10), (0, 0)):
        with pytest.raises(ValueError, match="successes"):
            wilson(*bad)


def test_one_seed_gives_wilson():
    correct = np.arange(200)[None] < 60
    assert accuracy_interval(correct) == (0.3, *wilson(60, 200))


def test_disagreeing_seeds_widen_the_interval():
    agree = np.tile(np.arange(500) < 250, (3, 1))
    apart = np.stack([np.arange(500) < k for k in (100, 250, 400)])
    mean, low, high = accuracy_interval(apart)
    _, agree_low, agree_high = accuracy_interval(agree)
    assert mean == pytest.approx(0.5)
    assert low < agree_low - 0.05
    assert high > agree_high + 0.05
    # Never narrower than the test items alone allow.
    assert agree_low <= wilson(250, 500)[0]
    assert agree_high >= wilson(250, 500)[1]


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05])
def test_interval_covers_the_truth_as_often_as_it_says(seeds, spread):
    # A training is as good as its luck allows; one seed alone cannot know how much that is.
    generator, hits = np.random.default_rng(3), 0
    for _ in range(400):
        skill = np.clip(0.3 + (spread if seeds > 1 else 0) * generator.standard_normal(seeds), 0, 1)
        _, low, high = accuracy_interval(generator.random((seeds, 300)) < skill[:, None])
        hits += low <= 0.3 <= high
    assert hits / 400 > 0.925


def test_several_seeds_follow_student():
    correct = np.stack([np.arange(1000) < k for k in (300, 340, 320)])
    mean, low, high = accuracy_interval(correct)
    student = 4.302652729911275 * 0.02 / sqrt(3)  # 97.5 % point of t with 2 degrees of freedom
    items = wilson(320, 1000)
    assert mean == pytest.approx(0.32)
    assert low == pytest.approx(0.32 - sqrt(student**2 + (0.32 - items[0]) ** 2))
    assert high == pytest.approx(0.32 + sqrt(student**2 + (items[1] - 0.32) ** 2))
    assert accuracy_interval(np.array([[True] * 9, [False] * 9]))[1:] == (0.0, 1.0)
