"""E-values: their expectation over all outcomes is 1, looking early is safe, rules stop where they say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.ops.evalues import HIT_RATES, StopRule, anytime_p, hit_log_evidence, tilt_log_evidence
from noli.ops.multiplicity import e_bh, holm


@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.95, 1.0]), min_size=1, max_size=7))
def test_the_expected_evidence_of_hits_is_one(chances):
    expected = np.zeros(len(chances))
    for outcome in product((False, True), repeat=len(chances)):
        weight = np.prod([p if hit else 1 - p for p, hit in zip(chances, outcome, strict=True)])
        if weight > 0:
            expected += weight * np.exp(hit_log_evidence(outcome, chances))
    assert expected == pytest.approx(1.0, rel=1e-9)


def test_evidence_is_the_mean_of_likelihood_ratios():
    hits, p = [True, False, True], 0.1
    oracle = np.mean([(q / p) * ((1 - q) / (1 - p)) * (q / p) for q in HIT_RATES])
    assert np.exp(hit_log_evidence(hits, [p] * 3)[-1]) == pytest.approx(oracle)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=4), min_size=1, max_size=3))
def test_the_expected_evidence_over_all_choices_of_the_released_variant_is_one(documents):
    expected = np.zeros(len(documents))
    choices = list(product(*(range(len(row)) for row in documents)))
    for chosen in choices:
        released = [[row[k], *row[:k], *row[k + 1 :]] for row, k in zip(documents, chosen, strict=True)]
        expected += np.exp(tilt_log_evidence(released)) / len(choices)
    assert expected == pytest.approx(1.0, rel=1e-6)


def test_scores_that_do_not_differ_say_nothing():
    assert tilt_log_evidence([[1.0, 1.0], [2.0, 2.0, 2.0]]).tolist() == [0.0, 0.0]


def test_looking_after_every_query_keeps_the_error_rate_where_a_repeated_tail_does_not():
    draw, alpha = np.random.default_rng(3), 0.01
    hits = draw.random((2000, 200)) < 0.1
    reached = sum(hit_log_evidence(row, [0.1] * 200).max() >= -np.log(alpha) for row in hits)
    assert reached <= 33  # P[Binomial(2000, 0.01) > 33] = 0.002
    from scipy.stats import binom

    tails = binom.sf(hits.cumsum(1) - 1, np.arange(1, 201), 0.1).min(1)
    assert (tails <= alpha).mean() > 0.04


@pytest.mark.parametrize(("rate", "queries"), [(0.9, 9), (0.5, 29), (0.3, 98)])
def test_a_marked_model_is_found_after_as_few_queries_as_the_specification_says(rate, queries):
    draw = np.random.default_rng(5)
    needed = []
    for row in draw.random((200, 600)) < rate:
        evidence = hit_log_evidence(row, [0.1] * 600)
        needed.append(int(np.argmax(evidence >= np.log(1e6))) + 1)
    assert 0.7 * queries <= np.median(needed) <= 1.15 * queries


def test_a_rule_stops_for_evidence_futility_and_budget():
    rule = StopRule(alpha=0.01, budget=4, futile=0.05)
    assert rule.stop(np.log([2.0, 150.0, 1.0])) == (2, "evidence reached")
    assert rule.stop(np.log([0.5, 0.04, 200.0])) == (2, "futile")
    assert rule.stop(np.log([1.0, 2.0, 3.0, 4.0])) == (4, "budget spent")
    assert rule.stop(np.log([1.0, 2.0, 3.0, 4.0, 200.0])) == (4, "budget spent")
    assert rule.stop(np.log([1.0, 2.0])) is None
    assert rule.stop(np.array([])) is None
    assert StopRule(alpha=0.01, budget=9, futile=0.0).stop(np.array([-np.inf, -800.0])) is None


def test_the_anytime_p_value_is_the_reciprocal_of_the_largest_evidence():
    assert anytime_p(np.log([1.0, 50.0, 0.1])) == pytest.approx(0.02)
    assert anytime_p(np.log([0.5, 0.1])) == 1.0
    assert anytime_p(np.array([])) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: hit_log_evidence([True], [0.0]),
        lambda: hit_log_evidence([True], [0.1, 0.2]),
        lambda: hit_log_evidence([False], [1.5]),
        lambda: tilt_log_evidence([[1.0]]),
        lambda: tilt_log_evidence([[1.0, float("nan")]]),
        lambda: holm([1.2]),
        lambda: e_bh([-1.0], 0.05),
        lambda: e_bh([1.0], 0.0),
    ],
)
def test_nonsense_is_refused(call):
    with pytest.raises(ValueError):  # noqa: PT011
        call()


@given(st.lists(st.floats(0, 1), min_size=0, max_size=6), st.floats(0.01, 0.5))
def test_holm_rejects_what_its_step_down_procedure_rejects(p_values, alpha):
    rejected = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected.add(index)
    assert set(np.flatnonzero(holm(p_values) <= alpha)) == rejected


@given(st.lists(st.floats(0, 1000), min_size=0, max_size=6), st.floats(0.01, 0.5))
def test_e_bh_is_benjamini_hochberg_on_reciprocals(e_values, alpha):
    best = 0
    for k in range(1, len(e_values) + 1):
        if sorted(e_values, reverse=True)[k - 1] >= len(e_values) / (alpha * k):
            best = k
    assert e_bh(e_values, alpha).sum() == best
    threshold = sorted(e_values, reverse=True)[best - 1] if best else np.inf
    assert all(e_values[i] >= threshold for i in np.flatnonzero(e_bh(e_values, alpha)))
