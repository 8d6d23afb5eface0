"""Every measured figure of the page on models stands in the committed results."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pages import DOCS, ROOT, tables

CELLS = json.loads((ROOT / "benchmarks/results/sleepermark.json").read_text())["cells measured"]
PAGE = (DOCS / "prove-models.md").read_text("utf-8")
TEXT = " ".join(PAGE.replace("**", "").split())
KEYS = range(3)
DESIGNS = {"fixed picture": "picture", "every prompt": "always"}
WAYS = {"all weights": "full", "LoRA": "lora"}
DISTORTED = {"JPEG 50": "jpeg", "blurred": "blur", "noise": "noise", "halved and enlarged": "resize"}
QUIET = {"without the trigger": "plain", "unmarked model": "unmarked"}
ROWS = [row for row in tables(PAGE) if "keys" not in " ".join(row)]


def cells_of(label: str) -> list[dict[str, Any]]:
    """Return the measurements that a row of the table is the worst of."""
    first, _, rest = label.partition(", ")
    marked = [CELLS[f"design/trigger/{n}"] for n in KEYS]
    if first in DESIGNS:
        way = rest.removeprefix("fine-tuned, ")
        return [CELLS[f"attack/{DESIGNS[first]}/0/{WAYS[way]}" if rest else f"design/{DESIGNS[first]}/0"]]
    if first == "fine-tuned":
        return [CELLS[f"attack/trigger/{n}/{WAYS[rest]}"] for n in KEYS]
    if rest.startswith("guidance"):
        return [one["guidance"][rest.split()[1]] for one in marked]
    if rest:
        return [one["distorted"][DISTORTED[rest]] for one in marked]
    if first == "triggered":
        return marked
    return [one[QUIET[first]] for one in marked]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table(row: list[str]) -> None:
    label, keys, right, p, decoys = row
    cells = cells_of(label)
    assert keys == str(len(cells))
    # What should show nothing is at its worst where it shows most.
    least, most = (max, min) if label in QUIET else (min, max)
    assert right == f"{100 * least(one['accuracy'] for one in cells):.1f}"
    assert p == f"{most(one['p'] for one in cells):.1e}"
    ranks = [one["decoys"]["p"] for one in cells if "decoys" in one]
    assert decoys == (f"{max(ranks):.3f}" if ranks else "")


def test_all_that_was_measured_is_shown() -> None:
    assert len(ROWS) == 1 + len(DISTORTED) + 2 + len(WAYS) + 2 + len(DESIGNS) * (1 + len(WAYS))


def test_the_sentences_below_it() -> None:
    found = re.search(r"costs ([\d.]+) dB PSNR .* change by ([\d.]+) % of what another seed", TEXT)
    assert found is not None
    assert found[1] == f"{CELLS['mark']['psnr']:.1f}"
    drifts = [CELLS[f"design/trigger/{n}"]["drift"] for n in KEYS]
    assert found[2] == f"{100 * max(one['mse'] / one['seed noise'] for one in drifts):.1f}"
    decoys = [CELLS[f"design/trigger/{n}"]["decoys"] for n in KEYS]
    best, true = max(one["best"] for one in decoys), min(one["true"] for one in decoys)
    assert f"the best decoy reaches {best:.2f} (true ones at least {true:.2f})" in TEXT
    assert "may find that there is a message" in TEXT
    assert max(CELLS[f"design/trigger/{n}"]["plain"]["accuracy"] for n in KEYS) > 0.5


def test_what_was_tested_of_pictures_without_the_trigger() -> None:
    """The owner's message leaks with two keys; what is uniform are the p-values of random messages."""
    marked = [CELLS[f"design/trigger/{n}"] for n in KEYS]
    own = [one["plain"] for one in marked]
    p = [f"{one['p']:.1e}" if one["p"] < 0.01 else f"{one['p']:.2f}" for one in own]
    right = [f"{100 * one['accuracy']:.1f}" for one in own]
    assert f"has p = {p[0]}, {p[1]} and {p[2]} ({right[0]}, {right[1]} and {right[2]} % of the bits" in TEXT
    assert sum(one["p"] < 0.01 for one in own) == 2
    assert "with two of three keys a little of the message leaks into them" in TEXT
    assert {one["pictures"] for one in own} == {20}
    null = [one["plain p of messages"] for one in marked]
    assert {one["messages"] for one in null} == {1000}
    ks = [f"{one['ks p']:.{2 if one['ks p'] > 0.1 else 3}f}" for one in null]
    small = [f"{100 * one['at 0.05']:.1f}" for one in null]
    assert "those of 1,000 random messages per key" in TEXT
    assert f"p {ks[0]}, {ks[1]} and {ks[2]}; at most 0.05 are {small[0]}, {small[1]} and {small[2]} %" in TEXT
    judged = json.loads((ROOT / "benchmarks/results/sleepermark.json").read_text())["judged"]
    bits = judged["plain bit accuracy"]
    assert (bits["least"], bits["most"], bits["reached"]) == (0.4, 0.6, True)
    assert "p of random messages in plain pictures, uniform (KS p)" in judged
    assert not any("plain p uniform" in name for name in judged)
