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


WAYS = (
    "L1, the public network",
    "L1, a keyed model of his own",
    "L2, the secret layers without a transform",
    "L2, the public first layer under the secret head",
    "L2, a permutation estimated from the public network",
    "L3, the model with its key",
)


def test_the_matrix() -> None:
    found = json.loads((RESULTS / "keyed_models.json").read_bytes())["settings"]["convmixer"]
    mean = {row: 100 * one["mean"] for row, one in found.items() if row != "keys"}
    for way in WAYS:
        cells = " | ".join(f"{mean[f'{way}, {attack}']:.1f}" for attack in ("APGD-CE", "APGD-T", "FAB-T"))
        assert f"| {way} | {cells} |" in TEXT
    said = " ".join(TEXT.split())
    assert (
        f"right in {mean['clean'] + 1e-6:.1f} % with its key, {mean['plain'] + 1e-6:.1f} % without any lock"
        in said
    )
    assert f"{mean['no key'] + 1e-6:.1f} % without the key, and {mean['worst wrong key']:.1f} % under" in said
    guessed = mean["L2, a guessed key, the best of 20, APGD-CE"]
    words = f"Square leaves {mean['L0, queries, Square']:.1f} %, the best of 20 guessed keys {guessed:.1f} %"
    assert f"{words}, the unlocked network {mean['plain attacked']:.1f} %" in said
    assert f"gives {mean['thief, matched'] - 1e-6:.1f} % without any key" in said
    assert f"{mean['attacked clean']:.1f} % of the pictures that are attacked" in said
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    told = f"of the {mean['clean'] + 1e-6:.1f} % of a keyed network on CIFAR-10, "
    assert told + f"{mean['thief, matched'] - 1e-6:.1f} % by matching weights alone" in readme


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


def test_fleets() -> None:
    (cell,) = json.loads((RESULTS / "fleets.json").read_bytes())["settings"]["convmixer, rank 8"]
    said = " ".join((DOCS / "fleets.md").read_text().split())
    for row, name in (
        ("the device itself", "own"),
        ("another device, mean", "across"),
        ("another device, worst pair", "worst across"),
        ("a device of the attacker's own", "attacker's own device"),
        ("the public network", "public network"),
    ):
        assert f"| {row} | {100 * cell[name]:.1f} % |" in said
    shares = [f"{100 * cell[name]:.1f} %" for name in ("clean", "no key", "attacked clean")]
    assert f"right in {shares[0]}, without the key in {shares[1]}, and have" in said
    assert f"have {cell['largest_bytes'] / 1000:.0f} kB each" in said
    assert f"attacked, {shares[2]} are right before" in said
    assert f"So {100 * cell['kept']:.0f} % of the accuracy is kept" in said
    assert cell["aims"] == {"off the diagonal": False, "no key": False, "size": True}
