"""The figures of docs/keyed-models.md are those of the benchmarks' files."""

from __future__ import annotations

import json

import pytest
from pages import DOCS, ROOT

RESULTS = ROOT / "benchmarks" / "results"
TEXT = (DOCS / "keyed-models.md").read_text()
REFEREES = {
    "APGD-CE": "apgd-ce",
    "APGD-DLR": "apgd-dlr",
    "APGD-T": "apgd-t",
    "FAB-T": "fab-t",
    "Square": "square",
    "PGD": "pgd",
    "PGD, L2": "pgd, L2",
}


@pytest.mark.parametrize("row", REFEREES)
def test_referees(row: str) -> None:
    found = json.loads((RESULTS / "referees.json").read_bytes())
    cells = []
    for name in ("plain", "adversarial"):
        one = found["networks"][name]["attacks"][REFEREES[row]]
        cells.append(" / ".join(f"{100 * one[who]['accuracy']:.1f}" for who in ("ours", "referee")))
        assert one["as good"] is True
        # What the page says of the cost.
        assert one["ours"]["cpu_seconds"] <= 3 * one["referee"]["cpu_seconds"]
    assert f"| {row} | {cells[0]} | {cells[1]} |" in TEXT
    assert found["images"] == 200
