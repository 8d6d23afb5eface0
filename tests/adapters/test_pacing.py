"""Pauses: the rate is a promise, and a service's own wish is understood in both of its forms."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Time

from noli.adapters.pacing import Pacer, planned_seconds, retry_after, utc


def pacer(time: Time, rate: float | None, jitter: float = 0.0, draw: float = 0.5) -> Pacer:
    return Pacer(rate, jitter, time.clock, time.sleep, lambda: draw)


def test_requests_are_kept_apart_and_a_slow_answer_needs_no_pause() -> None:
    time = Time()
    one = pacer(time, 4)
    one.turn()
    one.turn()
    time.moment += 0.1
    one.turn()
    time.moment += 9
    one.turn()
    assert time.waits == pytest.approx([0.25, 0.15])


def test_without_a_rate_there_is_no_pause() -> None:
    time = Time()
    one = pacer(time, None, 1.0)
    for _ in range(5):
        one.turn()
    assert time.waits == []


@given(st.floats(0.01, 1000), st.floats(0, 1), st.lists(st.floats(0, 1, exclude_max=True), min_size=2))
@settings(deadline=None)
def test_no_jitter_breaks_the_rate(rate: float, jitter: float, draws: list[float]) -> None:
    time, sent, left = Time(), [], list(draws)
    one = Pacer(rate, jitter, time.clock, time.sleep, lambda: left.pop())
    for _ in draws:
        one.turn()
        sent.append(time.moment)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert all((1 - 1e-9) / rate <= gap <= (1 + 1e-9) * (1 + jitter) / rate for gap in gaps)


def test_pauses_before_another_try() -> None:
    time = Time()
    one = pacer(time, None, jitter=0.5, draw=1.0)
    one.pause(4, 60)
    one.pause(4, 60, exact=True)
    one.pause(50, 60)
    one.pause(900, 60, exact=True)
    one.pause(0, 60)
    assert time.waits == [6, 4, 60, 60]


NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT
DATE = "Wed, 21 Oct 2015 07:28:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 -0000"}, 30.0),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 07:28:20 GMT"}, 10.0),
        ({"retry-after": DATE, "date": "yesterday"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_the_plan_counts_gaps() -> None:
    assert planned_seconds(11, 2, 0.0) == 5.0
    assert planned_seconds(11, 2, 0.5) == 6.25
    assert planned_seconds(0, 2, 0.5) == 0
    assert planned_seconds(100, None, 0.5) == 0


def test_times_are_utc_with_milliseconds() -> None:
    assert utc(NOW + 0.25) == "2015-10-21T07:28:00.250+00:00"
