"""The search gives the choice of measuring everything, with fewer trainings, and is honest when time ends."""

from __future__ import annotations

import math
from typing import Any

import pytest
from auto_fakes import FakeBench, invented, quality, row

from noli.core.choice import Floor
from noli.engine.auto.search import Board, best, search

ROWS = ("a", "b", "c", "d")
FLOOR = Floor(psnr=21.0, ssim=0.7)


def run(bench: FakeBench, budget: float = math.inf, allowed: float = 0.4, rows: Any = ROWS) -> Board:
    board = Board(bench.candidates(), rows, allowed)
    search(board, bench, FLOOR, bench.clock, bench.clock(), budget, lambda: None)
    return board


def brute(bench: FakeBench, allowed: float, broken: set[str]) -> str | None:
    """The rule of choice over everything, spelled out."""
    known = {}
    for name, found in bench.looks.items():
        if isinstance(found, str) or found.psnr < FLOOR.psnr or found.ssim < FLOOR.ssim or name in broken:
            continue
        known[name] = (max(bench.accuracy[name][r] for r in ROWS), found)
    holding = {n: v for n, v in known.items() if v[0] <= allowed}
    pool = holding or known
    if not pool:
        return None
    lowest = min(value for value, _ in pool.values())
    top = row("x", lowest).high
    equal = [n for n, (value, _) in pool.items() if value <= top]
    sharpest = max(pool[n][1].psnr for n in equal)
    equal = [n for n in equal if pool[n][1].psnr == sharpest]
    quickest = min(pool[n][1].seconds for n in equal)
    return next(n for n in equal if pool[n][1].seconds == quickest)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("allowed", [0.1, 0.4, 0.7])
def test_the_pick_is_that_of_measuring_everything(width: int, allowed: float) -> None:
    saved = 0
    for seed in range(80):
        bench = invented(seed, ROWS, width)
        board = run(bench, allowed=allowed)
        # A failing training takes its candidate out. One that nobody asked for belongs to a candidate that
        # had lost already, so it makes no difference to count all of them.
        fails = {n for n, of in bench.accuracy.items() if any(isinstance(v, str) for v in of.values())}
        picked = board.pick()
        expected = brute(bench, allowed, fails)
        assert (picked[0].candidate.name if picked else None) == expected, seed
        assert board.next() is None
        assert board.decided() == bool(board.complete)
        assert len(bench.trained) == len(set(bench.trained))
        saved += len(bench.looks) * len(ROWS) - len(bench.trained)
    assert saved > 0


def test_hopeless_candidates_cost_one_training() -> None:
    accuracy: dict[str, Any] = {f"bad{n}": dict.fromkeys(ROWS, 0.8) for n in range(5)}
    accuracy["good"] = dict.fromkeys(ROWS, 0.2)
    bench = FakeBench(accuracy, dict.fromkeys(accuracy, quality()))
    board = run(bench)
    assert len(bench.trained) == 5 + len(ROWS)
    assert board.pick() == (board.states[-1], [board.states[-1]])


def test_the_whole_frontier_is_measured_and_what_is_dominated_is_not() -> None:
    accuracy: dict[str, Any] = {
        n: dict.fromkeys(ROWS, v) for n, v in (("low", 0.2), ("fine", 0.6), ("poor", 0.6))
    }
    bench = FakeBench(accuracy, {"low": quality(25), "fine": quality(40), "poor": quality(24)})
    board = run(bench)
    assert {s.candidate.name: len(s.rows) for s in board.states} == {"low": 4, "fine": 4, "poor": 1}
    assert board.states[0].dominates(board.states[2])
    assert not board.states[0].dominates(board.states[1])
    assert not board.states[0].dominates(board.states[0])


def test_when_time_runs_out_the_most_measured_that_held_compete() -> None:
    accuracy = {"x": {"a": 0.1, "b": 0.3, "c": 0.3, "d": 0.9}, "y": {"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.2}}
    picks, decided = [], []
    for budget in range(1, 9):
        bench = FakeBench(accuracy, {"x": quality(), "y": quality()})
        board = run(bench, budget)
        assert len(bench.trained) == min(budget, 6)
        found = board.pick()
        assert found is not None
        picks.append(found[0].candidate.name)
        decided.append(board.decided())
    # x is measured in two rows after three trainings, then y overtakes it without ever falling.
    assert picks == ["x", "x", "x", "y", "y", "y", "y", "y"]
    assert decided == [False] * 5 + [True] * 3


def test_a_sharper_equal_that_was_not_finished_leaves_it_undecided() -> None:
    accuracy: dict[str, Any] = {"soft": dict.fromkeys(ROWS, 0.20), "sharp": dict.fromkeys(ROWS, 0.22)}
    picks = {}
    for budget in (5.0, math.inf):
        board = run(FakeBench(accuracy, {"soft": quality(25), "sharp": quality(35)}), budget)
        found = board.pick()
        assert found is not None
        picks[budget] = (found[0].candidate.name, board.decided())
    assert picks == {5.0: ("soft", False), math.inf: ("sharp", True)}


def test_a_candidate_that_fell_is_not_taken_while_another_still_holds() -> None:
    bench = FakeBench(
        {"x": {"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.6}, "y": dict.fromkeys(ROWS, 0.2)},
        {"x": quality(), "y": quality()},
    )
    board = run(bench, budget=5)
    assert {s.candidate.name: len(s.rows) for s in board.states} == {"x": 4, "y": 1}
    found = board.pick()
    assert found is not None
    assert found[0].candidate.name == "y"
    assert not board.decided()


def test_at_least_one_row_is_measured_however_short_the_time() -> None:
    bench = FakeBench({"x": dict.fromkeys(ROWS, 0.2)}, {"x": quality()}, ready_price={"x": 5.0})
    board = run(bench, budget=0.001)
    assert bench.trained == [("x", "a")]
    assert not board.decided()


def test_making_ready_takes_half_of_the_time_at_most() -> None:
    names = ("one", "two", "three", "four")
    bench = FakeBench(
        {n: dict.fromkeys(ROWS, 0.2) for n in names}, dict.fromkeys(names, quality()),
        ready_price={"one": 4.0, "two": 2.0, "three": 1.0, "four": 0.0},
    )  # fmt: skip
    board = run(bench, budget=10)
    late = {s.candidate.name: s.late for s in board.states}
    assert late == {"one": False, "two": True, "three": True, "four": True}
    assert all("--time" in s.failed for s in board.states[1:])
    assert not board.decided()


def test_whoever_fails_is_out_with_the_reason_and_the_others_go_on() -> None:
    accuracy: dict[str, Any] = {n: dict.fromkeys(ROWS, 0.1) for n in ("method", "opening", "row")}
    accuracy["row"] = accuracy["row"] | {"c": "No pairs."}
    accuracy["good"] = dict.fromkeys(ROWS, 0.3)
    looks: dict[str, Any] = dict.fromkeys(accuracy, quality()) | {"method": "No such package."}
    board = run(FakeBench(accuracy, looks, opening={"opening"}))
    assert [s.failed for s in board.states] == [
        "No such package.",
        "It cannot be opened.",
        "c: No pairs.",
        "",
    ]
    assert board.pick() == (board.states[3], [board.states[3]])


def test_nothing_is_picked_where_nothing_meets_the_floor() -> None:
    bench = FakeBench({"x": dict.fromkeys(ROWS, 0.1)}, {"x": quality(psnr=12)})
    board = run(bench)
    assert (board.pick(), bench.trained) == (None, [])
    assert board.states[0].low


def test_equal_means_inside_the_interval_then_psnr_then_time() -> None:
    def pick(*found: tuple[float, float, float]) -> int:
        bench = FakeBench(
            {str(n): dict.fromkeys(ROWS, value) for n, (value, _, _) in enumerate(found)},
            {str(n): quality(psnr, 0.9, seconds) for n, (_, psnr, seconds) in enumerate(found)},
        )
        board = run(bench, allowed=0.9)
        return board.states.index(best(board.complete, 0.9)[0])

    high = row("x", 0.30).high
    assert pick((0.30, 25, 1), (high - 0.005, 30, 9)) == 1
    assert pick((0.30, 25, 1), (high + 0.01, 30, 1)) == 0
    assert pick((0.30, 25, 2), (0.32, 25, 1)) == 1
    assert pick((0.30, 25, 1), (0.30, 25, 1)) == 0


def test_what_holds_goes_before_what_is_sharper_and_does_not() -> None:
    # 0.42 lies within the interval of 0.38, but above the bound of 0.4.
    bench = FakeBench(
        {"soft": dict.fromkeys(ROWS, 0.38), "sharp": dict.fromkeys(ROWS, 0.42)},
        {"soft": quality(24), "sharp": quality(40)},
    )
    assert row("x", 0.38).high > 0.42
    found = run(bench, allowed=0.4).pick()
    assert found is not None
    assert found[0].candidate.name == "soft"
