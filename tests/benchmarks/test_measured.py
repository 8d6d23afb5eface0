"""The tables of measurements: what they promise exists, and published settings are as published."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import common
import leaderboard
import leak_frontier
import resnet18
import signs
from noli.methods.verify.battery import pack, table
from noli.methods.verify.config import Config

KNOWN = {row.name for row in table(Config(battery="full"))} | {leaderboard.MERGED.name}


def test_the_leaderboard_measures_every_kind_of_row_of_the_issue():
    assert set(leaderboard.ROWS) <= KNOWN
    assert len(set(leaderboard.ROWS)) == len(leaderboard.ROWS)
    assert {"crop+flip", "grayscale", "jpeg-10", "rsk+ff", "coin", "op", "adversarial", "leak-1-pair"} == set(
        leaderboard.ROWS[: leaderboard.EARLY]
    )


@pytest.mark.parametrize(
    "settings", [leaderboard.SETTINGS, resnet18.SETTINGS], ids=["leaderboard", "resnet18"]
)
def test_every_setting_is_a_method_with_its_options(settings):
    for method, options in filter(lambda setting: setting[0], settings.values()):
        # What is made only when it is needed is the path of a file (T2UE's generator).
        given = {name: "made.zip" if callable(value) else value for name, value in options.items()}
        import_module(f"noli.methods.protect.{method}").Config(**given)


def test_every_sign_can_be_measured():
    assert {(name, row) for name, row, *_ in signs.SIGNS} <= {
        (name, row) for name in leaderboard.SETTINGS for row in leaderboard.ROWS
    }
    assert {expected for _, _, expected, _ in signs.SIGNS} == {"holds", "falls"}
    assert len({(name, row) for name, row, *_ in signs.SIGNS}) == len(signs.SIGNS)


def test_what_the_leaked_originals_teach_alone_is_no_sign():
    def row(low, value, high):
        return {"value": value, "low": low, "high": high, "values": [value]}

    usual = row(0.6, 0.62, 0.64)
    alone = {"crop+flip": usual, "leak-500-bridge": row(0.42, 0.44, 0.46)}
    found = {"clean": {"rows": alone}, "rem": {"rows": {"leak-500-bridge": row(0.40, 0.42, 0.44)}}}
    assert signs.found(found, "rem", "leak-500-bridge")[0] == "no more than the leaked originals alone"
    found["rem"]["rows"]["leak-500-bridge"] = row(0.47, 0.5, 0.53)
    assert signs.found(found, "rem", "leak-500-bridge") == ("falls", round(0.4 / 0.52, 3))


def test_signs_of_what_networks_answer_have_their_bounds():
    made = {"tap": {"confused": {"values": [0.3, 0.5], "bound": 0.5, "at_least": True}}}
    made["cuda paper"] = {"permuted": {"values": [0.02], "bound": 0.1, "at_least": False}}
    tap, cuda = signs.answered(made)
    assert (tap["expected"], tap["found"], tap["share"]) == ("at least 0.50", "at most 0.50", 0.4)
    assert (cuda["expected"], cuda["found"]) == ("at most 0.10", "at most 0.10")
    made["tap"]["confused"]["values"] = []
    assert [line["found"] for line in signs.answered(made)] == ["not measured", "at most 0.10"]


def test_sem_stands_beside_rem():
    def rows(value):
        return {"rows": {"adversarial": {"value": value, "values": [value, value]}}}

    line = signs.compared({"sem": rows(0.3), "rem": rows(0.5)})
    assert (line["found"], line["share"], line["seeds"]) == (line["expected"], 0.5, 2)
    assert signs.compared({"sem": rows(0.5), "rem": rows(0.5)})["found"] == "not below rem"
    assert signs.compared({"sem": rows(0.3)}) == line | {"found": "not measured", "share": None, "seeds": 0}


def test_values_are_in_the_order_of_seeds_whatever_was_measured_last(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    cells = common.Cells("some")
    for seed, right in ((1, 1), (10, 0), (2, 1), (0, 0)):
        row = {"correct": {"untouched": pack(np.array([right], bool))}, "n": 1, "detail": {}}
        cells.get(f"em/coin/{seed}", lambda row=row: row)
    coin = {one.name: one for one in table(Config())}["coin"]
    assert common.summarised("em", {"coin": coin}, cells)["rows"]["coin"]["values"] == (0, 1, 1, 0)


def test_the_published_recipe_is_that_of_cuda_s_script():
    row = next(m for m in table(Config(battery="quick")) if m.name == "crop+flip")
    recipe = resnet18.as_published(row, 100).recipe(Config().recipe(7))
    assert (recipe.epochs, recipe.batch, recipe.weight_decay, recipe.grad_clip, recipe.seed) == (
        100, 512, 5e-4, 5.0, 7,
    )  # fmt: skip
    steps = recipe.steps_for(50_000)
    assert [round(recipe.rates(int(at * steps), steps)[0], 6) for at in (0, 0.39, 0.41, 0.79, 0.81)] == [
        0.1, 0.1, 0.01, 0.01, 0.001,
    ]  # fmt: skip
    assert set(resnet18.PUBLISHED) <= {(name, row) for name in resnet18.SETTINGS for row in resnet18.ROWS}


def test_the_frontier_is_the_mean_of_its_cells():
    rows = json.loads((common.RESULTS / "leak_frontier.json").read_text())["rows"]
    means = leak_frontier.means(common.Cells("leak_frontier"))
    assert set(means) == set(leak_frontier.POINTS)
    for point, row in means.items():
        assert rows[point] == pytest.approx(row)


def test_cells_of_every_setting_have_a_file_and_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    cells = common.Cells("board", apart=True)
    made = {f"{name}/coin/{seed}": {"value": seed} for name in leaderboard.SETTINGS for seed in (0, 1)}
    for cell, row in made.items():
        cells.get(cell, lambda row=row: row)
    assert len(list((tmp_path / "board").iterdir())) == len(leaderboard.SETTINGS)
    again = common.Cells("board", apart=True)
    assert {cell: row["value"] for cell, row in again.done.items()} == {
        c: r["value"] for c, r in made.items()
    }
    assert again.get("clean/coin/1", lambda: pytest.fail("it was done")) == again.done["clean/coin/1"]


def test_rows_of_partial_protection_mix_in_clean_images():
    rows = {row.name: row for row in table(Config(battery="full"))}
    assert [leaderboard.part_of("em", rows[name]) for name in ("partial-20", "leak-1-pair")] == [
        "mixed",
        "protected",
    ]
    # Beside leaked pairs: what these originals teach alone.
    assert leaderboard.part_of("clean", rows["leak-1-pair"]) == "leaked-alone"
