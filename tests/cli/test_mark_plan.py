"""noli mark plan: what is needed, or why it cannot be reached, for people and for machines."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from noli.cli import mark

Run = Callable[..., Any]
KINDS = {
    "labels": "--classes 10 --hit-rate 0.4",
    "choices": "--options 4 --hit-rate 0.7",
    "texts": "--variants 8 --effect 1",
    "bits": "--bits 48 --accuracy 0.9",
    "decoys": "--hit-rate 0.95 --alpha 0.01",
}
OPTION = re.compile(r"^│ (?:[* ]  )?(-\S+)", re.MULTILINE)


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(("kind", "options"), KINDS.items())
def test_every_kind_has_a_plan(noli: Run, kind: str, options: str) -> None:
    done = noli("mark", "plan", kind, *options.split())
    assert done.code == 0
    document = noli("mark", "plan", kind, *options.split(), "--json")
    assert (document.code, document.err) == (0, "")
    assert (document.json["kind"], document.json["reachable"]) == (kind, True)
    needed, unit = document.json["needed"], document.json["unit"]
    assert done.out.startswith(f"{needed:,} {unit} find a marked model with probability ")
    assert ("noli mark gratings" in done.err) is (kind == "labels")


def test_a_plan_in_words(noli: Run) -> None:
    said = words(noli("mark", "plan", "labels", "--classes", 10, "--hit-rate", 0.4).out)
    for text in (
        "64 keys find a marked model with probability 0.905.",
        "assumed hit rate 0.4, chance 0.1",
        "evidence at least 21 hits of 64",
        "power 0.905 with 64 keys",
        "alpha 1e-06; the smallest p-value is 1e-64",
        "- Queries that are refused count as misses",
    ):
        assert text in said


def test_what_is_not_reachable_ends_with_1_and_says_why(noli: Run) -> None:
    options = ("--classes", 2, "--hit-rate", 1, "--budget", 10)
    done = noli("mark", "plan", "labels", *options)
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("NOT REACHABLE with 10 keys. Even 10 keys, all of them hits, have a p-value")
    document = noli("mark", "plan", "labels", *options, "--json")
    assert (document.code, document.json["needed"]) == (1, None)
    assert "at least 20 keys" in document.json["reason"]


def test_a_sequence_in_words(noli: Run) -> None:
    said = words(noli("mark", "plan", "labels", *KINDS["labels"].split(), "--sequential").out)
    assert "labels, looked at after every query" in said
    assert "an e-value of at least 1,000,000, at any time" in said
    assert re.search(r"queries \d+ in the median, \d+ in 9 of 10 cases", said)
    assert re.search(r"simulated, standard error 0\.00\d", said)
    short = noli("mark", "plan", "choices", *KINDS["choices"].split(), "--sequential", "--budget", 5)
    assert short.code == 1
    assert "queries more than 5 in the median" in words(short.out)


def test_all_options_arrive(noli: Run) -> None:
    given = "--classes 100 --k 5 --pilot 12/30 --alpha 1e-4 --power 0.8 --tests 3 --budget 50 --seed 7"
    plan = noli("mark", "plan", "labels", *given.split(), "--json").json
    assert plan["goal"] == {"alpha": 1e-4, "tests": 3, "power": 0.8, "limit": 50, "seed": 7}
    assert plan["given"]["chance"] == 0.05
    assert plan["given"]["hit_rate"] < 0.4
    assert "A larger pilot narrows it." in plan["notes"][0]
    shared = noli("mark", "plan", "labels", *given.split()).out
    assert "0.0001, shared by 3 tests" in shared
    texts = noli("mark", "plan", "texts", "--variants", 3, "--ranks", "7,2,1", "--json").json
    assert texts["given"]["mean_rank"] == pytest.approx(0.4)
    bits = noli("mark", "plan", "bits", "--bits", 32, "--pilot", "60/64", "--pictures", 9, "--json").json
    assert bits["goal"]["limit"] == 9
    decoys = noli("mark", "plan", "decoys", "--effect", 5, "--alpha", 0.05, "--triggers", 20, "--json").json
    assert (decoys["needed"], decoys["given"]) == (20, {"effect": 5.0})


def test_p_values_below_all_floats_are_written_as_such(noli: Run) -> None:
    said = noli("mark", "plan", "labels", "--classes", 1000, "--hit-rate", 0.0105, "--k", 5).out
    assert "the smallest p-value is below 1e-300" in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("labels", "--classes"),
        ("labels --classes 10", "--hit-rate 0.4, or --pilot 12/30"),
        ("labels --classes 10 --hit-rate 1.4", "less than or equal to 1"),
        ("labels --classes 10 --hit-rate 12/30", "--hit-rate"),
        ("labels --classes 10 --pilot 31/30", "for example 12/30"),
        ("texts --variants 3 --ranks 1,2", "give 3 numbers"),
        ("bits --bits 0 --accuracy 0.9", "greater than or equal to 1"),
        ("lables --classes 10", "labels"),
    ],
)
def test_usage_errors(noli: Run, line: str, says: str) -> None:
    done = noli("mark", "plan", *line.split())
    assert (done.code, done.out) == (2, "")
    assert says in words(done.err)


@pytest.mark.parametrize("kind", KINDS)
def test_help_shows_at_most_eight_options(noli: Run, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    short, full = (noli("mark", "plan", kind, flag).out for flag in ("--help", "--help-all"))
    assert len(OPTION.findall(short)) <= 8
    assert {"--power", "--tests"} <= set(OPTION.findall(full)) - set(OPTION.findall(short))
    assert "…" not in short
    assert all(len(line) <= 80 for line in short.splitlines())


def test_groups_without_a_command_give_their_help(noli: Run) -> None:
    for line in ("mark", "mark plan"):
        done = noli(*line.split())
        assert (done.code, done.err) == (2, "")
        assert done.out.split() == noli(*line.split(), "--help").out.split()
    assert {command.name or command.callback.__name__ for command in mark.PLAN.registered_commands} == set(
        KINDS
    )
