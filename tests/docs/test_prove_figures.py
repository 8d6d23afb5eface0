"""Every measured figure of the page on proving use stands in the committed results."""

from __future__ import annotations

import json
import re

import pytest
from pages import DOCS, ROOT, tables

FOUND = json.loads((ROOT / "benchmarks/results/taggants.json").read_text())
PAGE = (DOCS / "prove-use.md").read_text("utf-8")
TEXT = " ".join(PAGE.replace("**", "").split())


def rows() -> dict[str, list[str]]:
    return {first: cells for first, *cells in tables(PAGE)}


@pytest.mark.parametrize("victim", FOUND["settings"]["gratings"]["victims"])
def test_the_table_of_victims(victim: str) -> None:
    found = FOUND["settings"]["gratings"]["victims"][victim]
    hits, worst, accuracy = rows()[victim]
    assert hits == ", ".join(map(str, found["hits"]))
    assert float(worst) == pytest.approx(max(found["p"]), rel=0.06)
    mean = sum(found["accuracy"]) / len(found["accuracy"])
    assert accuracy == f"{100 * mean:.1f} %"


@pytest.mark.parametrize("setting", [name for name in FOUND["settings"] if name != "gratings"])
def test_the_frontier(setting: str) -> None:
    found = FOUND["settings"][setting]
    victim = found["victims"].get("small, cutout") or found["victims"]["tiny"]
    keys, psnr, hits = rows()[setting]
    assert psnr == f"{found['psnr_of_marked']:.1f} dB"
    if found["needs"] == "weights":
        assert keys == "directions"
        assert hits == "p " + ", ".join(f"{one:.2f}" if one >= 0.01 else f"{one:.1e}" for one in victim["p"])
        return
    assert keys == str(found["keys"])
    assert hits == ", ".join(map(str, victim["hits"]))


def test_taggants_meet_the_same_thieves() -> None:
    weak, strong = (FOUND["settings"][name]["victims"] for name in ("taggants", "taggants, 64/255"))
    assert set(weak) == set(strong) == set(FOUND["settings"]["gratings"]["victims"])
    for found, words in ((weak, "at 16/255: {} to {} hits"), (strong, "which ruins pictures, {} to {}:")):
        hits = [count for row in found.values() for count in row["hits"]]
        assert words.format(min(hits), max(hits)) in TEXT
        assert all(len(row["hits"]) == 3 for row in found.values())
    for victim, words in {
        "tiny": "of the surrogate's kind",
        "half of the images": "with half of the images",
        "10,000 clean images more": "among clean ones",
        "JPEG 50 first": "after JPEG",
    }.items():
        assert f"{words} {', '.join(map(str, strong[victim]['hits']))}" in TEXT
    for name in ("taggants", "taggants, 64/255"):
        controls = FOUND["settings"][name]["controls"]
        assert (controls["models"], round(controls["smallest_p"], 3)) == (60, 0.043)


def test_the_controls() -> None:
    models = FOUND["settings"]["gratings"]["controls"]
    words = re.search(r"smallest of (\d+) p-values is ([\d.]+), and (\d+) are at most 0.05", TEXT)
    assert words is not None
    assert int(words[1]) == models["models"]
    assert float(words[2]) == pytest.approx(models["smallest_p"], rel=0.06)
    assert int(words[3]) == models["p_at_most_0.05"]
