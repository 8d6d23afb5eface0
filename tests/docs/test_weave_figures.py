"""Every measured figure of the page on the weave stands in the committed results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pages import DOCS, ROOT

SETTINGS = json.loads((ROOT / "benchmarks/results/leaderboard.json").read_text())["settings"]
PAGE = " ".join((DOCS / "weave.md").read_text("utf-8").replace("**", "").split())
CLEAN = SETTINGS["clean"]["rows"]["crop+flip"]
BOUND = 0.1 + 0.5 * (CLEAN["low"] - 0.1)
ALONE = ("grayscale", "jpeg-10", "adversarial", "rsk+ff", "coin", "op", "leak-1-pair")
COLUMNS = (*ALONE, "grayscale+coin", "leak-1-pair+grayscale", "leak-1-pair+coin", "leak-100-in-all",
           "leak-500-bridge", "pretrained")  # fmt: skip
SHOWN = [name for name in SETTINGS if name.startswith("weave")] + ["cuda keyed", "cuda paper"]


def keys(found: dict[str, Any]) -> str:
    counts = sorted({len(found["rows"][name]["values"]) for name in COLUMNS if name in found["rows"]})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def line(name: str) -> str:
    found = SETTINGS[name]
    cells = [f"{100 * found['rows'][c]['value']:.1f}" if c in found["rows"] else "" for c in COLUMNS]
    return f"| {name} | {found['psnr']:.1f} | {' | '.join(cells)} | {keys(found)} |"


@pytest.mark.parametrize("name", SHOWN)
def test_the_table(name: str) -> None:
    assert " ".join(line(name).split()) in PAGE


def test_the_bound_and_the_verdict_in_words() -> None:
    assert f"a row may reach {100 * BOUND:.1f}." in PAGE
    rows = SETTINGS["weave"]["rows"]
    assert all(len(rows[name]["values"]) == 5 for name in ALONE)
    assert all(rows[name]["high"] <= BOUND for name in ALONE)
    worst = max(ALONE, key=lambda name: rows[name]["high"])
    assert f"at most {100 * rows[worst]['high']:.1f} (`{worst}`)" in PAGE
    assert SETTINGS["weave"]["psnr"] > SETTINGS["cuda paper"]["psnr"]


def test_the_key_of_the_choice() -> None:
    values = [100 * SETTINGS["weave"]["rows"][name]["values"][0] for name in ("adversarial", "leak-1-pair")]
    assert f"left {values[0]:.1f} % under adversarial training and {values[1]:.1f} % to one pair" in PAGE
