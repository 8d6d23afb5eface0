"""Every measured figure of the page on the weave stands in the committed results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pages import DOCS, ROOT

from noli.methods.verify.battery import table
from noli.methods.verify.config import Config
from noli.methods.verify.rows import summarise

SETTINGS = json.loads((ROOT / "benchmarks/results/leaderboard.json").read_text())["settings"]
SEARCH = json.loads((ROOT / "benchmarks/results/weave_settings.json").read_text())
PAGE = " ".join((DOCS / "weave.md").read_text("utf-8").replace("**", "").split())
CLEAN = SETTINGS["clean"]["rows"]["crop+flip"]
BOUND = 0.1 + 0.5 * (CLEAN["low"] - 0.1)
ALONE = ("grayscale", "jpeg-10", "adversarial", "rsk+ff", "coin", "op", "leak-1-pair")
COMBINED = ("grayscale+coin", "op+coin", "grayscale+op", "leak-1-pair+grayscale", "leak-1-pair+coin",
            "leak-1-pair+op")  # fmt: skip
FURTHER = ("test-time", "pretrained", "leak-100-in-all", "leak-500-bridge")
# What a trainer with more means was measured under: file of results -> the trainer in words.
TRAINERS = {"effect_subset": "`small`, 8 passes", "effect_long": "`tiny`, 32 passes"}
TRIED_HARDER = ("crop+flip", "cutout+mixup", "grayscale", "jpeg-10", "adversarial", "test-time", "rsk+ff",
                "coin", "leak-1-pair")  # fmt: skip
WAYS = tuple(f"leak-1-pair-{way}" for way in ("residual", "patterns", "filter", "both"))
BRIGHT = "weave, bright, three codes"
SHOWN = ("weave", BRIGHT, "weave, 12/255", "weave, 20/255, own colours 1", "weave, four codes",
         "weave, no variation", "cuda keyed", "cuda paper")  # fmt: skip
MORE = ("weave", BRIGHT, "cuda keyed", "cuda paper")
SEARCHED = (
    "colour 32, brightness 16, own 0.5, taps 0.7, own taps 1, codes 1",
    "colour 36, brightness 20, own 0.4, taps 0.5, own taps 0.5, codes 2",
    "colour 36, brightness 20, own 0.3, taps 0.3, own taps 0.5, codes 3",
    "colour 30, brightness 22, own 0.3, taps 1, own taps 1, codes 3, reflect",
)
TRIED = ("adversarial", "leak-1-pair", *COMBINED)


def mean(by_key: dict[str, float]) -> float:
    return float(np.mean(list(by_key.values())))


def joined(first: str, cells: Sequence[str]) -> str:
    return " ".join(f"| {first} | {' | '.join(cells)} |".split())


def keys(found: dict[str, Any], columns: Sequence[str]) -> str:
    counts = sorted({len(found["rows"][name]["values"]) for name in columns if name in found["rows"]})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def line(name: str, columns: Sequence[str]) -> str:
    found = SETTINGS[name]
    cells = [f"{100 * found['rows'][c]['value']:.1f}" if c in found["rows"] else "" for c in columns]
    return joined(name, [f"{found['psnr']:.1f}", *cells, keys(found, columns)])


def searched(name: str) -> str:
    found = SEARCH["settings"][name]
    cells = [f"{100 * mean(found['rows'][row]):.1f}" if row in found["rows"] else "" for row in TRIED]
    seen = sorted({len(found["rows"][row]) for row in TRIED if row in found["rows"]})
    counts = f"{seen[0]} to {seen[-1]}" if len(seen) > 1 else f"{seen[0]}"
    return joined(name, [f"{mean(found['psnr']):.1f}", *cells, counts])


@pytest.mark.parametrize("name", SHOWN)
def test_the_table_of_countermeasures_alone(name: str) -> None:
    assert line(name, ALONE) in PAGE


@pytest.mark.parametrize("name", MORE)
def test_the_table_of_combinations(name: str) -> None:
    assert line(name, (*COMBINED, *FURTHER)) in PAGE


@pytest.mark.parametrize("name", SEARCHED)
def test_the_table_of_the_search(name: str) -> None:
    assert searched(name) in PAGE


def test_the_bound_and_the_verdict_in_words() -> None:
    assert f"a row may reach {100 * BOUND:.1f}." in PAGE
    assert pytest.approx(BOUND) == SEARCH["allowed"]
    rows = SETTINGS["weave"]["rows"]
    assert all(len(rows[name]["values"]) == 5 for name in (*ALONE, *COMBINED))
    assert all(rows[name]["high"] <= BOUND for name in ALONE)
    worst = max(ALONE, key=lambda name: rows[name]["high"])
    assert f"at most {100 * rows[worst]['high']:.1f} (`{worst}`)" in PAGE
    assert SETTINGS["weave"]["psnr"] > SETTINGS["cuda paper"]["psnr"]


@pytest.mark.parametrize("file", TRAINERS)
def test_the_table_of_trainers_with_more_means(file: str) -> None:
    body = json.loads((ROOT / f"benchmarks/results/{file}.json").read_text())
    rows, clean = body["variants"]["weave"]["rows"], body["variants"]["clean"]["rows"]["crop+flip"]
    cells = [f"{100 * rows[name]['value']:.1f}" for name in TRIED_HARDER]
    told = [f"{100 * clean['value']:.1f}", f"{100 * body['bound']:.1f}", *cells]
    counts = sorted({len(rows[name]["values"]) for name in TRIED_HARDER})
    last = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    assert joined(TRAINERS[file], [*told, last]) in PAGE
    assert all(row["value"] <= body["bound"] for row in rows.values())


def test_which_intervals_lie_below_the_bound() -> None:
    small, long = (json.loads((ROOT / f"benchmarks/results/{file}.json").read_text()) for file in TRAINERS)
    rows = small["variants"]["weave"]["rows"]
    worst = max(rows, key=lambda name: rows[name]["high"])
    assert rows[worst]["high"] <= small["bound"]
    assert len(rows) == 12
    # The first three keys alone, as they stood when two more were measured.
    three, five = ({name: row["values"][:n] for name, row in rows.items()} for n in (3, 5))
    lines = (ROOT / "benchmarks/results/effect_subset.jsonl").read_text().splitlines()
    cells = [json.loads(line) for line in lines if line.startswith('{"cell": "weave/leak-1-pair/')]
    (pair,) = (measure for measure in table(Config(battery="standard")) if measure.name == "leak-1-pair")
    first = summarise(pair, sorted(cells, key=lambda cell: cell["cell"])[:3], 0.95)
    assert f"were added when it still reached {100 * first.high:.1f}" in PAGE
    moved = max(abs(np.mean(five[name]) - np.mean(three[name])) for name in rows)
    assert f"no mean changed by more than {np.ceil(1000 * moved) / 10:.1f}" in PAGE
    assert f"lies below the bound, that of `{worst}` up to {100 * rows[worst]['high']:.1f} %" in PAGE
    rows = long["variants"]["weave"]["rows"]
    (over,) = (name for name, row in rows.items() if row["high"] > long["bound"])
    assert f"that of `{over}`, which has two keys (up to {100 * rows[over]['high']:.1f} %)" in PAGE
    assert len(rows[over]["values"]) == 2


def test_what_gets_through_with_one_key() -> None:
    rows, clean = SETTINGS["weave"]["rows"], SETTINGS["clean"]["rows"]["adversarial-8"]["value"]
    named = ("adversarial-8", "leak-100-bridge", "self-supervised", "ueraser")
    eight, bridge, unsupervised, ueraser = (f"{100 * rows[name]['value']:.1f}" for name in named)
    assert f"With one key: adversarial training at 8/255 {eight} % (clean {100 * clean:.1f})" in PAGE
    assert (
        f"a bridge from 100 pairs {bridge}, self-supervised learning {unsupervised}; UEraser {ueraser}."
        in PAGE
    )
    assert all(len(rows[name]["values"]) == 1 for name in named)
    assert all(rows[name]["low"] > BOUND for name in named[:3])
    assert rows["ueraser"]["high"] < BOUND


def test_each_way_to_use_the_pair() -> None:
    rows = SETTINGS["weave"]["rows"]
    means = [100 * rows[name]["value"] for name in WAYS]
    words = "({} keys): noise {:.1f}, patterns {:.1f}, filters {:.1f}, both {:.1f} %. Here the best pictures"
    assert words.format(min(len(rows[name]["values"]) for name in WAYS), *means) in PAGE
    assert max(WAYS, key=lambda name: rows[name]["value"]) == WAYS[3]
    assert f"taught most, too, with an interval up to {100 * rows[WAYS[3]]['high']:.1f}" in PAGE


def test_what_the_rule_picked() -> None:
    words = "it picks `{}`"
    assert words.format(SEARCH["chosen_of_all_rows"]) in PAGE
    assert words.format(SEARCH["chosen"]) in PAGE
    fell = [100 * value for value in SETTINGS[BRIGHT]["rows"]["adversarial"]["values"]]
    assert f"adversarial training {fell[0]:.1f} and {fell[1]:.1f} %" in PAGE
    assert f"{mean(SEARCH['psnr_of_published_cuda']):.1f} dB" in PAGE


def test_the_key_of_the_choice() -> None:
    values = [100 * SETTINGS["weave"]["rows"][name]["values"][0] for name in ("adversarial", "leak-1-pair")]
    assert f"left {values[0]:.1f} % under adversarial training and {values[1]:.1f} % to one pair" in PAGE


def test_what_leaked_originals_teach_alone() -> None:
    alone = {
        row: 100 * SETTINGS["clean"]["rows"][row]["value"] for row in ("leak-100-in-all", "leak-500-bridge")
    }
    told = (
        "average out to a third (the originals alone teach {:.1f} %). Five hundred alone teach {:.1f} %, so "
        "`leak-500-bridge` tells little"
    )
    assert told.format(*alone.values()) in PAGE
    rows = SETTINGS["weave"]["rows"]
    assert rows["leak-500-bridge"]["low"] <= SETTINGS["clean"]["rows"]["leak-500-bridge"]["high"]
    assert rows["leak-100-in-all"]["low"] > SETTINGS["clean"]["rows"]["leak-100-in-all"]["high"]
