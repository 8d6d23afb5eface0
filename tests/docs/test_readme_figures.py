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
    """A cell of the table over three keys."""
    assert all(len(rows[name]["values"]) == 3 for name in names)
    return percent(*(rows[name]["value"] for name in names))


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
    body = result("effect_full")
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
    body = result("effect_full")

    def held(name: str) -> set[str]:
        rows = body["variants"][name]["rows"].items()
        return {row for row, found in rows if found["high"] <= body["bound"]}

    assert held("keyed CUDA") == {"plain", "crop+flip", "cutout+mixup", "grayscale", "jpeg-75"}
    assert held("paper CUDA") == {"plain", "grayscale"}
    keyed, paper = (body["variants"][name]["rows"]["adversarial"] for name in ("keyed CUDA", "paper CUDA"))
    assert f"({100 * keyed['low']:.1f} to {percent(keyed['high'])})" in readme
    assert keyed["low"] > body["bound"]
    words = f"({100 * paper['value']:.1f} of {percent(body['bound'])}), its interval reaches"
    assert f"{words} {percent(paper['high'])}" in readme
    words = "plain training, crop and flip, cutout and mixup, greyscale and JPEG 75;"
    assert f"keyed CUDA holds here in {words} published CUDA in plain training and greyscale" in readme


def test_where_the_keyed_mode_is_weaker(readme: str) -> None:
    table = result("effect_full")["variants"]
    paper, keyed = (table[name]["rows"] for name in ("paper CUDA", "keyed CUDA"))
    worse = {row: 100 * (keyed[row]["value"] - paper[row]["value"]) for row in paper}
    names = {"plain training": "plain", "JPEG 30": "jpeg-30", "JPEG 10": "jpeg-10",
             "adversarial training": "adversarial", "adaptation": "test-time", "COIN": "coin"}  # fmt: skip
    sentence = readme.split("and weaker under ")[1].split(".")[0]
    assert sentence == ", ".join(
        f"{name} ({worse[row]:.0f}{' points' if row == 'plain' else ''})" for name, row in names.items()
    ).replace(", COIN", " and COIN")
    assert {row for row, points in worse.items() if points > 0.5} == set(names.values())
    stronger = {row for row, points in worse.items() if points < -0.5} - {"leak-1-pair"}
    assert stronger == {"crop+flip", "cutout+mixup", "grayscale", "jpeg-75", "rsk+ff"}


def test_the_battery_is_that_of_all_images(readme: str) -> None:
    assert result("effect_full")["training_images"] == 50_000
    assert "The standard battery on all 50,000 images" in readme


def test_the_subset_in_words(readme: str) -> None:
    subset, full = result("effect_subset"), result("effect_full")
    rows = subset["variants"]["keyed CUDA"]["rows"]
    crop, adversarial = (percent(rows[row]["value"]) for row in ("crop+flip", "adversarial"))
    paper = [subset["variants"]["paper CUDA"]["rows"][row]["value"] for row in ("crop+flip", "adversarial")]
    words = f"keyed CUDA leaves {crop} after crop and flip and {adversarial} after adversarial training,"
    figures = " and ".join(f"{100 * value:.1f}" for value in paper)
    assert f"{words} published CUDA {figures} %, where {percent(subset['bound'])} are allowed" in readme

    def holds(body: Any, name: str, *levels: str) -> bool:
        rows = body["variants"][name]["rows"].values()
        return all(row["high"] <= body["bound"] for row in rows if row["level"] in levels)

    for body in (subset, full):
        assert holds(body, "keyed CUDA", "naive")
        assert not holds(body, "paper CUDA", "naive")
        assert not any(holds(body, name, "routine") for name in ("paper CUDA", "keyed CUDA"))


def test_resnet_18(readme: str) -> None:
    body = result("resnet18")
    assert (body["epochs"], body["training_images"]) == (100, 50_000)
    clean, paper, keyed = (
        body["settings"][name]["rows"]["crop+flip"] for name in ("clean", "cuda paper", "cuda keyed")
    )
    assert all(len(row["values"]) == 1 for row in (clean, paper, keyed))
    words = f"clean data teaches {percent(clean['value'])} (published: {percent(clean['published'])}),"
    words += f" published CUDA {percent(paper['value'])} ({percent(paper['published'])}) and keyed CUDA"
    assert f"{words} {percent(keyed['value'])}" in readme


def test_the_frontier_in_words(readme: str) -> None:
    rows = result("leak_frontier")["rows"]
    default, bare = rows["keyed, zero border, jitter 1"], rows["keyed, zero border, jitter 0"]
    reflect = rows["keyed, reflect border, jitter 1"]
    columns = ("accuracy", "jpeg", "adversarial", "after_leak")
    price = [100 * (reflect[column] - default[column]) for column in columns]
    words = f"gains {reflect['psnr'] - default['psnr']:.1f} dB, and costs another {min(price):.0f} to"
    assert f"{words} {max(price):.0f} points" in readme
    pairs = [f"{100 * bare[column]:.1f} instead of {100 * default[column]:.1f}" for column in columns[:3]]
    words = "crop and flip {}, JPEG 10 {}, two keys; adversarial {} %, one key;".format(*pairs)
    assert f"{words} {bare['psnr']:.1f} dB)" in readme
    assert f"({bare['gain_1']:.1f} dB)" in readme
    others = [point for name, point in rows.items() if name not in ("keyed, zero border, jitter 0", "paper")]
    assert all(bare[column] < point[column] for column in columns[:3] for point in [rows["paper"], *others])
    table = result("effect_full")["variants"]
    crop = {name: table[name]["rows"]["crop+flip"]["value"] for name in table}
    alone = [100 * (crop["clean"] - crop[name]) for name in crop if "one filter" in name]
    assert f"filtering alone costs {np.min(alone):.0f} to {np.max(alone):.0f} points" in readme


def test_the_weave_beside_cuda(readme: str) -> None:
    settings = result("leaderboard")["settings"]
    weave, cuda, clean = (settings[name] for name in ("weave", "cuda paper", "clean"))
    top = clean["rows"]["crop+flip"]
    bound = 0.1 + 0.5 * (top["low"] - 0.1)
    names = ("grayscale", "jpeg-10", "adversarial", "rsk+ff", "coin", "op", "leak-1-pair")
    assert all(len(weave["rows"][name]["values"]) == 5 for name in names)
    assert all(weave["rows"][name]["high"] <= bound for name in names)
    held = [
        name for name, one in settings.items()
        if name != "clean" and all(n in one["rows"] and one["rows"][n]["value"] <= bound for n in names)
    ]  # fmt: skip
    assert [name for name in held if not name.startswith("weave")] == []
    words = (
        "greyscale {:.1f}, JPEG 10 {:.1f}, adversarial training {:.1f}, RSK+FF {:.1f}, COIN {:.1f}, "
        "orthogonal projection {:.1f} and one leaked pair per class {:.1f} % (five keys, {:.1f} dB; "
        "the bound is {:.1f} %)"
    )
    means = [100 * weave["rows"][name]["value"] for name in names]
    assert words.format(*means, weave["psnr"], 100 * bound) in readme
    words = "Published CUDA, at {:.1f} dB, leaves {:.1f} % to the pair and {:.1f} % to COIN; "
    words += "clean images teach {:.1f} %"
    left = [100 * cuda["rows"][name]["value"] for name in ("leak-1-pair", "coin")]
    assert words.format(cuda["psnr"], *left, 100 * top["value"]) in readme
    through = ("grayscale+coin", "op+coin", "leak-1-pair+coin", "leak-100-in-all", "pretrained")
    assert all(len(weave["rows"][name]["values"]) == 5 for name in through[:3])
    words = (
        "COIN after greyscale {:.1f}, after projection {:.1f}, after one leaked pair {:.1f} % (five keys), "
        "and so do 100 leaked pairs ({:.1f} %) and pre-trained weights ({:.1f} %)"
    )
    assert words.format(*(100 * weave["rows"][name]["value"] for name in through)) in readme
    bare = settings["weave, no variation"]["rows"]["leak-1-pair"]["value"]
    assert f"without it the pair gives {100 * bare:.1f} % back" in readme


def test_more_training_does_not_undo_the_weave(readme: str) -> None:
    assert "a larger network or four times the training [the weave holds in the standard battery]" in readme
    alone = {"grayscale", "jpeg-10", "adversarial", "rsk+ff", "coin", "leak-1-pair", "crop+flip"}
    for file in ("effect_subset", "effect_long"):
        body = result(file)
        rows = body["variants"]["weave"]["rows"]
        assert rows.keys() >= alone
        assert max(row["value"] for row in rows.values()) <= body["bound"]


def test_how_many_keys_the_leaderboard_has(readme: str) -> None:
    assert "three keys and more in the eight main rows, one or none in the others; variants of" in readme
    settings = result("leaderboard")["settings"]
    fewer = {name for name in settings if name.startswith("weave, ")}
    rows = {"crop+flip", "grayscale", "jpeg-10", "adversarial", "rsk+ff", "coin", "op", "leak-1-pair"}
    for name in settings.keys() - fewer:
        asked = rows - {"leak-1-pair"} if name == "clean" else rows
        assert {row for row in asked if len(settings[name]["rows"][row]["values"]) >= 3} == asked, name
    assert settings.keys() >= {"t2ue", "em", "rem", "sem", "salm", "tap", "uc", "lsp", "ar", "ops", "weave"}


def test_sem_on_the_leaderboard(readme: str) -> None:
    settings = result("leaderboard")["settings"]
    sem, clean = settings["sem"], settings["clean"]["rows"]["crop+flip"]
    bound = 0.1 + 0.5 * (clean["low"] - 0.1)
    good, bad = ("coin", "leak-1-pair", "adversarial"), ("grayscale", "jpeg-10", "pretrained")
    assert all(len(sem["rows"][row]["values"]) == 3 for row in good + bad)
    holds = [100 * sem["rows"][row]["value"] for row in good]
    words = "({:.1f}, {:.1f} and {:.1f} %, three keys, {:.1f} dB)".format(*holds, sem["psnr"])
    assert words in readme
    assert all(sem["rows"][row]["high"] < bound for row in good[:2])
    assert holds[2] < 100 * bound
    words = "without colour gives {:.1f} % back, JPEG 10 {:.1f} % and pre-trained weights {:.1f} %"
    assert words.format(*(100 * sem["rows"][row]["value"] for row in bad)) in readme


def test_what_a_part_protects(readme: str) -> None:
    settings = result("leaderboard")["settings"]
    left = [
        f"{100 * settings[name]['rows']['partial-80']['value']:.1f}"
        for name in ("cuda keyed", "weave", "em", "lsp")
    ]
    clean = f"{100 * settings['clean']['rows']['crop+flip']['value']:.1f}"
    words = "keyed CUDA leaves {} %, the weave {}, EM {}, LSP {} (one key each; all clean: {} %)"
    assert words.format(*left, clean) in readme
    assert all(len(settings[name]["rows"]["partial-80"]["values"]) == 1 for name in ("weave", "em", "lsp"))


def test_how_often_verify_was_wrong() -> None:
    page = " ".join((ROOT / "docs/threat-model.md").read_text().split())
    kinds = result("null_runs")["kinds"]
    none, faded, keyed, weave = (kinds[kind] for kind in ("none", "faded", "keyed", "weave"))
    assert f'it said "supported" in {none["supported"]} of {none["runs"]} runs, at every level' in page
    assert not any("not supported" not in verdict for verdict in none["all"])
    assert f"may be as high as {100 * none['high']:.0f} %" in page
    words = "in {supported} of {runs} ({:.0f} % or more) where each class lies under its own grey"
    assert words.format(100 * faded["low"], **faded) in page
    words = (
        "the weave on draws of CIFAR-10 was supported at the {claim} level in {supported} of {runs} "
        "({:.0f} % or more), and at the adaptive one in {}"
    )
    assert words.format(100 * weave["low"], weave["all"]["adaptive: supported"], **weave) in page
    words = "keyed CUDA on the photographs at the {claim} level in {supported} (up to {:.0f} %)"
    assert words.format(100 * keyed["high"], **keyed) in page
    assert [kind["claim"] for kind in (none, faded, keyed, weave)] == [
        "routine",
        "routine",
        "naive",
        "routine",
    ]
    assert all(kind["runs"] >= 20 for kind in kinds.values())


def test_what_the_controls_cost(readme: str) -> None:
    table = result("effect_full")["variants"]
    clean = table["clean"]["rows"]

    def cost(name: str) -> list[float]:
        rows = table[name]["rows"]
        assert len(rows) == 11
        return [100 * (clean[row]["value"] - found["value"]) for row, found in rows.items()]

    noise, *filters = map(
        cost, ("random noise 8/255", *(f"{m} CUDA, one filter for all" for m in ("paper", "keyed")))
    )
    most = np.ceil(np.abs(noise).max())
    assert f"In every row random noise stays within {most:.0f} point of clean data" in readme
    for name in ("paper CUDA, one filter for all", "keyed CUDA, one filter for all"):
        assert abs(table[name]["rows"]["coin"]["value"] - clean["coin"]["value"]) < 0.01
    published, keyed = (max(costs) for costs in filters)
    assert f"without classes cost up to {published:.0f} points (published) and {keyed:.0f} (keyed)" in readme
