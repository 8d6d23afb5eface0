"""noli demo: every step, twice, on the user's own pictures and on the embedded ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import noli
from noli.api import _demo
from noli.cli.main import main
from noli.core.run import Run
from noli.data.demo import photo_crops

SMALL_TEST = {"min_test": 10, "min_per_class": 5}


def test_the_demo_on_own_pictures(class_folders: Callable[..., Path], training: Any, tmp_path: Path) -> None:
    photos, dest, said = class_folders(each=20), tmp_path / "demo", []
    found = noli.demo(dest, photos, workers=1, say=said.append, config=SMALL_TEST)
    assert [line[:3] for line in said] == ["1/6", "2/6", "3/6", "4/6", "5/6", "6/6"]
    assert (found.clean, found.paper, found.keyed) == pytest.approx((0.9, 0.4, 0.4), abs=0.05)
    assert found.report == dest / "report.html"
    assert found.report.is_file()
    assert sorted(path.name for path in dest.iterdir() if path.is_dir()) == [
        "back", "back.noli", "safe", "safe-paper", "safe-paper.noli", "safe-paper.verify.noli", "safe.noli"
    ]  # fmt: skip
    assert Run.open(dest / "safe-paper.noli").manifest.args_resolved["config"]["mode"] == "paper"
    assert Run.open(dest / "safe.noli").manifest.args_resolved["config"]["mode"] == "keyed"
    trainings = len(training.asked)
    again = noli.demo(dest, photos, workers=1, config=SMALL_TEST)
    assert len(training.asked) == trainings
    assert again.evidence.rows == found.evidence.rows


def test_the_embedded_demo_says_where_the_report_is(
    training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def few(dest: Path, *, per_class_train: int = 0, equalised: bool = False) -> Path:
        return photo_crops(dest, per_class_train=12, per_class_test=8, equalised=equalised)

    monkeypatch.setattr(_demo, "photo_crops", few)
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["demo", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr()
    assert str(tmp_path / "demo/report.html") in said.out
    for word in (
        "original pictures",
        "as published",
        "default mode",
        "guessing",
        "90.2 %",
        "without colour",
        "dB PSNR",
    ):
        assert word in said.out
    for step in range(1, 9):
        assert f"{step}/8" in said.err
    for word in (
        "trained on the marked pictures",
        "20 secret questions",
        "demo/proof.zip",
        "demo/proof.html",
        "what comes back without the key",
        "pictures like these",
        "demo/locked-etc.audit.html",
    ):
        assert word in said.out


def test_the_demo_battery_fits_the_time_and_the_claim() -> None:
    from noli.methods.verify.battery import table
    from noli.methods.verify.config import Config

    cfg = Config.model_validate(dict(_demo.SMALL))
    levels = {measure.level for measure in table(cfg)}
    assert levels == {"naive", "routine", "adaptive"}, "the demo leaves out context rows only"
    assert cfg.max_items is not None
    assert cfg.max_items * cfg.epochs <= 20_000
