"""The stored null calibration: whole, no inflation where noli is sound, inflation where practice is not."""

from __future__ import annotations

import json
import sys
from math import comb, factorial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import common
import evidence_null

STORED = json.loads((common.RESULTS / "evidence_null.json").read_text())
PARTS = STORED["parts"]


def rows(group):
    return [
        (part, name, float(level), found, row["owners"])
        for part, body in PARTS.items()
        for name, row in body.get(group, {}).items()
        for level, found in row["levels"].items()
    ]


def test_every_part_is_there_with_enough_owners():
    assert set(PARTS) == set(evidence_null.PARTS)
    assert all(owners >= 10_000 for *_, owners in rows("sound") + rows("unsound"))
    assert sum(len(body.get("sound", {})) for body in PARTS.values()) > 90
    assert {level for _, _, level, _, _ in rows("sound")} == set(evidence_null.LEVELS)


def test_the_stored_figures_follow_from_the_cells():
    made = evidence_null.summary(common.Cells("evidence_null"))
    assert json.loads(json.dumps({key: made[key] for key in ("parts", "verdict", "networks")})) == {
        key: STORED[key] for key in ("parts", "verdict", "networks")
    }


def test_no_sound_test_is_inflated():
    """Of several hundred intervals at 95 % some lie above by chance; all at once, none does."""
    found = rows("sound")
    above = [row for row in found if row[3]["low"] > row[2]]
    assert STORED["verdict"]["intervals"] == len(found)
    assert len(STORED["verdict"]["above_at_95"]) == len(above) <= 0.025 * len(found)
    assert STORED["verdict"]["inflated"] == []


@pytest.mark.parametrize(("part", "count", "chance"), [("labels-20", 20, 0.1), ("labels-50", 50, 0.1),
                                                       ("choices", 40, 0.5)])  # fmt: skip
def test_binomial_tests_reach_what_they_must(part, count, chance):
    """Neither too often nor too seldom: within what a binomial count does once in a million."""
    for level, exact in PARTS[part]["exact"].items():
        assert exact == pytest.approx(
            max(p for p in binom.sf(range(-1, count), count, chance) if p <= float(level))
        )
        for name in (
            "random",
            "constant",
            "collapsed on two classes",
            "Zipf",
            "goes by another owner's hits",
        ):
            row = PARTS[part]["sound"][name]
            reached = row["levels"][f"{float(level):.4g}"]["reached"]
            low, high = binom.ppf([5e-7, 1 - 5e-7], row["owners"], exact)
            assert low <= reached <= high, (part, name, level)


@pytest.mark.parametrize(
    ("part", "name", "levels"),
    [
        ("best-of-k", "10 classes, 20 queries", (0.05, 0.01)),
        ("best-of-k", "100 classes, 10 queries", (0.05, 0.01)),
        ("labels-sequential", "fixed test after each of 100 queries", (0.05, 0.01, 0.001)),
        ("bits", "bits pooled over pictures", (0.05, 0.01, 0.001, 1e-4, 1e-6)),
    ],
)
def test_unsound_practices_are_inflated(part, name, levels):
    for level in levels:
        assert PARTS[part]["unsound"][name]["levels"][f"{level:.4g}"]["low"] > level


def test_labels_without_replacement_may_hit_more_often_than_independent_ones():
    unsound = PARTS["without-replacement"]["unsound"]
    for name, row in unsound.items():
        above = [found["low"] > float(level) for level, found in row["levels"].items()]
        assert all(above) if name != "constant" else not any(above), name
    shuffles = [1, 0]
    for n in range(2, 11):
        shuffles.append((n - 1) * (shuffles[-1] + shuffles[-2]))  # orders that leave nothing in its place
    law = np.array([comb(10, hits) * shuffles[10 - hits] for hits in range(11)]) / factorial(10)
    for hits, found in zip((4, 5, 6), sorted_levels(unsound["each class once"]), strict=True):
        low, high = binom.ppf([5e-7, 1 - 5e-7], 20_000, law[hits:].sum())
        assert low <= found["reached"] <= high


def sorted_levels(row):
    """From the largest level to the smallest."""
    return [row["levels"][level] for level in sorted(row["levels"], key=float, reverse=True)]


def test_a_ground_seed_is_untimely_and_a_beacon_makes_it_worthless():
    found = PARTS["grinding"]["grinding"]
    assert found["seeds"] == 100_000
    assert found["best_p"] < 1e-3
    assert found["check"]["status"] == "untimely"
    assert found["check"]["if the model were younger"] == "valid"
    assert found["beacons"]["count"] == 200
    assert found["beacons"]["ks_p"] > 1e-3


def test_the_networks_answer_noise_with_few_classes():
    """Which is why the labels, not the answers, must be random."""
    assert all(net["accuracy"] > 0.5 for net in STORED["networks"].values())
    assert all(net["largest share"] > 0.2 for net in STORED["networks"].values())
