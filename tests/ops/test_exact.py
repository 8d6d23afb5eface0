"""Exact tails against enumeration of every outcome, and what they must refuse."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from noli.ops.exact import (
    TINY,
    decoy_rank,
    monte_carlo,
    poisson_binomial_tail,
    rank_sum_tail,
    sign_flip_tail,
    whole_votes,
)

chances = st.lists(st.integers(0, 8).map(lambda k: k / 8), min_size=0, max_size=8)


@given(chances, st.data())
def test_the_tail_of_unequal_trials_is_the_sum_over_all_outcomes(p, data):
    hits = data.draw(st.integers(0, len(p)))
    enumerated = sum(
        prod(Fraction(q) if one else 1 - Fraction(q) for q, one in zip(p, outcome, strict=True))
        for outcome in product((0, 1), repeat=len(p))
        if sum(outcome) >= hits
    )
    assert poisson_binomial_tail(p, hits) == pytest.approx(max(float(enumerated), TINY), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "p", "hits"), [(50, 0.1, 18), (100, 0.1, 100), (1000, 0.01, 40), (20, 0.5, 20)]
)
def test_equal_chances_give_the_binomial_tail_with_all_its_digits(n, p, hits):
    assert poisson_binomial_tail([p] * n, hits) == pytest.approx(binom.sf(hits - 1, n, p), rel=1e-9)


def test_no_p_value_is_zero():
    assert poisson_binomial_tail([1e-3] * 400, 400) == TINY
    assert poisson_binomial_tail([0.0], 1) == TINY


def test_labels_without_replacement_would_be_another_law():
    """The spec's example: C = 20 classes, lists of k = 5, N = 10 keys, a constant predictor, 5 hits."""
    assert hypergeom.sf(4, 20, 5, 10) == pytest.approx(0.016, abs=5e-4)
    assert poisson_binomial_tail([5 / 20] * 10, 5) == pytest.approx(0.078, abs=5e-4)


@given(st.lists(st.integers(1, 4), min_size=0, max_size=5), st.data())
def test_the_tail_of_rank_sums_is_a_count_of_all_rankings(others, data):
    ranks = [data.draw(st.integers(0, k)) for k in others]
    rankings = list(product(*(range(k + 1) for k in others)))
    share = sum(sum(one) <= sum(ranks) for one in rankings) / len(rankings)
    assert rank_sum_tail(ranks, others) == pytest.approx(share, rel=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=0, max_size=9), st.data())
def test_the_tail_over_message_bits_is_a_count_of_all_messages(votes, data):
    signs = [data.draw(st.sampled_from([-1, 1])) for _ in votes]
    observed = sum(v * s for v, s in zip(votes, signs, strict=True))
    flips = list(product((-1, 1), repeat=len(votes)))
    share = sum(sum(v * s for v, s in zip(votes, one, strict=True)) >= observed for one in flips) / len(flips)
    assert sign_flip_tail(votes, signs) == pytest.approx(share, rel=1e-12)


def test_unanimous_votes_reach_the_floor_of_the_message():
    votes = np.array([20, -20] * 24)
    assert sign_flip_tail(votes, np.sign(votes)) == 2.0**-48
    assert sign_flip_tail(np.zeros(5), np.ones(5, int)) == 1.0
    assert sign_flip_tail([], []) == 1.0


def test_real_votes_are_an_exact_test_of_their_rounded_values():
    votes = np.random.default_rng(0).normal(size=12) * 3
    whole = whole_votes(votes)
    assert np.abs(whole).max() == 4096
    assert np.corrcoef(whole, votes)[0, 1] > 0.999999
    signs = np.sign(votes).astype(int)
    signs[:3] *= -1
    flips = np.array(list(product((-1, 1), repeat=12)))
    share = (flips @ whole >= signs @ whole).mean()
    assert sign_flip_tail(votes, signs) == pytest.approx(share, rel=1e-12)


def test_the_trigger_is_ranked_among_its_decoys_and_ties_count_against_it():
    assert decoy_rank(5.0, [1.0, 2.0, 3.0]) == 1 / 4
    assert decoy_rank(5.0, [5.0, 2.0, 3.0]) == 2 / 4
    assert decoy_rank(0.0, [5.0, 2.0, 3.0]) == 1.0
    assert decoy_rank(1.0, []) == 1.0


def test_redraws_give_a_p_value_with_its_error():
    p, error = monte_carlo(0, 999)
    assert p == 1e-3
    assert error == pytest.approx(1e-3, rel=1e-2)
    assert monte_carlo(999, 999)[0] == 1.0


@pytest.mark.parametrize("draws", [1, 7, 20, 999])
def test_the_p_value_of_redraws_needs_no_margin_for_its_error(draws):
    """Without ties the real secret's rank among all 1 + draws is uniform: count the ranks that accuse."""
    p_values = [monte_carlo(reached, draws)[0] for reached in range(draws + 1)]
    for alpha in (1e-3, 0.01, 0.05, 0.3):
        assert sum(p <= alpha for p in p_values) / (draws + 1) <= alpha


@pytest.mark.parametrize(
    "call",
    [
        lambda: poisson_binomial_tail([0.5, 1.5], 1),
        lambda: poisson_binomial_tail([float("nan")], 1),
        lambda: poisson_binomial_tail([0.5], 2),
        lambda: rank_sum_tail([2], [1]),
        lambda: rank_sum_tail([0], [0]),
        lambda: rank_sum_tail([0, 1], [1]),
        lambda: sign_flip_tail([1.0], [0]),
        lambda: sign_flip_tail([1.0, float("inf")], [1, 1]),
        lambda: sign_flip_tail([1.0, 2.0], [1]),
        lambda: monte_carlo(3, 2),
    ],
)
def test_nonsense_is_refused(call):
    with pytest.raises(ValueError):  # noqa: PT011
        call()


@pytest.mark.parametrize("bias", [0.0, 1.2, 4.0])
def test_pooled_bits_of_a_biased_extractor_keep_the_error_rate(bias):
    """Pooling the bits of 20 pictures as if they were independent does not (the spec's simulation)."""
    draw = np.random.default_rng(7)
    tilt = 1 / (1 + np.exp(-draw.normal(0, bias, 48)))
    exact = pooled = 0
    for _ in range(1000):
        signs = draw.choice([-1, 1], 48)
        votes = 2 * draw.binomial(20, tilt) - 20
        exact += sign_flip_tail(votes, signs) <= 0.01
        pooled += binom.sf((votes * signs).sum() / 2 + 480 - 1, 960, 0.5) <= 0.01
    assert exact <= 22  # P[Binomial(1000, 0.01) > 22] = 0.0002
    assert pooled > 50 or bias == 0.0
