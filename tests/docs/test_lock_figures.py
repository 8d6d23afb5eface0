"""The figures of docs/perceptual-encryption.md are those of the benchmark's file."""

from __future__ import annotations

import json

import pytest
from pages import DOCS, ROOT

FOUND = json.loads((ROOT / "benchmarks" / "results" / "scramble_speed.json").read_bytes())
TEXT = (DOCS / "perceptual-encryption.md").read_text()
JPEG = {
    "blocks of 16": "etc 16",
    "blocks of 8": "etc 8",
    "blocks of 4": "etc 4",
    "blocks of 16, chroma halved (4:2:0)": "etc 16, half chroma",
    "grey, full chroma, blocks of 8": "grey, full chroma 8",
    "grey, half chroma, blocks of 8": "grey, half chroma 8",
}
SPEED = {"`etc`": "etc", "`shuffle`, shf": "shf", "`pixel`": "pixel", "`shuffle`, ffx": "ffx", "`le`": "le",
         "`ele`": "ele"}  # fmt: skip


@pytest.mark.parametrize("row", JPEG)
def test_jpeg(row: str) -> None:
    made = FOUND["jpeg"][f"{JPEG[row]}, quality 90"]
    plain, back, size = (made[name] for name in ("jpeg_db", "scrambled_db", "size_ratio"))
    assert f"| {row} | {plain:.1f} dB | {back:.1f} dB | {size:.2f} times |" in TEXT


def test_audits() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "audits.json").read_bytes())["schemes"]
    back = {(name, row): one["back"] for name, told in found.items() for row, one in told["rows"].items()}
    alone = [back["etc, 16", "jigsaw"], back["etc, 8", "jigsaw"], back["pixel", "leading bit"]]
    words = "back {:.0f} % of `etc` with blocks of 16, {:.0f} % with blocks of 8 and {:.0f} % of `pixel`"
    assert words.format(*(100 * one for one in alone)) in " ".join(TEXT.split())
    assert min(back[name, "statistics"] for name in ("shf, 4", "shf, 8", "shf, 16", "le, 4")) >= 0.99
    assert min(share for (_, row), share in back.items() if row in ("one pair", "chosen pictures")) >= 0.99
    told = [
        back[f"ele, 4{fewer}", "statistics"] for fewer in ("", *(f", {n} pictures" for n in (100, 50, 25)))
    ]
    assert (told[0], told[2], told[3]) == (1, 0, 0)
    words = f"and all of `ele` (of 100 pictures {100 * told[1]:.0f} %, of 50 or 25 none;"
    assert words in " ".join(TEXT.split())
    assert not found["ele, 4, fresh"]["rows"]
    assert all(one["cpu_seconds"] < 300 for one in found.values())


def test_learning() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "scrambled_learning.json").read_bytes())
    small = found["networks"]["small"]
    order = ("plain", "shf", "le", "pixel", "etc", "ele")
    cells = [f"{100 * small[name]['accuracy']:.1f} %" for name in order]
    assert f"| {' | '.join(cells)} |" in TEXT
    assert {len(small[name]["values"]) for name in order} == {3}
    assert found["order found"] is True


@pytest.mark.parametrize("row", SPEED)
def test_speed(row: str) -> None:
    small, large = (FOUND["speed"][f"{SPEED[row]} {side}"] for side in (32, 224))
    times = f"{large['times_block_by_block']:.1f} times " if "times_block_by_block" in large else ""
    numbers = [small["per_second"], large["per_second"], large["fresh_key_per_second"]]
    cells = " | ".join(f"{number:,.0f}" for number in numbers)
    assert f"| {row} | {cells} | {times}|" in TEXT
