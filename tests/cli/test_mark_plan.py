"""noli mark plan: what is needed, or why it cannot be reached, for people and for machines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from noli import api, options, registry
from noli.cli import mark
from noli.core.method import MethodConfig
from noli.proof import power

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
    counted = f"{needed:,} {unit} find" if needed > 1 else f"1 {unit.removesuffix('s')} finds"
    assert done.out.startswith(f"{counted} a marked model with probability ")
    assert done.err.startswith("Then: noli mark ")


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


# Every kind, plain and with all that a test can have otherwise than by default.
COMMANDS = [
    ("labels", ""),
    ("labels", "--alpha 1e-3 --tests 3 --k 2"),
    ("labels", "--sequential --tests 2"),
    ("choices", ""),
    ("choices", "--alpha 0.0012345678 --tests 5 --sequential"),
    ("texts", ""),
    ("texts", "--alpha 1e-9 --tests 7"),
    ("bits", ""),
    ("bits", "--alpha 1e-2 --tests 4"),
    ("decoys", ""),
    ("decoys", "--alpha 0.02 --tests 2"),
]


@pytest.fixture
def told(noli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], tuple[str, Any]]:
    """Run the command that a plan prints, up to the marking; return the method's name and its options."""
    noli("key", "new", tmp_path / "owner.key")
    seen: list[tuple[str, Any]] = []

    def caught(data: str, output: object, method: str, *, config: dict[str, object], **_: object) -> None:
        seen.append((method, options.resolve(registry.get(method), config)))
        raise typer.Exit(77)

    for name in ("mark", "mark_texts", "mark_model"):
        monkeypatch.setattr(api, name, caught)

    def run(said: str) -> tuple[str, Any]:
        line = re.fullmatch(r"Then: noli (mark .+)\n", said)
        assert line is not None, said
        there = {"owner.key": tmp_path / "owner.key", "OUT": tmp_path / "out"}
        assert noli(*(there.get(word, word) for word in shlex.split(line[1]))).code == 77
        return seen.pop()

    return run


@pytest.mark.parametrize(("kind", "more"), COMMANDS)
def test_the_command_that_follows_marks_for_the_test_that_was_planned(
    noli: Run, told: Callable[[str], tuple[str, MethodConfig]], kind: str, more: str
) -> None:
    line = " ".join(f"{KINDS[kind]} {more}".split())
    if "--alpha" in more:  # given twice, the last one would win anyway
        line = re.sub(r"--alpha \S+ (?=.*--alpha)", "", line)
    document = noli("mark", "plan", kind, *line.split(), "--json").json
    assert document["reachable"]
    method, cfg = told(noli("mark", "plan", kind, *line.split()).err)
    assert method == document["method"]
    wanted = registry.get(method).config.model_validate(document["settings"])
    assert cfg == wanted

    goal, got = document["goal"], cfg.model_dump()
    asked = {"labels": "keys", "choices": "documents", "texts": "documents", "bits": "images"}
    assert got[asked.get(kind, "triggers")] == document["needed"]
    assert got["control" if kind == "decoys" else "alpha"] == goal["alpha"]
    assert got["tests"] == goal["tests"]
    assert got.get("looks", "fixed") == document["looks"]
    if kind == "labels":
        assert got["k"] / 10 == pytest.approx(document["given"]["chance"])
    if kind == "choices":
        assert (got["ask"], 1 / got["variants"]) == ("choice", document["given"]["chance"])
    if kind == "texts":
        assert (got["ask"], got["variants"]) == ("scores", 8)
    if kind == "bits":
        assert got["bits"] == 48


def test_the_command_that_follows_has_the_power_that_was_planned(
    noli: Run, told: Callable[[str], tuple[str, Any]]
) -> None:
    given = ["--classes", "10", "--hit-rate", "0.6", "--alpha", "1e-3"]
    plan = noli("mark", "plan", "labels", *given, "--json").json
    _, cfg = told(noli("mark", "plan", "labels", *given).err)
    trials = np.array([cfg.keys])
    fewest = power.fewest_hits(trials, cfg.k / 10, cfg.alpha / cfg.tests)
    assert power.at_least(fewest, trials, 0.6)[0] == pytest.approx(plan["power"])
    # By what it printed before, the number of keys alone, the test is another one.
    alone = registry.get("mark/gratings").config(keys=cfg.keys)
    fewest = power.fewest_hits(trials, alone.k / 10, alone.alpha / alone.tests)
    assert power.at_least(fewest, trials, 0.6)[0] < 0.8 * plan["power"]


def test_a_plan_that_no_mark_takes_prints_no_command(noli: Run) -> None:
    done = noli("mark", "plan", "bits", "--bits", 300, "--accuracy", 0.9)
    assert (done.code, done.err) == (0, "")
    assert "No mark takes this: mark/sleepermark, bits=300" in words(done.out)


def test_one_is_not_several(noli: Run) -> None:
    done = noli("mark", "plan", "bits", "--bits", 128, "--accuracy", 0.95)
    assert done.out.startswith("1 picture finds a marked model with probability ")
    short = noli("mark", "plan", "labels", "--classes", 10, "--hit-rate", 1, "--budget", 1, "--sequential")
    assert short.out.startswith("NOT REACHABLE with 1 key.")
    assert "0 % of the marked models within 1 query" in words(short.out)
    every = noli("mark", "plan", "labels", "--classes", 10, "--hit-rate", 1, "--sequential")
    assert "100 % of the marked models within 10,000 queries" in words(every.out)


def test_a_rank_is_told_among_as_many_as_there_can_be(noli: Run) -> None:
    given = ("--effect", 1, "--alpha", 0.05, "--triggers", 64)
    document = noli("mark", "plan", "decoys", *given, "--json").json
    assert (document["reachable"], document["rule"]) == (False, "a rank of at most 3 of 64")
    assert document["smallest_p"] == 1 / 64
    assert document["power"] == pytest.approx(power.decoy_power(64, 3, 1.0))
    rated = noli("mark", "plan", "decoys", "--hit-rate", 0.8, "--triggers", 64, "--json").json
    assert (rated["reachable"], rated["rule"], rated["power"]) == (False, "a rank of at most 3 of 64", 0.8)


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
