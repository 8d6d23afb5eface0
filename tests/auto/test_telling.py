"""What a choice says, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from auto_fakes import choice, quality, table

from noli.core.choice import Choice
from noli.core.key import Key
from noli.engine.auto.telling import refusal


def test_a_pick_that_holds_is_explained_with_its_figures(key: Key) -> None:
    found = choice(table(good=0.2, bad=0.7), key)
    assert (found.picked, found.verdict, found.holds, found.complete) == ("good", "supported", True, True)
    for said in ("good: PSNR 30.0 dB, SSIM 0.90", "3 trainings", "20.0 %", "80.0 %", "10.0 %", "40.0 %",
                 "It holds.", "Nothing else"):  # fmt: skip
        assert said in found.reason
    assert [tried.standing for tried in found.candidates] == ["picked", "dominated"]
    assert "good is no worse" in found.candidates[1].reason
    assert refusal(found, anyway=False) is None
    assert Choice.model_validate_json(found.model_dump_json()) == found


def test_a_sharper_equal_is_explained(key: Key) -> None:
    bench = table(low=0.20, sharp=0.22, third=0.23)
    bench.looks["sharp"] = quality(35)
    found = choice(bench, key)
    assert found.picked == "sharp"
    assert "low reached less (20.0 %)" in found.reason
    bench.looks["sharp"], bench.looks["low"] = quality(29), quality(31)
    assert "sharp, third came within its interval" in choice(bench, key).reason


@pytest.mark.parametrize(
    ("value", "verdict", "says"),
    [
        (0.38, "inconclusive", "It holds as far as it was measured, but by less than the uncertainty."),
        (0.42, "inconclusive", "It does not hold, though by less than the uncertainty."),
        (0.7, "not supported", "It does not hold."),
    ],
)
def test_what_does_not_hold_is_said_and_refused_without_a_flag(
    key: Key, value: float, verdict: str, says: str
) -> None:
    found = choice(table(x=value), key)
    assert (found.verdict, found.holds) == (verdict, value < 0.4)
    assert says in found.reason
    error = refusal(found, anyway=False)
    assert (error is None) == found.holds
    if error is not None:
        assert error.choice == found
        assert error.exit_code == 1
        assert f"{100 * value:.1f} %" in str(error.why)
        assert "--anyway" in str(error.fix)
        assert "--claim" in str(error.fix)
        assert "--time" not in str(error.fix)
        assert refusal(found, anyway=True) is None


def test_the_best_quality_and_the_flag_are_named_where_nothing_meets_the_floor(key: Key) -> None:
    bench = table(x=0.1, y=0.1)
    bench.looks = {"x": quality(19.87, 0.666), "y": quality(18, 0.9)}
    found = choice(bench, key, psnr=22, ssim=0.7)
    assert (found.picked, found.verdict, found.holds, found.pick) == (None, None, False, None)
    assert {t.name: t.reason for t in found.candidates} == {
        "x": "PSNR 19.8 dB, SSIM 0.66", "y": "PSNR 18.0 dB"
    }  # fmt: skip
    error = refusal(found, anyway=True)
    assert error is not None
    assert "19.8 dB with SSIM 0.66" in str(error.why)
    assert "--psnr 19.8 --ssim 0.66 (x)" in str(error.fix)
    accepted = choice(bench, key, psnr=19.8, ssim=0.66)
    assert accepted.picked == "x"


def test_unmeasured_rows_are_named_and_a_part_is_no_proof(key: Key) -> None:
    found = choice(table(x=0.1), key, budget=1.5, time=1.5)
    assert (found.complete, found.verdict, found.holds) == (False, "inconclusive", False)
    assert "No row that was measured is above that, but not all were measured." in found.reason
    error = refusal(found, anyway=False)
    assert error is not None
    assert error.what == "Time ran out before a candidate was measured under every countermeasure."
    assert refusal(found, anyway=True) is None
    assert "1 of 3 rows was not measured (c)" in found.reason
    assert found.covers(found.candidates[0], "routine")
    assert not found.covers(found.candidates[0], "adaptive")
    bench = table(x=0.1, y=0.7)
    bench.looks["y"] = quality(40)
    late = choice(bench, key, budget=3.5)
    assert late.candidates[1].reason == "2 of 3 rows were not measured (b, c)"
    assert late.candidates[1].standing == "unfinished"


def test_what_was_not_tried_for_want_of_time_comes_before_a_lower_floor(key: Key) -> None:
    bench = table(x=0.1, y=0.1)
    bench.looks["x"] = quality(10, 0.1)
    error = refusal(choice(bench, key, budget=0.0), anyway=True)
    assert error is not None
    assert error.what == "No candidate that was tried meets the floor."
    assert str(error.fix).startswith("give more --time (y); or accept")


def test_more_time_is_the_advice_when_it_ran_out(key: Key) -> None:
    found = choice(table(x=0.7, y=0.7), key, budget=2.5)
    error = refusal(found, anyway=False)
    assert error is not None
    assert str(error.fix).startswith("give more --time, or")


def test_only_failures_are_reported_with_their_reasons(key: Key) -> None:
    bench = table(x=0.1, y=0.1)
    bench.looks = {"x": "No package.", "y": "Grey."}
    error = refusal(choice(bench, key), anyway=True)
    assert error is not None
    assert error.what == "No candidate could be tried."
    assert error.why == "x: No package.; y: Grey."
    assert error.fix == "see the reasons; name others with --only"  # more time would not help


def test_an_unchanged_picture_has_no_psnr_and_trial_options_are_told(key: Key, tmp_path: Path) -> None:
    bench = table(x=0.1)
    bench.looks["x"] = quality(math.inf, 1.0)
    candidate = replace(bench.candidates()[0], trial={"network": "tiny"})
    bench.candidates = lambda: [candidate]  # type: ignore[method-assign]
    found = choice(bench, key)
    assert (found.candidates[0].psnr, found.candidates[0].images) == (None, 8)
    assert "PSNR identical" in found.reason
    assert "tried with network=tiny" in found.reason
    assert found.source == str(Path("photos").resolve())
    assert found.key == key.id
