"""noli.choose, noli.protect_auto and noli protect auto: from trials to an ordinary run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import noli
from noli.cli.main import main
from noli.core.choice import Choice, NoChoice
from noli.core.errors import DataError, Interrupted, OutputExists, UsageError
from noli.core.key import Key
from noli.core.run import Run
from noli.engine.auto import candidates
from noli.engine.auto.candidates import Candidate, wanted
from noli.testing.fixtures import StopsAfter, tree

SMALL: dict[str, Any] = {"config": {"min_test": 10, "min_per_class": 5}, "workers": 1}
QUICK = {"network": "tiny", "epochs": 1, "min_steps": 20, "min_test": 10, "min_per_class": 5}


@pytest.fixture
def photos(class_folders: Callable[..., Path]) -> Path:
    return class_folders(classes=3, each=30, size=8)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, to see what stays behind."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def by_method(training: Any, accuracy: dict[str, float]) -> None:
    """Let every candidate reach an accuracy of its own, told apart by how far its pictures changed."""

    def run(trainer: Any, measure: Any, part: str, seed: int) -> Any:
        subject = trainer.subject
        changed = int((subject.clean_x != subject.protected_x).any(3).mean((0, 1, 2)) > 0.5)
        training.accuracy["protected"] = accuracy["cuda" if changed else "ops"]
        return inner(trainer, measure, part, seed)

    inner, training.run = training.run, run


def test_two_candidates_are_really_tried_and_the_choice_is_repeatable(
    class_folders: Callable[..., Path], key: Key, tmp_path: Path, scratch: Path
) -> None:
    photos = class_folders(classes=3, each=40)
    before = tree(photos)
    call: dict[str, Any] = {"key": key, "only": ("cuda", "ops"), "psnr": 10, "ssim": 0, "config": QUICK}
    call["claim"] = "naive"
    found = noli.choose(photos, tmp_path / "safe", **call, time=None)
    assert {tried.name for tried in found.candidates} == {"cuda", "ops"}
    assert found.complete
    assert found.sample == {"training": 84, "held_out": 36, "classes": 3, "side": 16, "pictures": 120}
    assert found.pick is not None
    assert [row.name for row in found.pick.rows] == list(found.rows) == ["crop+flip"]
    assert tree(photos) == before
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "scratch"}
    assert not list(scratch.glob("noli*"))
    again = noli.choose(photos, tmp_path / "safe", **call, time="10h")
    same = [[row.value for row in tried.rows] for tried in found.candidates]
    assert [[row.value for row in tried.rows] for tried in again.candidates] == same
    assert again.picked == found.picked
    run = noli.protect_auto(photos, tmp_path / "safe", **call, choice=found, anyway=True, workers=1)
    assert run.manifest.method == found.pick.method
    assert run.manifest.results["items"] == 120


def test_the_run_is_an_ordinary_one_that_keeps_its_choice(
    photos: Path, key: Key, training: Any, tmp_path: Path
) -> None:
    training.accuracy["protected"] = 0.35
    run = noli.protect_auto(
        photos,
        tmp_path / "safe",
        key=key,
        only=("ops", "cuda-paper", "cuda-reflect"),
        psnr=5,
        ssim=-1,
        **SMALL,
    )
    kept = Choice.model_validate_json((run.path / "artifacts/choice.json").read_bytes())
    assert kept.pick is not None
    assert (run.manifest.method, run.manifest.status) == (kept.pick.method, "done")
    assert run.manifest.args_passed["options"] == kept.pick.options
    page, report = (run.path / "report.html").read_text(), json.loads((run.path / "report.json").read_text())
    assert "How the method was chosen" in page
    assert kept.reason.split(".")[0] in page
    assert report["choice"]["picked"] == kept.picked
    hidden = noli.write_report(run, pictures=False)
    assert "How the method was chosen" in hidden.read_text()
    assert str(tmp_path) not in hidden.read_text()
    asked = len(training.asked)
    again = noli.protect_auto(
        photos,
        tmp_path / "safe",
        key=key,
        only=("ops", "cuda-paper", "cuda-reflect"),
        psnr=5,
        ssim=-1,
        **SMALL,
    )
    assert (again.worked, len(training.asked)) == (False, asked), "a choice is made once"


def test_the_lowest_worst_accuracy_wins_and_undo_works(
    photos: Path, key: Key, training: Any, tmp_path: Path
) -> None:
    by_method(training, {"cuda": 0.35, "ops": 0.8})
    run = noli.protect_auto(
        photos, tmp_path / "safe", key=key, only=("ops", "cuda"), psnr=5, ssim=-1, **SMALL
    )
    assert run.manifest.method == "protect/cuda"
    assert noli.undo(tmp_path / "safe", tmp_path / "back", key=key, workers=1).items == 90


def test_ctrl_c_while_choosing_leaves_nothing_behind(
    photos: Path, key: Key, training: Any, tmp_path: Path, scratch: Path
) -> None:
    before = tree(tmp_path)
    training.stop_after = 2
    with pytest.raises(Interrupted, match="nothing was written"):
        noli.protect_auto(photos, tmp_path / "safe", key=key, only=("cuda", "ops"), psnr=5, ssim=-1, **SMALL)
    assert tree(tmp_path) == before
    assert not list(scratch.glob("noli*"))


def test_a_run_that_was_stopped_goes_on_with_its_choice(
    photos: Path, key: Key, training: Any, tmp_path: Path
) -> None:
    training.accuracy["protected"] = 0.3
    call: dict[str, Any] = {"key": key, "only": ("cuda",), "psnr": 5, "ssim": -1, **SMALL}
    with pytest.raises(Interrupted):
        noli.protect_auto(photos, tmp_path / "safe", **call, progress=StopsAfter(0))
    assert Run.open(tmp_path / "safe.noli").manifest.status == "interrupted"
    training.accuracy["protected"], asked = 0.9, len(training.asked)
    run = noli.protect_auto(photos, tmp_path / "safe", **call)
    assert (run.manifest.status, len(training.asked)) == ("done", asked)
    with pytest.raises(UsageError, match="another choice") as caught:
        noli.protect_auto(photos, tmp_path / "safe", **{**call, "psnr": 6})
    assert "psnr=5" in str(caught.value.why)


def test_a_choice_without_a_run_is_made_anew_when_something_else_is_asked(
    photos: Path, key: Key, training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noli.api import _auto

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    training.accuracy["protected"] = 0.3
    call: dict[str, Any] = {"key": key, "only": ("cuda",), "psnr": 5, "ssim": -1, **SMALL}
    monkeypatch.setattr(_auto, "protect", killed)
    with pytest.raises(KeyboardInterrupt):
        noli.protect_auto(photos, tmp_path / "safe", **call)
    asked = len(training.asked)
    assert noli.choose(photos, tmp_path / "safe", **call).picked == "cuda"
    assert len(training.asked) == asked
    assert noli.choose(photos, tmp_path / "safe", **{**call, "key": Key.generate()}).key != key.id
    assert len(training.asked) > asked


def test_what_does_not_hold_is_not_sold_silently(
    photos: Path, key: Key, training: Any, tmp_path: Path
) -> None:
    training.accuracy["coin"] = 0.85
    call: dict[str, Any] = {"key": key, "only": ("cuda",), "psnr": 5, "ssim": -1, **SMALL}
    before = tree(tmp_path)
    with pytest.raises(NoChoice) as caught:
        noli.protect_auto(photos, tmp_path / "safe", **call)
    assert caught.value.choice.picked == "cuda"
    assert not caught.value.choice.holds
    assert tree(tmp_path) == before
    routine = noli.choose(photos, tmp_path / "safe", claim="routine", **call)
    assert (routine.holds, "coin" in routine.rows) == (True, False)
    run = noli.protect_auto(photos, tmp_path / "safe", anyway=True, **call)
    assert run.manifest.results["items"] == 90
    page = (run.path / "report.html").read_text("utf-8")
    assert "The trial of this protection did not hold" in page
    assert "Not verified yet" not in page


def test_a_floor_that_nothing_meets_names_the_best(
    photos: Path, key: Key, training: Any, tmp_path: Path
) -> None:
    with pytest.raises(NoChoice, match="No candidate meets the floor") as caught:
        noli.protect_auto(photos, tmp_path / "safe", key=key, only=("cuda",), psnr=60, ssim=-1, **SMALL)
    assert "--psnr" in str(caught.value.fix)
    assert training.asked == ["crop+flip|clean|0"]
    assert not (tmp_path / "safe.noli").exists()


def test_a_candidate_that_fails_does_not_end_the_choice(
    class_folders: Callable[..., Path], key: Key, training: Any, tmp_path: Path
) -> None:
    # Eight by eight pixels have 64 positions, and 16 for each of five classes are too many.
    photos = class_folders(classes=5, each=20, size=8)
    training.accuracy["protected"] = 0.3
    ops = Candidate("ops", "protect/ops", {"pixels": 16})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "TABLE", (ops, *wanted(("cuda",))))
        found = noli.choose(photos, tmp_path / "safe", key=key, psnr=5, ssim=-1, **SMALL)
    assert found.picked == "cuda"
    skipped = found.candidates[-1]
    assert (skipped.name, skipped.standing) == ("ops", "skipped")
    assert "fewer free positions" in skipped.reason


def test_the_clock_ends_the_trials(photos: Path, key: Key, training: Any, tmp_path: Path) -> None:
    training.accuracy["protected"] = 0.3
    found = noli.choose(
        photos, tmp_path / "safe", key=key, only=("cuda",), psnr=5, ssim=-1, **SMALL,
        time=4, clock=lambda: float(len(training.asked)),
    )  # fmt: skip
    # Ordinary training on the originals counts, too.
    assert (found.complete, found.spent, len(training.asked)) == (False, 4.0, 4)
    assert found.verdict == "inconclusive"
    assert "5 of 8 rows were not measured (grayscale, rsk+ff, op, leak-1-pair, adversarial)" in found.reason


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"only": ("cudda",)}, UsageError, "did you mean cuda"),
        ({"time": "soon"}, UsageError, "time"),
        ({"claim": "heroic"}, UsageError, "claim"),
        ({"key": None}, UsageError, "needs a key"),
        ({"config": {"netwrok": "tiny"}}, UsageError, "did you mean network"),
        ({"config": {}}, DataError, "too small"),
        ({"output": "photos/inside"}, OutputExists, "inside"),
        ({"run": "photos/run"}, OutputExists, "inside"),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_written(
    photos: Path, key: Key, training: Any, tmp_path: Path, changes: dict[str, Any], error: type, says: str
) -> None:
    before = tree(tmp_path)
    call: dict[str, Any] = {"output": "safe", "key": key, **SMALL, **changes}
    if "run" in call:
        call["run"] = tmp_path / call["run"]
    with pytest.raises(error, match=says):
        noli.protect_auto(photos, tmp_path / call.pop("output"), **call)
    assert tree(tmp_path) == before
    assert training.asked == []


def test_an_output_of_another_command_is_not_taken_over(
    photos: Path, key: Key, training: Any, tmp_path: Path
) -> None:
    noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    with pytest.raises(UsageError, match="begun without a choice") as caught:
        noli.protect_auto(photos, tmp_path / "safe", key=key, **SMALL)
    assert "noli protect cuda" in str(caught.value.fix)


def test_one_class_and_originals_that_do_not_teach_are_refused(
    class_folders: Callable[..., Path], key: Key, training: Any, tmp_path: Path
) -> None:
    alone, photos = class_folders("alone", classes=1, each=30), class_folders(classes=3, each=30, size=8)
    with pytest.raises(DataError, match="only one class"):
        noli.choose(alone, tmp_path / "safe", key=key, **SMALL)
    training.accuracy["clean"] = 0.34
    with pytest.raises(DataError, match="teach the network of the trials nothing"):
        noli.choose(photos, tmp_path / "safe", key=key, only=("cuda",), **SMALL)


# ---------------------------------------------------------------- command


def test_a_key_is_asked_for_first_and_no_other_method_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["protect", "auto", str(tmp_path / "nothing"), "-o", str(tmp_path / "safe")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "noli key new" in said
    assert "cuda" not in said


@pytest.fixture
def words(photos: Path, key: Key, training: Any, tmp_path: Path) -> list[str]:
    Key.new(tmp_path / "owner.key")
    places = [str(photos), "-o", str(tmp_path / "safe"), "--key", str(tmp_path / "owner.key")]
    settings = ["--set", "min_test=10", "--set", "min_per_class=5", "-j", "1"]
    floor = ["--psnr", "5", "--ssim", "-1", "--only", "cuda, ops"]
    return ["protect", "auto", *places, *settings, *floor]


def test_the_command_shows_the_frontier_then_protects(
    words: list[str], training: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.accuracy["protected"] = 0.35
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    for word in ("candidate", "naive", "adaptive", "s/1000", "cuda", "Picked: ops", "Nothing was written"):
        assert word in said
    assert not (tmp_path / "safe").exists()
    assert not (tmp_path / "safe.noli").exists()
    assert main(words) == 0
    said = capsys.readouterr()
    assert "Picked: " in said.out
    assert "90 pictures" in said.out
    assert "Next: noli verify" in said.err


def test_json_is_one_document_with_choice_and_run(
    words: list[str], training: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    training.accuracy["protected"] = 0.35
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["choice"]["picked"] in ("cuda", "ops")
    assert document["method"].endswith(document["choice"]["picked"])


def test_a_refused_choice_is_shown_and_exits_with_1(
    words: list[str], training: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.accuracy["protected"] = 0.8
    assert main(words) == 1
    said = capsys.readouterr()
    assert "does not hold" in said.out
    assert "--anyway" in said.err
    assert not (tmp_path / "safe").exists()
    assert main([*words, "--anyway"]) == 0
    assert "does not hold at the adaptive level" in capsys.readouterr().err
