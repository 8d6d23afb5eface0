"""The figures of docs/codes.md are those of the benchmark's file."""

from __future__ import annotations

import json
import re

import pytest
from pages import DOCS, ROOT

from noli.core.audit import DEMONSTRATION, HAS

FOUND = json.loads((ROOT / "benchmarks" / "results" / "code_audits.json").read_bytes())["settings"]
TEXT = (DOCS / "codes.md").read_text()
WORDS = " ".join(TEXT.split())
SETS = ("neuracrypt, 64 wide", "neuracrypt, 256 wide", "color-neuracrypt, 256 wide",
        "neuracrypt, published size")  # fmt: skip
MIXES = {
    "1 | 4": "1 code",
    "5 | 4": "5 codes",
    "10 | 4": "10 codes",
    "20 | 4": "20 codes",
    "50 | 4": "50 codes",
    "50 | 6": "50 codes, k 6",
    "50 | 6, 4 of them public": "50 codes, k 6, 4 public",
}


LEARNED = {
    "InstaHide, k 4, ten codes of a picture asked": ("instahide", "accuracy"),
    "the same, one code asked": ("instahide", "accuracy, one code"),
    "InstaHide, k 2, ten codes asked": ("instahide, k 2", "accuracy"),
    "the same with k 2, one code asked": ("instahide, k 2", "accuracy, one code"),
    "plain patches in order": ("patches", "accuracy"),
    "NeuraCrypt": ("neuracrypt", "accuracy"),
    "Color-NeuraCrypt, reconstructed": ("color-neuracrypt", "accuracy"),
}


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def line(name: str) -> str:
    cells = [FOUND[setting]["rows"].get(name) for setting in SETS]
    return " | ".join("-" if cell is None else percent(cell["back"]) for cell in cells)


def mix(setting: str) -> str:
    rows = FOUND[f"instahide, {setting}"]["rows"]
    cells = (rows.get(name) for name in ("graph of codes", "grouped as stored"))
    return " | ".join(
        "" if cell is None else f"{cell['ssim']:.2f}, {100 * cell['back']:.0f} %" for cell in cells
    )


def test_demonstrations_count_nowhere() -> None:
    judged = {name: one for name, one in FOUND.items() if "least" in one}
    assert len(judged) > 10
    for name, one in judged.items():
        rows = one["rows"]
        shown = {row for row in rows if row in ("linking", "integer seed")}
        assert {row for row in rows if rows[row]["has"] == DEMONSTRATION} == shown, name
        counted = {row: rows[row] for row in rows if row not in shown}
        assert one["best"] not in shown
        broken = [
            row["has"]
            for row in counted.values()
            if (row["back"] >= 0.5 if row["chance"] is None else row["back"] > 0.2)
        ]
        assert one["least"] == min(broken, key=HAS.index, default=None), name
    assert "does not count towards the exit code" in WORDS


@pytest.mark.parametrize("name", FOUND[SETS[1]]["rows"])
def test_neuracrypt(name: str) -> None:
    row = next(row for row in TEXT.splitlines() if re.match(rf"\| \**{name}\** \|", row))
    assert row.endswith(f"| {line(name)} |")


@pytest.mark.parametrize("row", MIXES)
def test_instahide(row: str) -> None:
    assert f"| {row} | {mix(MIXES[row])} |".replace("  ", " ") in TEXT


def test_words() -> None:
    back = {
        name: {row: cell["back"] for row, cell in FOUND[name]["rows"].items()}
        for name in FOUND
        if not name.startswith("instahide")
    }
    batches = [
        percent(back[f"statistics of batches of {size}, 256 wide"]["boosted matching"]) for size in (128, 16)
    ]
    assert f"{batches[0]} right for batches of 128, and {batches[1]} for batches of 16" in WORDS
    linear = back["linear encoder, 256 wide"]
    assert f"is matched to {percent(linear['boosted matching'])}" in WORDS
    assert f"ours, much smaller, gets {percent(linear['distributions'])}" in WORDS
    times = [
        one["cpu_seconds"] for name, one in FOUND.items() if name.startswith(("neura", "color", "insta"))
    ]
    assert f"took {min(times):.0f} to {max(times):.0f} s of CPU time" in WORDS
    seeds = [one["rows"]["integer seed"] for one in FOUND.values() if "integer seed" in one["rows"]]
    assert min(row["ssim"] for row in seeds) > 0.9999
    assert all("seed found among 4,096" in row["note"] for row in seeds)
    hours = [int(re.findall(r"take (\d+) hours", row["note"])[0]) for row in seeds]
    assert f"{min(hours)} to {max(hours)} hours of a core" in WORDS
    # Nothing above guessing, by the intervals, where the page says so.
    alike = [FOUND[name]["rows"]["distributions"] for name in SETS]
    assert all(row["low"] <= row["chance"] for row in alike)


@pytest.mark.parametrize("row", LEARNED)
def test_what_is_learned_from_codes(row: str) -> None:
    results = ROOT / "benchmarks" / "results"
    found = json.loads((results / "code_learning.json").read_bytes())["settings"]
    setting, name = LEARNED[row]
    assert f"| {row} | {percent(found[setting][name])} |" in TEXT
    plain = json.loads((results / "scrambled_learning.json").read_bytes())["networks"]["small"]
    assert f"network {percent(plain['plain']['accuracy'])} (" in WORDS
    gain = found["color-neuracrypt"]["accuracy"] - found["neuracrypt"]["accuracy"]
    assert f"is published to, is {'found' if gain > 0.01 else 'not found'}." in WORDS
