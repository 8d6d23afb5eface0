"""Every measured figure of the page on texts stands in the committed results."""

from __future__ import annotations

import json
import re

import pytest
from pages import DOCS, ROOT, tables

from noli.ops import membership

FOUND = json.loads((ROOT / "benchmarks/results/leximark.json").read_text())
PAGE = (DOCS / "prove-texts.md").read_text("utf-8")
TEXT = " ".join(PAGE.replace("**", "").split())


def rows() -> dict[str, list[str]]:
    return {first: cells for first, *cells in tables(PAGE)}


@pytest.mark.parametrize("thief", FOUND["keyed"])
def test_the_table_of_thieves(thief: str) -> None:
    found = FOUND["keyed"][thief]["p"]
    keys, *shown = rows()[thief]
    assert keys == str(len(found["200"]))
    assert shown == [f"{max(found[count]):.1e}" for count in ("50", "100", "200")]


def test_a_published_model_that_read_further() -> None:
    passes = json.loads((ROOT / "benchmarks/results/smollm.json").read_text())["passes"]
    once, before = passes["1"], passes["0"]
    keys = "one key" if len(once["keys"]) == 1 else f"{len(once['keys'])} keys"
    worst = [f"{max(once['p'][count]):.1e}" for count in ("50", "200")]
    assert f"once: p = {worst[0]} with 50 passages asked and {worst[1]} with 200 ({keys})" in TEXT
    control = f"{min(before['p']['200']):.2g} with 200, and {min(before['p']['50']):.2g} with the first 50"
    assert f"As it was published, p = {control} of them" in TEXT
    assert "134.5 million parameters" in TEXT


def test_what_choices_alone_would_have_shown() -> None:
    words = re.search(r"worst p-values were (\S+) after four readings and (\S+) after eight", TEXT)
    assert words is not None
    worst = [max(FOUND["keyed"][f"{n} epochs"]["p_of_choices"]) for n in (4, 8)]
    assert list(words.groups()) == [f"{one:.1e}" for one in worst]


def test_the_controls() -> None:
    words = re.search(r"(\d+) p-values of models that had not read them, the smallest is ([\d.]+)\.", TEXT)
    assert words is not None
    assert int(words[1]) == len(FOUND["control"]["p"])
    assert float(words[2]) == pytest.approx(min(FOUND["control"]["p"]), abs=0.005)


def test_the_papers_own_measure() -> None:
    def mean(setting: str, score: str) -> str:
        values = FOUND["auroc"][setting][score]
        return f"{100 * sum(values) / len(values):.1f}"

    for score in membership.SCORES:
        shown = [mean(setting, score) for setting in ("control", "unmarked", "marked", "marked densely")]
        assert rows()[score] == shown


def test_no_score_is_left_out() -> None:
    assert all(set(row) == set(membership.SCORES) for row in FOUND["auroc"].values())
    draws = {len(values) for row in FOUND["auroc"].values() for values in row.values()}
    assert draws == {3}
    assert "mean of three draws" in TEXT
    read = [value for name, row in FOUND["auroc"].items() if name != "control" for value in row["zlib"]]
    assert f"({100 * min(read):.1f} to {100 * max(read):.1f} in single draws of what was read)" in TEXT


def test_how_many_keys_there_are_is_said() -> None:
    keys = {thief: len(found["p"]["200"]) for thief, found in FOUND["keyed"].items()}
    assert set(keys.values()) == {2, 3}
    assert "Each row has two or three keys" in TEXT
