"""What a card says that its method stops, and does not stop, is what the leaderboard found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from pages import ROOT

from noli import registry
from noli.core.evidence import Row
from noli.core.method import Card
from noli.methods.verify.config import Config
from noli.methods.verify.verdicts import bounds

SETTINGS = json.loads((ROOT / "benchmarks/results/leaderboard.json").read_text())["settings"]
KEYS = 3
# What names a row in a card. Ordinary training is crop and flip, as everywhere in the documentation.
WORDS = {
    "crop+flip": r"(?i)crop and flip|\bordinary\b[^.:;]*\btraining",
    "grayscale": r"(?i)\bgr[ae]y",
    "jpeg-10": r"JPEG|(?i:compress)",
    "rsk+ff": r"RSK\+FF",
    "coin": r"\bCOIN\b",
    "op": r"(?i)orthogonal projection",
    "adversarial": r"(?i)adversarial training",
    "leak-1-pair": r"(?i)clean originals?\b|leaked pair",
}
# The settings that are a method with its defaults are named as the method; these are not.
NAMES = {"cuda": "cuda keyed"}
SHORT = {name: name.rpartition("/")[2] for name in registry.TABLE if name.startswith("protect/")}
MEASURED = sorted(name for name, short in SHORT.items() if NAMES.get(short, short) in SETTINGS)


def allowed(settings: Mapping[str, Any]) -> float:
    """The accuracy up to which a row counts as protected: the bound of `noli verify`, for ten classes."""
    usual = settings["clean"]["rows"]["crop+flip"]
    clean = Row(name="crop+flip", about="clean images", n=5_000, **usual)
    return bounds(clean, 0.1, Config().bound)[0]


def through(rows: Mapping[str, Any], bound: float) -> list[str]:
    """The main rows whose mean over enough keys is above the bound."""
    return [row for row in WORDS if len(rows[row]["values"]) >= KEYS and rows[row]["value"] > bound]


def faults(card: Card, rows: list[str]) -> list[str]:
    """What is wrong with a card of a method that these rows get through."""
    missing = [row for row in rows if not any(re.search(WORDS[row], line) for line in card.does_not_stop)]
    claimed = [row for row in rows if any(re.search(WORDS[row], line) for line in card.stops)]
    return [f"{row} is not named" for row in missing] + [f"{row} is said to be stopped" for row in claimed]


def test_the_rule_finds_what_is_missing_and_what_is_claimed() -> None:
    card = Card(
        "a", "b", ("Ordinary, long training.", "Grey copies."), ("COIN and RSK+FF.", "One leaked pair.")
    )
    assert faults(card, []) == []
    assert faults(card, ["rsk+ff", "coin", "leak-1-pair"]) == []
    assert faults(card, ["op", "jpeg-10"]) == ["op is not named", "jpeg-10 is not named"]
    assert faults(card, ["crop+flip"]) == ["crop+flip is not named", "crop+flip is said to be stopped"]
    assert faults(card, ["grayscale"]) == ["grayscale is not named", "grayscale is said to be stopped"]
    coincidence = Card("a", "b", ("Anything.",), ("What coincides.", "An original projection."))
    assert faults(coincidence, ["coin", "op"]) == ["coin is not named", "op is not named"]


def test_a_row_gets_through_by_its_mean_over_enough_keys() -> None:
    rows = {row: {"value": 0.2, "values": [0.2] * 3} for row in WORDS}
    rows |= {"coin": {"value": 0.31, "values": [0.31] * 3}, "op": {"value": 0.9, "values": [0.9] * 2}}
    assert through(rows, 0.3) == ["coin"]
    assert through(rows, 0.31) == []


def test_every_protecting_method_is_on_the_leaderboard() -> None:
    assert sorted(SHORT) == MEASURED


@pytest.mark.parametrize("name", MEASURED)
def test_a_card_names_what_gets_through(name: str) -> None:
    short = SHORT[name]
    rows = SETTINGS[NAMES.get(short, short)]["rows"]
    assert faults(registry.get(name).card, through(rows, allowed(SETTINGS))) == []


def percent(name: str, row: str = "adversarial", field: str = "value") -> str:
    return f"{100 * SETTINGS[name]['rows'][row][field]:.1f}"


def said(name: str) -> str:
    """Docstring and card of a method, as one line."""
    card = registry.get(name).card
    return " ".join(f"{registry.module(name).__doc__} {' '.join((*card.stops, *card.does_not_stop))}".split())


def test_figures_of_adversarial_training() -> None:
    teach, most = percent("clean"), f"{100 * allowed(SETTINGS):.1f}"
    words = f"where clean images teach it {teach} % and up to {most} % would count as protected"
    assert f"it left {percent('cuda keyed')} %, {words}" in said("protect/cuda")
    assert f"it left {percent('rem')} %, {words}" in said("protect/rem")
    card = " ".join(registry.get("protect/rem").card.does_not_stop)
    assert f"it left {percent('rem')} %, where clean images teach it {teach} %" in card
    ends = f"{percent('sem', field='low')} to {percent('sem', field='high')}"
    assert f"it left {percent('sem')} % ({ends}), {words}" in said("protect/sem")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            {"jpeg-10": 3, "resize": 1, "blur": 1, "median": 1, "bits-2": 1},
            "JPEG of quality 10 (three keys), resizing, blur, median filters and two bits per value (one key "
            "each): {} to {} % were left.",
        ),
        (
            {"test-time": 1, "pretrained": 1, "self-supervised": 1},
            "Adapting the trained network to unlabelled pictures, training from pre-trained weights, and "
            "self-supervised learning: {} to {} % were left (one key each).",
        ),
    ],
)
def test_what_else_keyed_cuda_leaves(rows: dict[str, int], words: str) -> None:
    cuda = SETTINGS["cuda keyed"]["rows"]
    assert {row: len(cuda[row]["values"]) for row in rows} == rows
    least, *_, most = sorted(rows, key=lambda row: cuda[row]["value"])
    assert cuda[least]["value"] > allowed(SETTINGS)
    assert words.format(percent("cuda keyed", least), percent("cuda keyed", most)) in said("protect/cuda")


def test_what_the_keys_of_salm_left() -> None:
    sets = json.loads((ROOT / "benchmarks/results/medical.json").read_text())["sets"]
    *first, last = (
        f"{100 * value:.1f}" for value in sets["chest"]["settings"]["salm"]["rows"]["crop+flip"]["values"]
    )
    assert f"three keys left {', '.join(first)} and {last} % on chest X-rays" in said("protect/salm")
