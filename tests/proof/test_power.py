"""Powers and critical values against brute force, enumeration and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from noli.ops.evalues import StopRule, hit_log_evidence
from noli.ops.exact import poisson_binomial_tail, rank_sum_tail, sign_flip_tail
from noli.proof import power


def fewest(trials: int, chance: float, level: float) -> int:
    return int(power.fewest_hits(np.array([trials]), chance, level)[0])


def tail(hits: int, trials: int, chance: float) -> float:
    """P[at least `hits`], term by term."""
    terms = (math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(hits, trials + 1))
    return math.fsum(terms)


# Classes, k, keys -> fewest hits for p <= 1e-6; computed elsewhere, when the reference was read.
TABLE = [
    (1000, 10, 10, 5), (1000, 10, 20, 6), (1000, 1, 10, 3), (100, 1, 10, 5), (100, 1, 20, 6),
    (10, 1, 10, 8), (10, 1, 20, 11), (10, 1, 50, 18), (10, 1, 100, 28), (2, 1, 20, 20), (2, 1, 50, 42),
]  # fmt: skip


@pytest.mark.parametrize(("classes", "k", "keys", "hits"), TABLE)
def test_fewest_hits_as_in_the_table(classes, k, keys, hits):
    assert fewest(keys, k / classes, 1e-6) == hits


def test_ten_keys_prove_nothing_of_a_binary_task():
    assert fewest(10, 0.5, 1e-6) == 11


@pytest.mark.parametrize("chance", [0.001, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("level", [0.05, 1e-6, 1e-30])
def test_fewest_hits_are_the_first_whose_exact_p_is_small_enough(chance, level):
    trials = np.arange(1, 40)
    for n, hits in zip(trials, power.fewest_hits(trials, chance, level), strict=True):
        small = [h for h in range(n + 1) if poisson_binomial_tail([chance] * n, h) <= level]
        assert hits == (small[0] if small else n + 1)


def test_a_p_value_of_alpha_itself_is_decided_as_a_check_decides_it():
    assert poisson_binomial_tail([0.1] * 6, 6) > 1e-6  # by rounding: 0.1 is no binary fraction
    assert fewest(6, 0.1, 1e-6) == 7
    assert poisson_binomial_tail([0.001] * 2, 2) == 1e-6
    assert fewest(2, 0.001, 1e-6) == 2
    assert [power.largest_rank_sum(n, 9, 10.0**-n) >= 0 for n in range(2, 9)] == [
        rank_sum_tail([0] * n, [9] * n) <= 10.0**-n for n in range(2, 9)
    ]


@pytest.mark.parametrize(
    ("chance", "rate", "level", "wanted"),
    [(0.1, 0.4, 1e-6, 0.9), (0.5, 0.9, 1e-6, 0.9), (0.01, 0.2, 1e-4, 0.99), (0.25, 0.45, 0.01, 0.8)],
)
def test_fewest_trials_against_a_plain_search(chance, rate, level, wanted):
    def enough(n: int) -> bool:
        hits = next((h for h in range(n + 2) if tail(h, n, chance) <= level), n + 1)
        return tail(hits, n, rate) >= wanted

    expected = next(n for n in range(1, 400) if enough(n))
    assert power.fewest_trials(chance, rate, level, wanted, 100_000) == expected
    assert power.fewest_trials(chance, rate, level, wanted, expected) == expected
    assert power.fewest_trials(chance, rate, level, wanted, expected - 1) is None


def test_blocks_of_the_search_leave_nothing_out():
    found = np.concatenate(list(power._blocks(20_000)))
    assert (found == np.arange(1, 20_001)).all()


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (1, 10), (12, 30), (30, 30), (400, 1000)])
def test_the_bound_of_a_pilot_is_clopper_and_pearson_s(hits, trials):
    bound = power.pilot_bound(hits, trials)
    expected = stats.beta.ppf(0.05, hits, trials - hits + 1) if hits else 0.0
    assert bound == pytest.approx(expected)
    if hits:  # so many hits are a surprise of 5 % if the rate is that low
        assert tail(hits, trials, bound) == pytest.approx(0.05)
        assert bound < hits / trials


@pytest.mark.parametrize(("rate", "median"), [(0.9, 9), (0.5, 29), (0.3, 98)])
def test_a_sequence_needs_no_more_queries_than_was_measured_before(rate, median):
    taken = power.queries_to_evidence(0.1, rate, StopRule(1e-6, 10_000), seed=0)
    assert np.median(taken) <= median
    assert (np.diff(taken[np.isfinite(taken)]) >= 0).all()


def test_a_sequence_is_that_of_the_evidence_itself():
    rule = StopRule(1e-3, 500)
    for run in range(20):
        hits = (np.random.default_rng((3, run)).random(500) < 0.3).tolist()
        count, why = rule.stop(hit_log_evidence(hits, [0.1] * 500))
        expected = count if why == "evidence reached" else math.inf
        assert power._one_sequence(0.1, 0.3, rule, np.random.default_rng((3, run))) == expected


def test_a_model_without_marks_is_rarely_accused():
    taken = power.queries_to_evidence(0.1, 0.1, StopRule(0.05, 64, futile=0), seed=1)
    assert np.isfinite(taken).mean() <= 0.05 + 3 * power.share_error(0.05)


@pytest.mark.parametrize("others", [1, 3, 15])
@pytest.mark.parametrize("level", [0.05, 1e-6, 1e-12])
@pytest.mark.parametrize("documents", [1, 2, 7, 20, 60])
def test_the_largest_rank_sum_is_the_last_whose_exact_p_is_small_enough(others, level, documents):
    def exact(total: int) -> float:
        full, rest = divmod(total, others)
        ranks = ([others] * full + [rest] + [0] * documents)[:documents]
        return rank_sum_tail(ranks, [others] * documents)

    cut = power.largest_rank_sum(documents, others, level)
    assert cut == -1 or exact(cut) <= level
    assert exact(cut + 1) > level


def test_far_tails_of_many_documents_keep_their_digits():
    cut = power.largest_rank_sum(300, 4, 1e-40)
    ranks = [4] * (cut // 4) + [cut % 4] + [0] * (299 - cut // 4)
    assert rank_sum_tail(ranks, [4] * 300) <= 1e-40
    assert rank_sum_tail([*ranks[:-1], 1], [4] * 300) > 1e-40


def test_the_law_of_ranks_in_the_normal_model():
    assert power.rank_law(7, 0.0) == pytest.approx(np.full(8, 1 / 8))
    assert power.rank_law(1, 0.6)[0] == pytest.approx(stats.norm.cdf(0.6 / math.sqrt(2)))
    draw = np.random.default_rng(0)
    others, released = draw.standard_normal((100_000, 5)), draw.standard_normal(100_000) + 0.8
    ranks = (others >= released[:, None]).sum(1)
    shares = np.bincount(ranks, minlength=6) / 100_000
    assert power.rank_law(5, 0.8) == pytest.approx(shares, abs=5 * 0.5 / math.sqrt(100_000))


def test_the_power_of_rank_sums_against_every_outcome():
    law = np.array([0.5, 0.3, 0.2])
    cut = power.largest_rank_sum(6, 2, 0.05)
    every = itertools.product(range(3), repeat=6)
    expected = math.fsum(math.prod(law[list(ranks)]) for ranks in every if sum(ranks) <= cut)
    assert power.rank_power(law, 6, 0.05) == pytest.approx(expected)
    assert power.rank_power(law, 1, 0.05) == 0.0


def every_vote(bits: int, pictures: int, accuracy: float, level: float) -> float:
    """Power over every outcome of the votes."""
    right = [tail(k, pictures, accuracy) - tail(k + 1, pictures, accuracy) for k in range(pictures + 1)]
    total = 0.0
    for counts in itertools.product(range(pictures + 1), repeat=bits):
        votes = [2.0 * k - pictures for k in counts]
        if sign_flip_tail(votes, [1] * bits) <= level:
            total += math.prod(right[k] for k in counts)
    return total


def test_the_power_of_one_picture_is_exact():
    assert power.votes_power(8, 0.8, 1, 0.05, seed=0) == pytest.approx(every_vote(8, 1, 0.8, 0.05))


@pytest.mark.parametrize("pictures", [2, 3])
def test_the_power_of_votes_against_every_outcome(pictures):
    exact = every_vote(6, pictures, 0.75, 0.05)
    found = power.votes_power(6, 0.75, pictures, 0.05, seed=0)
    assert found == pytest.approx(exact, abs=4 * power.share_error(exact))
    assert power.votes_power(6, 0.75, pictures, 0.05, seed=0) == found


def test_a_count_that_cannot_reach_the_power_ends_early():
    whole = power.votes_power(20, 0.7, 3, 1e-4, seed=0)
    assert power.votes_power(20, 0.7, 3, 1e-4, seed=0, wanted=whole) == whole
    assert power.votes_power(20, 0.7, 3, 1e-4, seed=0, wanted=whole + 0.01) < whole + 0.01


def test_the_bound_of_many_votes_never_gives_more_power(monkeypatch):
    exact = power.votes_power(32, 0.72, 5, 1e-4, seed=0)
    monkeypatch.setattr(power, "MANY_VOTES", 0)
    assert 0.2 < power.votes_power(32, 0.72, 5, 1e-4, seed=0) <= exact < 1


def test_the_power_among_decoys():
    assert power.decoy_power(2, 1, 0.6) == pytest.approx(stats.norm.cdf(0.6 / math.sqrt(2)))
    assert power.decoy_power(40, 2, 0.0) == pytest.approx(2 / 40)
    draw = np.random.default_rng(0)
    scores, true = draw.standard_normal((50_000, 39)), draw.standard_normal(50_000) + 2.5
    share = ((scores >= true[:, None]).sum(1) < 2).mean()
    assert power.decoy_power(40, 2, 2.5) == pytest.approx(share, abs=5 * 0.5 / math.sqrt(50_000))


@pytest.mark.parametrize("first", [1, 5, 8, 9, 100, 777, 1000])
@pytest.mark.parametrize("scanned", [1, 8])
def test_the_smallest_number_is_found(first, scanned):
    asked = []

    def power_of(count: int) -> float:
        asked.append(count)
        return float(count >= first)

    assert power.smallest(power_of, 0.9, 1000, scanned) == first
    assert len(asked) < 40
    assert power.smallest(lambda n: 0.0, 0.9, 1000, scanned) is None
    assert power.smallest(lambda n: 0.0, 0.9, 3, 8) is None
