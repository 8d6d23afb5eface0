"""The table of false accusations is that of the committed results: worst rows, intervals, all parts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pages import DOCS, ROOT, tables

FOUND = json.loads((ROOT / "benchmarks/results/evidence_null.json").read_text())
PARTS = FOUND["parts"]
PAGE = (DOCS / "evidence.md").read_text("utf-8")
TEXT = " ".join(PAGE.replace("**", "").split())
TABLE = [row for row in tables(PAGE) if re.search(r"\(\d", " ".join(row))]
LEVELS = ("0.05", "0.01", "0.001")
SOUND = {
    "classes, 20 questions": "labels-20",
    "classes, 50 questions": "labels-50",
    "classes, up to 100, looked at after each": "labels-sequential",
    "three classes count, 20 questions": "lists-3",
    "five classes count, 20 questions": "lists-5",
    "lists of another length than registered": "list-lengths",
    "named variants, 40": "choices",
    "named variants, looked at after each": "choices-sequential",
    "scored texts, 20": "texts",
    "scored texts, up to 8, looked at after each": "texts-sequential",
    "message of 48 bits, 10 pictures": "bits",
    "trigger among 1,000 strings": "decoys",
}
UNSOUND = {
    "best of k = 1 to 10, ten classes": ("best-of-k", "10 classes, 20 queries"),
    "best of k = 1 to 10, a hundred classes": ("best-of-k", "100 classes, 10 queries"),
    "looking after every question, unpaid": ("labels-sequential", "fixed test after each of 100 queries"),
    "message bits pooled over pictures": ("bits", "bits pooled over pictures"),
}


def rate(rows: list[dict[str, Any]], level: str) -> str:
    """The largest share among rows in per cent, with its interval."""
    worst = max((row["levels"][level] for row in rows), key=lambda one: one["rate"])
    low, high = 100 * worst["low"], 100 * worst["high"]
    return f"{100 * worst['rate']:.2f} ({low:.2f} to {high:.2f})"


@pytest.mark.parametrize("label", SOUND)
def test_the_tests_that_noli_makes(label: str) -> None:
    rows = list(PARTS[SOUND[label]]["sound"].values())
    owners = {row["owners"] for row in rows}
    assert len(owners) == 1
    shown = next(row for row in TABLE if row[0] == label)
    assert shown[1:3] == [str(len(rows)), f"{owners.pop():,}"]
    assert shown[3:] == [rate(rows, level) for level in LEVELS]


@pytest.mark.parametrize("label", UNSOUND)
def test_the_practices_that_it_does_not_offer(label: str) -> None:
    part, name = UNSOUND[label]
    row = PARTS[part]["unsound"][name]
    shown = next(cells for cells in TABLE if cells[0] == label)
    assert shown == [label, "1", f"{row['owners']:,}", *(rate([row], level) for level in LEVELS)]


def test_nothing_is_left_out() -> None:
    assert {row[0] for row in TABLE} == {*SOUND, *UNSOUND}
    # Families of tests, grinding and draws without replacement have other levels, and words of their own.
    rest = {"holm", "e-bh", "grinding", "without-replacement"}
    assert {*SOUND.values(), *(part for part, _ in UNSOUND.values())} | rest == set(PARTS)


def test_the_words() -> None:
    verdict = FOUND["verdict"]
    assert len(verdict["above_at_95"]) == 1
    assert verdict["above_at_95"][0].startswith("decoys, heavy tails, 0.05")
    assert verdict["inflated"] == []
    assert f"Of {verdict['intervals']} such intervals one lies above its level" in TEXT
    assert min(row["owners"] for part in PARTS.values() for row in part.get("sound", {}).values()) == 10_000
    holm, e_bh = (list(PARTS[name]["sound"].values()) for name in ("holm", "e-bh"))
    share = 100 * max(row["levels"]["0.05"]["rate"] for row in holm)
    assert f"any of ten is accused wrongly in {share:.1f} % of families at 5 %" in TEXT
    named = 100 * max(row["levels"]["0.01"]["rate"] for row in e_bh)
    assert f"(Holm), at 1 % in {named:.2f} % (e-BH)" in TEXT
    bare = PARTS["without-replacement"]["unsound"]["lists of five, one half of the classes each"]["levels"]
    assert f"a p-value of 5.5 % comes up in {100 * bare['0.05469']['rate']:.1f} %" in TEXT
    ground = PARTS["grinding"]["grinding"]
    assert f"{ground['seeds']:,} secrets against a known model finds p = {ground['best_p']:.1e}" in TEXT
    assert ground["check"]["status"] == "untimely"
    assert ground["beacons"]["levels"]["0.01"]["reached"] == 1
    assert f"one of {ground['beacons']['count']} rounds gives these secrets p at most 1 %" in TEXT
