import numpy as np
import pytest
from coloured_shapes import subject
from hypothesis import given
from hypothesis import strategies as st

from noli.core.evidence import Row
from noli.methods.verify.verdicts import (
    bounds,
    chance,
    explain,
    from_originals,
    judge_levels,
    too_small,
    withheld,
)


def row(name, level, low, value, high):
    return Row(name=name, about="", level=level, values=(value,), value=value, low=low, high=high, n=100)


CLEAN = row("crop+flip", "naive", 0.68, 0.70, 0.72)  # chance 0.1: allowed up to 0.39, refuted above 0.41


def levels(*rows):
    return {v.level: v for v in judge_levels(rows, CLEAN, 0.1, 0.5)}


def test_chance_is_the_better_blind_guess():
    assert chance(np.array([0, 1, 2, 3]), 4) == 0.25
    assert chance(np.array([0, 0, 0, 1]), 2) == 0.75
    assert chance(np.array([0, 1]), 10) == 0.5


def test_bounds_never_profit_from_uncertainty():
    assert bounds(CLEAN, 0.1, 0.5) == pytest.approx((0.39, 0.41))
    wide = CLEAN.model_copy(update={"low": 0.05, "high": 0.99})
    assert bounds(wide, 0.1, 0.5) == pytest.approx((0.1, 0.545))


def test_each_level_includes_the_ones_below():
    found = levels(
        row("plain", "naive", 0.18, 0.20, 0.22),
        row("jpeg-10", "routine", 0.30, 0.32, 0.34),
        row("coin", "adaptive", 0.55, 0.57, 0.59),
        row("partial-50", "context", 0.6, 0.62, 0.64),
    )
    assert {k: (v.verdict, v.worst) for k, v in found.items()} == {
        "naive": ("supported", "plain"),
        "routine": ("supported", "jpeg-10"),
        "adaptive": ("not supported", "coin"),
    }
    assert all(v.bound == pytest.approx(0.39) for v in found.values())


def test_a_weaker_level_cannot_be_worse_than_a_stronger_one():
    found = levels(
        row("plain", "naive", 0.5, 0.52, 0.54),
        row("jpeg-10", "routine", 0.1, 0.12, 0.14),
        row("coin", "adaptive", 0.1, 0.1, 0.2),
    )
    assert {v.verdict for v in found.values()} == {"not supported"}
    assert {v.worst for v in found.values()} == {"plain"}


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (0.30, 0.34, 0.389, "supported"),
        (0.30, 0.34, 0.40, "inconclusive"),
        (0.395, 0.42, 0.45, "inconclusive"),
        (0.411, 0.42, 0.45, "not supported"),
    ],
)
def test_intervals_must_lie_on_the_right_side(low, value, high, expected):
    assert levels(row("plain", "naive", low, value, high))["naive"].verdict == expected


def test_a_row_with_a_wide_interval_blocks_support_even_if_another_is_higher():
    found = levels(row("plain", "naive", 0.36, 0.37, 0.38), row("crop+flip", "naive", 0.2, 0.35, 0.5))
    assert found["naive"].verdict == "inconclusive"
    assert found["naive"].worst == "crop+flip"  # the row that decides


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0.01, 0.99))
def test_verdicts_are_monotone_in_the_level(values, share):
    rows = [row(n, n, v, v, v) for n, v in zip(("naive", "routine", "adaptive"), values, strict=True)]
    order = {"supported": 0, "inconclusive": 1, "not supported": 2}
    ranks = [order[v.verdict] for v in judge_levels(rows, CLEAN, 0.1, share)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("naive", ["inconclusive", "inconclusive", "not supported"]),
        ("routine", ["supported", "inconclusive", "not supported"]),
        ("adaptive", ["supported", "supported", "not supported"]),
        ("context", ["supported", "supported", "not supported"]),
    ],
)
def test_a_row_that_was_not_measured_withholds_support_from_its_level_on(missing, expected):
    found = levels(row("plain", "naive", 0.18, 0.20, 0.22), row("coin", "adaptive", 0.55, 0.57, 0.59))
    after = withheld(tuple(found.values()), missing)
    assert [at.verdict for at in after] == expected
    assert [at.worst for at in after] == [at.worst for at in found.values()]


def leak(low, value, high, alone, alone_high):
    detail = {"leaked_only": alone, "leaked_only_high": alone_high}
    return row("leak-500-bridge", "adaptive", low, value, high).model_copy(update={"detail": detail})


@pytest.mark.parametrize(
    ("leaked", "verdict", "worst"),
    [
        # As good as the originals that leaked: no protection could have kept that.
        (leak(0.44, 0.46, 0.48, 0.45, 0.47), "supported", "plain"),
        (leak(0.30, 0.36, 0.42, 0.45, 0.47), "supported", "plain"),
        # Clearly better: the protected images taught the rest.
        (leak(0.55, 0.57, 0.59, 0.45, 0.47), "not supported", "leak-500-bridge"),
        # Below the bound it counts like every row.
        (leak(0.30, 0.32, 0.34, 0.45, 0.47), "supported", "leak-500-bridge"),
    ],
)
def test_what_the_leaked_originals_teach_alone_speaks_against_no_protection(leaked, verdict, worst):
    rows = (row("plain", "naive", 0.18, 0.20, 0.22), leaked)
    found = levels(*rows)
    assert (found["adaptive"].verdict, found["adaptive"].worst) == (verdict, worst)
    assert from_originals(leaked) == (leaked.low <= 0.47)
    text = explain(tuple(found.values()), "adaptive", CLEAN, 0.1, rows)
    told = "leak-500-bridge does not count" in text and "originals alone teach 45.0 %" in text
    assert told == (worst == "plain")


def test_the_reason_names_the_worst_row_and_where_it_stops_holding():
    found = levels(row("plain", "naive", 0.18, 0.20, 0.22), row("coin", "adaptive", 0.55, 0.57, 0.59))
    text = explain(tuple(found.values()), "routine", CLEAN, 0.1)
    for part in (
        "routine level",
        "plain",
        "20.0 %",
        "39.0 %",
        "70.0 %",
        "At the adaptive level: not supported",
        "57",
    ):
        assert part in text
    unsure = levels(row("plain", "naive", 0.3, 0.38, 0.45))
    assert "more seeds" in explain(tuple(unsure.values()), "naive", CLEAN, 0.1)


def test_too_small_names_the_reason():
    data = subject(train=80, test=120)
    assert too_small(data, 100, 10, 0.2) is None
    assert "120, at least 121" in too_small(data, 121, 10, 0.2)
    assert "about 605 pictures" in too_small(data, 121, 10, 0.2)
    assert "bar" in too_small(data, 100, 21, 0.2)
