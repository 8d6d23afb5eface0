"""Every measured figure of the README stands in a committed result, which a benchmark writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def result(name: str) -> Any:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())


def percent(*shares: float) -> str:
    return " · ".join(f"{100 * share:.1f}" for share in shares) + " %"


def cell(rows: Any, *names: str) -> str:
    """A cell of the table over three keys; with fewer, it says so."""
    (keys,) = {len(rows[name]["values"]) for name in names}
    few = {1: " (one key)", 2: " (two keys)", 3: ""}[keys]
    return percent(*(rows[name]["value"] for name in names)) + few


@pytest.fixture(scope="module")
def readme() -> str:
    return " ".join((ROOT / "README.md").read_text().replace("**", "").split())


def test_the_table_over_keys(readme: str) -> None:
    keys, frontier = result("keys"), result("leak_frontier")["rows"]
    assert f"(clean: {percent(keys['clean'])})" in readme
    names = {"published CUDA": "paper", "keyed, filters as drawn": "keyed unselected",
             "keyed, filters selected (default)": "keyed selected"}  # fmt: skip
    for row, name in names.items():
        found = keys[name]
        assert found["keys"] == 12
        cells = f"| {row} | {percent(found['mean'])} | {percent(found['worst'])} | {found['psnr']:.1f} dB |"
        assert cells in readme
    for row, point in {"published CUDA": "paper", "(default)": "keyed, zero border, jitter 1"}.items():
        line = readme.split(row)[1].split("|")
        assert line[4].strip() == f"{frontier[point]['gain_1']:.1f} dB"


def test_the_battery(readme: str) -> None:
    body = result("effect_subset")
    assert f"may reach {100 * body['bound']:.0f} %" in readme
    table = body["variants"]
    columns = [table[name]["rows"] for name in ("clean", "paper CUDA", "keyed CUDA")]
    rows = {
        "plain · crop and flip": ("plain", "crop+flip"),
        "cutout and mixup · greyscale": ("cutout+mixup", "grayscale"),
        "JPEG 75 · 30 · 10": ("jpeg-75", "jpeg-30", "jpeg-10"),
        "adversarial training": ("adversarial",),
        "the network adapted to unlabelled images": ("test-time",),
        "RSK+FF · COIN": ("rsk+ff", "coin"),
    }
    for title, names in rows.items():
        assert f"| {title} | {' | '.join(cell(column, *names) for column in columns)} |" in readme
    leaks = [cell(column, "leak-1-pair") for column in columns[1:]]
    assert f"per class | | {' | '.join(leaks)} |" in readme
    noise, *single = (
        cell(table[name]["rows"], "crop+flip")
        for name in ("random noise 8/255", "paper CUDA, one filter for all", "keyed CUDA, one filter for all")
    )
    assert f"crop and flip | (noise: {noise}) | {' | '.join(single)} |" in readme


def test_where_the_upper_ends_hold(readme: str) -> None:
    body = result("effect_subset")

    def held(name: str) -> set[str]:
        rows = body["variants"][name]["rows"].items()
        return {row for row, found in rows if found["high"] <= body["bound"]}

    assert held("keyed CUDA") == {"plain", "crop+flip", "cutout+mixup", "grayscale", "jpeg-75", "jpeg-30"}
    assert held("paper CUDA") == {"plain"}
    words = "plain training, crop and flip, cutout and mixup, greyscale, JPEG 75 and JPEG 30;"
    assert f"keyed CUDA holds here in {words} published CUDA in plain training only" in readme


def test_where_the_keyed_mode_is_weaker(readme: str) -> None:
    table = result("effect_subset")["variants"]
    paper, keyed = (table[name]["rows"] for name in ("paper CUDA", "keyed CUDA"))
    worse = {row: 100 * (keyed[row]["value"] - paper[row]["value"]) for row in paper}
    names = {"plain training": "plain", "JPEG 30": "jpeg-30", "JPEG 10": "jpeg-10",
             "adversarial training": "adversarial", "adaptation": "test-time"}  # fmt: skip
    sentence = readme.split("and weaker under ")[1].split(".")[0]
    assert sentence == ", ".join(
        f"{name} ({worse[row]:.0f}{' points' if row == 'plain' else ''})" for name, row in names.items()
    ).replace(", adaptation", " and adaptation")
    assert {row for row, points in worse.items() if points > 0.5} == set(names.values())


def test_all_images(readme: str) -> None:
    body = result("effect_full")
    names = ("clean", "paper CUDA", "keyed CUDA")
    rows = [
        [body["variants"][name]["rows"][row]["value"] for name in names] for row in ("crop+flip", "jpeg-10")
    ]
    crop = [f"{100 * share:.1f} %" for share in rows[0]]
    assert "clean data teaches {}, published CUDA {} and keyed CUDA {};".format(*crop) in readme
    assert f"it is {percent(*rows[1])}, where {percent(body['bound'])} are allowed" in readme
    assert body["training_images"] == 50_000


def test_the_frontier_in_words(readme: str) -> None:
    rows = result("leak_frontier")["rows"]
    default, bare = rows["keyed, zero border, jitter 1"], rows["keyed, zero border, jitter 0"]
    reflect = rows["keyed, reflect border, jitter 1"]
    columns = ("accuracy", "jpeg", "adversarial", "after_leak")
    price = [100 * (reflect[column] - default[column]) for column in columns]
    words = f"gains {reflect['psnr'] - default['psnr']:.1f} dB, and costs another {min(price):.0f} to"
    assert f"{words} {max(price):.0f} points" in readme
    figures = [f"{100 * bare[column]:.1f}" for column in columns[:3]]
    words = "(crop and flip {}, JPEG 10 {}, adversarial {} %,".format(*figures)
    assert f"{words} at {bare['psnr']:.1f} dB)" in readme
    assert f"({bare['gain_1']:.1f} dB)" in readme
    assert all(bare[column] < rows["paper"][column] for column in columns[:3])
    table = result("effect_subset")["variants"]
    crop = {name: table[name]["rows"]["crop+flip"]["value"] for name in table}
    alone = [100 * (crop["clean"] - crop[name]) for name in crop if "one filter" in name]
    assert f"filtering alone costs {np.min(alone):.0f} to {np.max(alone):.0f} points" in readme


def test_the_weave_beside_cuda(readme: str) -> None:
    settings = result("leaderboard")["settings"]
    weave, cuda = settings["weave, no variation"], settings["cuda paper"]
    varied, clean = settings["weave, own taps and colours"]["rows"], settings["clean"]["rows"]["crop+flip"]
    rows = {name: [100 * one for one in row["values"]] for name, row in weave["rows"].items()}
    three = [np.mean(rows[name]) for name in ("rsk+ff", "coin", "adversarial")]
    assert all(len(rows[name]) == 3 for name in ("rsk+ff", "coin", "adversarial"))
    assert f"({three[0]:.1f} and {three[1]:.1f} %, three keys)" in readme
    bound = 100 * (0.1 + 0.5 * (clean["low"] - 0.1))
    words = "learns {:.1f} % (the bound is {:.1f} %; the first key alone gave {:.1f} %)"
    assert words.format(three[2], bound, rows["adversarial"][0]) in readme
    assert f"There the weave, at {weave['psnr']:.1f} dB" in readme
    leak = [100 * one["leak-1-pair"]["value"] for one in (weave["rows"], cuda["rows"], varied)]
    words = "{:.1f} %, where clean images teach {:.1f} % and published CUDA leaves {:.1f} %"
    assert words.format(leak[0], 100 * clean["value"], leak[1]) in readme
    assert (
        f"worth little ({leak[2]:.1f} %), and COIN then learns {100 * varied['coin']['value']:.1f} %"
        in readme
    )


def test_how_often_verify_was_wrong() -> None:
    page = " ".join((ROOT / "docs/threat-model.md").read_text().split())
    none = result("null_runs")["kinds"]["none"]
    assert f'it said "supported" in {none["supported"]} of {none["runs"]} runs, at every level' in page
    assert not any("not supported" not in verdict for verdict in none["all"])
    assert f"may be as high as {100 * none['high']:.0f} %" in page


def test_what_the_controls_cost_in_the_other_rows(readme: str) -> None:
    table = result("effect_subset")["variants"]
    clean = table["clean"]["rows"]

    def cost(name: str) -> list[float]:
        rows = {row: found for row, found in table[name]["rows"].items() if row != "crop+flip"}
        assert len(rows) >= 8
        return [100 * (clean[row]["value"] - found["value"]) for row, found in rows.items()]

    noise, *filters = map(
        cost, ("random noise 8/255", *(f"{m} CUDA, one filter for all" for m in ("paper", "keyed")))
    )
    most = np.ceil(np.abs(noise).max())
    assert f"random noise stays within {most:.0f} point{'s' if most > 1 else ''} of clean data" in readme
    assert all(min(costs) < 0 for costs in filters)  # COIN
    published, keyed = (max(costs) for costs in filters)
    assert f"without classes cost up to {published:.0f} points (published) and {keyed:.0f} (keyed)" in readme
