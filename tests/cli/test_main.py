"""Exit codes, error blocks, JSON errors, and what happens when the unexpected happens."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from noli.cli import console, main
from noli.core.errors import (
    DataError,
    Interrupted,
    MissingPrerequisite,
    NoliError,
    RunError,
    UsageError,
    WorkerDied,
)

Run = Callable[..., Any]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def list_names(*_: object) -> None:
        raise error

    monkeypatch.setattr("noli.registry.names", list_names)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("u"), 2),
        (MissingPrerequisite("m"), 3),
        (DataError("d"), 4),
        (RunError("r"), 5),
        (WorkerDied("w"), 5),
        (Interrupted("i"), 130),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("z"), 5),
    ],
)
def test_exit_codes(noli: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    failing(monkeypatch, error)
    done = noli("list")
    assert done.code == code
    assert done.out == ""
    assert done.err.startswith("noli: ")
    assert "Traceback" not in done.err


def test_a_failed_run_is_not_mistaken_for_a_verdict(noli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RunError("The disk is full."))
    assert json.loads(noli("list", "--json").err)["error"]["exit_code"] == 5
    said = " ".join(noli("--help").out.split())
    assert "1 done, but the claim is not supported; 2 usage" in said
    assert "5 the run failed, the same command resumes" in said


def test_the_error_block_says_what_where_why_and_what_to_do(
    noli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [f"cat/{i}.png" for i in range(25)]
    failing(
        monkeypatch,
        DataError("25 items are broken.", where="photos", why="truncated", fix="repair", items=items),
    )
    said = noli("list").err
    assert said.splitlines()[0] == "noli: 25 items are broken."
    for head, text in (("where", "photos"), ("why", "truncated"), ("do", "repair")):
        assert any(line.split() == [head, text] for line in said.splitlines())
    assert "cat/19.png" in said
    assert "cat/20.png" not in said
    assert "... and 5 more" in said


def test_errors_are_json_when_json_is_asked_for(noli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DataError("Broken.", where="w", items=["a", "b"]))
    document = json.loads(noli("list", "--json").err)
    assert document["error"] == {
        "type": "DataError",
        "exit_code": 4,
        "what": "Broken.",
        "where": "w",
        "why": None,
        "do": None,
        "items": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lsit"], "list"),
        (["list", "--jsn"], "--json"),
        (["explain"], "method"),
        (["protect", "cudda", "x", "-o", "y"], "did you mean protect/cuda?"),
        (["protect", "verify/learnability", "x", "-o", "y"], "noli verify"),
        (["verify", "x"], "--clean"),
        (["verify", "x", "--clean", "y", "--battery", "huge"], "quick"),
        (["key", "nwe"], "new"),
    ],
)
def test_usage_errors_end_with_2_and_a_hint(noli: Run, words: list[str], says: str) -> None:
    done = noli(*words)
    assert done.code == 2
    assert says in done.err


@pytest.mark.parametrize("words", [[], ["key"], ["t2ue"], ["protect"]], ids=str)
def test_a_missing_command_gives_the_help_and_nothing_else(noli: Run, words: list[str]) -> None:
    done = noli(*words)
    assert (done.code, done.err) == (2, "")
    assert done.out.split() == noli(*words, "--help").out.split()


def test_debug_shows_where_it_happened(noli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("z"))
    monkeypatch.setenv("NOLI_DEBUG", "1")
    with pytest.raises(NoliError) as caught:
        noli("list")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_closed_pipe_is_no_error(noli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    kept = sys.stdout
    failing(monkeypatch, BrokenPipeError())
    assert noli("list").code == 0
    monkeypatch.setattr(sys, "stdout", kept)


def test_version(noli: Run) -> None:
    assert noli("--version").out.startswith("noli 0.")


def test_every_help_page_exists_and_says_something(noli: Run) -> None:
    for verb in main.COMMANDS:
        done = noli(verb, "--help")
        assert done.code == 0
        assert len(done.out) > 200, verb


OPTION = re.compile(r"^│ (?:[* ]  )?(-\S+)", re.MULTILINE)
PAGES = [
    *main.COMMANDS,
    "protect cuda",
    "protect auto",
    *(f"key {verb}" for verb in ("new", "commit", "show", "rotate", "revoke")),
]


@pytest.mark.parametrize("words", PAGES)
def test_help_shows_at_most_eight_options(noli: Run, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = noli(*words.split(), "--help").out
    assert "--help" in OPTION.findall(said)
    assert len(OPTION.findall(said)) <= 8
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "…" not in said, "something was cut off"


@pytest.mark.parametrize(
    ("words", "rare"),
    [
        ("protect cuda", "--config --format --metadata --on-error --labels --workers --run --jitter --quiet"),
        ("protect auto", "--anyway --only --seed --json --set --config --format --labels --run --quiet"),
        ("verify", "--config --labels --run --quiet"),
        ("undo", "--workers --run --quiet"),
        ("diff", "--labels --quiet"),
        ("demo", "--config --quiet"),
    ],
)
def test_help_all_shows_the_rare_options(noli: Run, words: str, rare: str) -> None:
    short, full = (noli(*words.split(), flag) for flag in ("--help", "--help-all"))
    assert full.code == 0
    assert "More options: --help-all" in short.out
    assert "--help-all" not in full.out
    assert set(OPTION.findall(full.out)) >= {*OPTION.findall(short.out), *rare.split()}
    assert not set(rare.split()) & set(OPTION.findall(short.out))
    assert noli(*words.split(), "--help").out == short.out


def test_every_group_is_tested() -> None:
    assert main.COMMANDS.keys() <= set(PAGES)


def test_numbers_are_written_for_people() -> None:
    assert (console.spread(0.5, 0.25, "", 3), console.spread(None, None)) == (
        "0.500 on average, 0.250 at worst", "-"
    )  # fmt: skip


def test_quiet_and_json_keep_hints_away(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, shown in (({}, True), ({"quiet": True}, False), ({"json": True}, False)):
        console.Output(**flags).hint("a hint")
        assert ("a hint" in capsys.readouterr().err) is shown


@pytest.mark.parametrize("as_json", [False, True])
def test_secrets_in_urls_are_not_printed(noli: Run, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    where = "s3://me:SECRET@host/bucket?X-Amz-Signature=SECRET"
    failing(monkeypatch, DataError("No.", where=where, why=f"see {where}", fix=where, items=[where]))
    done = noli("list", *(["--json"] if as_json else []))
    assert "SECRET" not in done.err
    assert "s3://host/bucket" in done.err


def test_a_command_without_stdout_still_ends_well() -> None:
    command = ["sh", "-c", 'exec "$0" -m noli list >&-', sys.executable]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, b"went wrong" in done.stderr) == (0, False)
