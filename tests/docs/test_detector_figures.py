"""The figures of docs/detectors.md are those of the benchmark's file."""

from __future__ import annotations

import json

import pytest
from pages import DOCS, ROOT

FOUND = json.loads((ROOT / "benchmarks" / "results" / "detectors.json").read_bytes())["settings"]
TEXT = (DOCS / "detectors.md").read_text("utf-8")
ROWS = (
    "folded cp", "folded np", "folded both", "folded cp, three layers", "folded np, three layers",
    "folded both, three layers", "paper cp", "paper np", "paper pp",
)  # fmt: skip
COLUMNS = ("key", "no key", "wrong keys", "worst wrong key")


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


@pytest.mark.parametrize("row", ROWS)
def test_what_the_key_is_worth(row: str) -> None:
    cells = []
    for data in ("bccd", "raccoon"):
        found = FOUND[f"{data}, {row}"]["map50"]
        cells.append("/".join(percent(found[column]["mean"]) for column in COLUMNS))
    assert f"| {row} | {' | '.join(cells)} |" in TEXT


@pytest.mark.parametrize("data", ["bccd", "raccoon"])
def test_what_a_detector_without_a_lock_finds(data: str) -> None:
    assert f"{percent(FOUND[f'{data}, unprotected']['map50']['plain']['mean'])} %" in TEXT


@pytest.mark.parametrize("layer", range(6))
def test_layers(layer: int) -> None:
    cells = []
    for data in ("bccd", "raccoon"):
        for form in ("cp", "np"):
            found = FOUND[f"{data}, each layer"]["layers"][f"{form} body.{layer}"]
            cells.append(f"{percent(found['no key'])}/{percent(found['worst wrong key'])}")
    assert f"| `body.{layer}` | {' | '.join(cells)} |" in TEXT


@pytest.mark.parametrize(("data", "form"), [(d, f) for d in ("bccd", "raccoon") for f in ("cp", "np")])
def test_wrong_places(data: str, form: str) -> None:
    found = FOUND[f"{data}, folded {form}"]["displaced"]
    cells = " | ".join(percent(found[str(count)]["mean"]) for count in (2, 4, 8, 16, 32, 64))
    assert f"| {data}, {form} | {cells} |" in TEXT


def test_fastestdet() -> None:
    found = FOUND["fastestdet, folded cp"]
    for name, kind in (
        ("chelsea", "cat"),
        ("motorcycle", "motorbike"),
        ("coffee", "cup"),
        ("astronaut", "person"),
    ):
        plain, key, none = (found["answers"][view][name] for view in ("plain", "key", "no key"))
        assert plain == key
        assert plain[0] == kind
        told = f"{none[0]} {none[1]:.2f}" if none else "nothing"
        assert f"| {name} | {kind} {plain[1]:.2f} | {told} |" in TEXT
    assert found["gap with key"] == 0


def test_thieves() -> None:
    (theft,) = FOUND["bccd, thief, folded both, three layers"]["theft"]
    assert f"{percent(theft['score'])} with the key:" in " ".join(TEXT.split())
    scores = {(row["attack"], row["labels"]): row["score"] for row in theft["rows"]}
    for attack in ("a linear layer in its place", "fine-tuning", "training from scratch"):
        cells = " | ".join(percent(scores[attack, labels]) for labels in (5, 20, 50, 100))
        assert f"| {attack} | {cells} |" in TEXT
    (plain,) = FOUND["bccd, thief, folded cp"]["theft"]
    one = {(row["attack"], row["labels"]): percent(row["score"]) for row in plain["rows"]}
    told = f"with 5 pictures reaches {one['a linear layer in its place', 5]} %, "
    assert told + f"the search with 20 pictures {one['search', 20]} %" in " ".join(TEXT.split())
    best = {labels: max(scores["fine-tuning", labels], scores["a linear layer in its place", labels])
            for labels in (20, 50, 100)}  # fmt: skip
    assert all(best[labels] - scores["training from scratch", labels] <= 0.05 for labels in best)
    assert FOUND["bccd, thief, folded both, three layers"]["needed"] == [{"80%": 50, "90%": 100, "95%": 100}]
