"""noli verify and attack: a flag that was given wins over a settings file, a default does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noli.api import _attack, _verify
from noli.core.errors import DataError

Run = Callable[..., Any]
FILE = "battery: standard\nclaim: naive\nseeds: 2\nmax_items: 700\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ("standard", "naive", 2)),
        ("--claim adaptive", ("standard", "adaptive", 2)),
        ("--battery quick --claim routine", ("quick", "routine", 2)),
        ("--seeds 1", ("standard", "naive", 1)),
        ("--set claim=adaptive", ("standard", "adaptive", 2)),
        ("--set claim=adaptive --claim routine", ("standard", "routine", 2)),
    ],
)
def test_flags_win_over_the_file(
    noli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, expected: tuple[str, str, int]
) -> None:
    assert _settings(noli, monkeypatch, tmp_path, "verify", flags) == expected


@pytest.mark.parametrize(("flags", "seeds"), [("", 2), ("--seeds 5", 5)])
def test_flags_of_attack_win_over_the_file(
    noli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, seeds: int
) -> None:
    assert _settings(noli, monkeypatch, tmp_path, "attack coin", flags)[2] == seeds


def test_defaults_without_a_file(noli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _settings(noli, monkeypatch, tmp_path, "verify", "", "{}") == ("quick", "routine", None)


def _settings(
    noli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str, flags: str, file: str = FILE
) -> tuple[str, str, int | None]:
    """Return battery, claim and seeds with which the judging would begin."""
    (tmp_path / "f.yaml").write_text(file)
    seen: list[Any] = []

    def judged(place: str, before: object, clean: str, cfg: Any, *_: object, **__: object) -> None:
        seen.append(cfg)
        raise DataError("Nothing is trained here.")

    monkeypatch.setattr(_verify, "judged", judged)
    monkeypatch.setattr(_attack, "judged", judged)
    words = (*verb.split(), tmp_path / "safe", "--clean", tmp_path, "--config", tmp_path / "f.yaml")
    assert noli(*words, *flags.split()).code == DataError.exit_code
    return seen[0].battery, seen[0].claim, seen[0].seeds
