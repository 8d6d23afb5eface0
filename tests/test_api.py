"""The Python API, end to end on small folders: protect, plan, verify, undo, diff, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import noli
from noli.api._judging import TrainingCache
from noli.core.errors import DataError, Interrupted, OutputExists, UsageError, WrongKey
from noli.core.evidence import Evidence
from noli.core.key import Key
from noli.core.run import Run
from noli.testing.fixtures import tree

Folders = Callable[..., Path]
BIG_ENOUGH: dict[str, Any] = {"classes": 3, "each": 20}
SMALL_TEST: dict[str, Any] = {"min_test": 10, "min_per_class": 5}


# ---------------------------------------------------------------- protect


def test_three_lines_protect_and_report(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    photos = class_folders()
    before = tree(photos)
    run = noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    page = run.report(tmp_path / "page.html")
    assert page.read_bytes().startswith(b"<!DOCTYPE html>") or b"<html" in page.read_bytes()[:400]
    assert tree(photos) == before
    assert set(tree(tmp_path / "safe")) == set(before)
    assert tree(tmp_path / "safe") != before
    assert (run.path, run.output) == (tmp_path / "safe.noli", str(tmp_path / "safe"))
    assert run.manifest.results["items"] == 12
    assert repr(run) == f"<ProtectRun {run.output!r}: 12 pictures, done>"
    assert run.manifest.key is not None
    assert run.manifest.key.commitment == key.commit()
    assert {"report.html", "report.json", "card.md", "run.json"} <= {f.name for f in run.path.iterdir()}


def test_the_same_call_again_changes_nothing(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    photos = class_folders()
    first = noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    made, started = tree(tmp_path / "safe"), first.manifest.run_id
    again = noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    assert (tree(tmp_path / "safe"), again.manifest.run_id) == (made, started)
    assert (first.worked, first.added, again.worked, again.added) == (True, 12, False, 0)


def test_new_pictures_and_classes_leave_the_old_bytes(
    class_folders: Folders, key: Key, tmp_path: Path
) -> None:
    photos = class_folders()
    noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    made = tree(tmp_path / "safe")
    class_folders("more", classes=4)
    (tmp_path / "more/class-3").rename(photos / "class-3")
    run = noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    now = tree(tmp_path / "safe")
    assert {name: now[name] for name in made} == made
    assert len(now) == len(made) + 4
    assert run.manifest.results["items"] == 16


def test_options_reach_the_method_and_the_manifest(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    run = noli.protect(
        class_folders(), tmp_path / "safe", "protect/cuda", key=key, workers=1,
        config={"mode": "keyed", "blur": "1/4"}, mode="paper",
    )  # fmt: skip
    resolved = run.manifest.args_resolved["config"]
    assert (resolved["mode"], resolved["blur"]) == ("paper", 0.25)
    assert run.manifest.args_passed["options"] == {"mode": "paper", "blur": "1/4"}


def test_a_key_file_is_as_good_as_a_key(class_folders: Folders, tmp_path: Path) -> None:
    Key.new(tmp_path / "owner.key")
    run = noli.protect(class_folders(), tmp_path / "safe", key=tmp_path / "owner.key", workers=1)
    assert run.manifest.key is not None
    assert run.manifest.key.id == Key.load(tmp_path / "owner.key").id


def test_a_retired_key_protects_nothing_new(class_folders: Folders, tmp_path: Path) -> None:
    old = Key.new(tmp_path / "owner.key")
    Key.rotate(tmp_path / "owner.key")
    retired = Key.load(tmp_path / "owner.key", key_id=old.id)
    with pytest.raises(UsageError, match="retired"):
        noli.protect(class_folders(), tmp_path / "safe", key=retired)
    assert not (tmp_path / "safe").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"method": "cudda"}, UsageError, "did you mean protect/cuda"),
        ({"kernal": 3}, UsageError, "did you mean kernel"),
        ({"kernel": 4}, UsageError, "kernel must be odd"),
        ({"key": None}, UsageError, "needs a key"),
        ({"method": "verify/learnability"}, UsageError, "does not turn data into data"),
        ({"output": "photos/inside"}, OutputExists, "inside"),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_written(
    class_folders: Folders, key: Key, tmp_path: Path, arguments: dict[str, Any], error: type, says: str
) -> None:
    photos = class_folders()
    before = tree(tmp_path)
    call: dict[str, Any] = {"output": "safe", "key": key, "workers": 1, **arguments}
    with pytest.raises(error, match=says):
        noli.protect(photos, tmp_path / call.pop("output"), **call)
    assert tree(tmp_path) == before


def test_broken_items_are_listed_or_skipped(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    photos = class_folders()
    (photos / "class-0/0.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    assert any("class-0/0.png" in item for item in caught.value.items)
    run = noli.protect(photos, tmp_path / "safe", key=key, workers=1, on_error="skip")
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (11, 1)


# ---------------------------------------------------------------- before the start


def test_plan_and_preview_write_no_data(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    photos = class_folders()
    plan = noli.plan(photos, tmp_path / "safe", key=key, workers=1, mode="paper")
    assert (plan.items, plan.classes, plan.fits, plan.resumes) == (
        12, {"class-0": 4, "class-1": 4, "class-2": 4}, True, False
    )  # fmt: skip
    assert plan.seconds > 0
    page = noli.preview(photos, tmp_path / "safe", key=key, path=tmp_path / "look.png", n=3)
    with Image.open(page) as sheet:
        assert min(sheet.size) > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.png", "photos"]
    with pytest.raises(UsageError, match="did you mean"):
        noli.plan(photos, tmp_path / "safe", key=key, blurr=1)


# ---------------------------------------------------------------- undo and diff


def test_undo_comes_closer_than_the_protected_data(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    photos = class_folders()
    noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    found = noli.undo(tmp_path / "safe", tmp_path / "back", key=key, workers=1)
    worse, better = noli.diff(photos, tmp_path / "safe"), noli.diff(photos, tmp_path / "back")
    assert (found.items, found.compared) == (12, 12)
    assert worse.items == better.items == 12
    assert worse.psnr_mean is not None
    assert better.psnr_mean is None or better.psnr_mean > worse.psnr_mean


def test_undo_finds_the_older_key_of_a_rotated_file(class_folders: Folders, tmp_path: Path) -> None:
    Key.new(tmp_path / "owner.key")
    noli.protect(class_folders(), tmp_path / "safe", key=tmp_path / "owner.key", workers=1)
    Key.rotate(tmp_path / "owner.key")
    assert (
        noli.undo(tmp_path / "safe.noli", tmp_path / "back", key=tmp_path / "owner.key", workers=1).items
        == 12
    )


def test_undo_with_another_key_is_refused(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    noli.protect(class_folders(), tmp_path / "safe", key=key, workers=1)
    with pytest.raises(WrongKey, match=key.id):
        noli.undo(tmp_path / "safe", tmp_path / "back", key=Key.generate())
    assert not (tmp_path / "back").exists()


# ---------------------------------------------------------------- verify


@pytest.fixture
def protected(class_folders: Folders, key: Key, tmp_path: Path) -> Path:
    photos = class_folders(**BIG_ENOUGH)
    noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    return photos


def test_verify_gives_evidence_and_keeps_it(protected: Path, training: Any, tmp_path: Path) -> None:
    evidence = noli.verify(tmp_path / "safe", clean=protected, **SMALL_TEST)
    folder = tmp_path / "safe.verify.noli"
    kept = Evidence.model_validate_json((folder / "artifacts/evidence.json").read_bytes())
    manifest = Run.open(folder).manifest
    protect_run = Run.open(tmp_path / "safe.noli").manifest
    assert kept == evidence
    assert (manifest.verb, manifest.status, manifest.results["verdict"]) == (
        "verify",
        "done",
        evidence.verdict,
    )
    assert evidence.hashes["protect_run"] == protect_run.run_id
    assert evidence.hashes["key_commitment"] == protect_run.key.commitment  # type: ignore[union-attr]
    assert (folder / "report.html").is_file()
    assert evidence.verdict in json.loads((tmp_path / "safe.noli/report.json").read_text())["verdict"]


def test_verify_accepts_the_run_folder(protected: Path, training: Any, tmp_path: Path) -> None:
    evidence = noli.verify(tmp_path / "safe.noli", clean=protected, **SMALL_TEST)
    assert evidence.rows
    assert Run.exists(tmp_path / "safe.verify.noli")


def test_a_stopped_verification_goes_on(protected: Path, training: Any, tmp_path: Path) -> None:
    training.stop_after = 3
    with pytest.raises(Interrupted, match="finished trainings are kept"):
        noli.verify(tmp_path / "safe", clean=protected, **SMALL_TEST)
    assert Run.open(tmp_path / "safe.verify.noli").manifest.status == "interrupted"
    training.stop_after = None
    noli.verify(tmp_path / "safe", clean=protected, **SMALL_TEST)
    assert len(training.asked) == len(set(training.asked))
    done = len(training.asked)
    noli.verify(tmp_path / "safe", clean=protected, claim="adaptive", **SMALL_TEST)
    assert len(training.asked) == done, "another claim needs no new trainings"


def test_no_verdict_disappears(protected: Path, training: Any, tmp_path: Path) -> None:
    first = noli.verify(tmp_path / "safe", clean=protected, claim="naive", **SMALL_TEST)
    noli.verify(tmp_path / "safe", clean=protected, claim="adaptive", **SMALL_TEST)
    noli.verify(tmp_path / "safe", clean=protected, claim="adaptive", **SMALL_TEST)
    artifacts = tmp_path / "safe.verify.noli/artifacts"
    assert [file.name for file in sorted(artifacts.glob("evidence-*.json"))] == ["evidence-001.json"]
    assert Evidence.model_validate_json((artifacts / "evidence-001.json").read_bytes()) == first
    events = [event for event in Run.open(artifacts.parent).events() if event["kind"] == "verdict"]
    assert [event["level"] for event in events] == ["naive", "adaptive", "adaptive"]


def test_fresh_keys_give_mean_and_worst(protected: Path, training: Any, tmp_path: Path) -> None:
    accuracies = iter([0.5, 0.3, 0.7])

    def plain(trainer: Any, measure: Any, part: str, seed: int) -> Any:
        if measure.name == "crop+flip" and len(seen) >= 2:  # the clean and the protected run came first
            training.accuracy["crop+flip"] = next(accuracies)
        seen.extend([measure.name] * (measure.name == "crop+flip"))
        return inner(trainer, measure, part, seed)

    seen: list[str] = []
    inner, training.run = training.run, plain
    evidence = noli.verify(tmp_path / "safe", clean=protected, keys=3, **SMALL_TEST)
    rows = [row for row in evidence.rows if row.name.startswith("fresh-key-")]
    assert [row.level for row in rows] == ["context"] * 3
    values = [row.value for row in rows]
    assert evidence.reference["fresh_keys_worst"] == max(values)
    assert evidence.reference["fresh_keys_best"] == min(values)
    assert evidence.reference["fresh_keys_mean"] == pytest.approx(sum(values) / 3)
    assert len(set(values)) == 3
    asked = len(training.asked)
    again = noli.verify(tmp_path / "safe", clean=protected, keys=3, **SMALL_TEST)
    assert (again.rows, len(training.asked)) == (evidence.rows, asked)


def test_fresh_keys_really_protect_with_other_keys(protected: Path, key: Key, tmp_path: Path) -> None:
    from noli import registry
    from noli.api._fresh_keys import protect_arrays
    from noli.methods.verify.config import Config
    from noli.methods.verify.load import load

    manifest = Run.open(tmp_path / "safe.noli").manifest
    subject = load(tmp_path / "safe", protected, Config())
    spec = registry.get("protect/cuda")
    one, two = (protect_arrays(spec, manifest, subject, Key.generate()) for _ in range(2))
    same = [protect_arrays(spec, manifest, subject, key) for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert one.shape == subject.clean_x.shape
    assert (one != two).any()
    assert (one != subject.clean_x).any()


def test_fresh_keys_need_a_known_run(class_folders: Folders, training: Any) -> None:
    photos, other = class_folders(**BIG_ENOUGH), class_folders("other", **BIG_ENOUGH)
    with pytest.raises(UsageError, match="Fresh keys need the run"):
        noli.verify(other, clean=photos, keys=2, **SMALL_TEST)
    assert training.asked == []


def test_a_method_without_a_key_has_no_fresh_keys(
    class_folders: Folders, training: Any, tmp_path: Path
) -> None:
    photos = class_folders(**BIG_ENOUGH)
    noli.protect(photos, tmp_path / "safe", "ops", workers=1)
    with pytest.raises(UsageError, match="needs no key"):
        noli.verify(tmp_path / "safe", clean=photos, keys=2, **SMALL_TEST)
    assert training.asked == [], "refused before anything is trained"
    evidence = noli.verify(tmp_path / "safe", clean=photos, battery="standard", seeds=1, **SMALL_TEST)
    assert evidence.rows
    assert "fresh_keys" not in evidence.reference


def test_a_run_of_a_plugin_that_is_gone_is_judged_without_fresh_keys(
    protected: Path, training: Any, tmp_path: Path
) -> None:
    Run.open(tmp_path / "safe.noli").update(method="acme/gone")
    with pytest.raises(UsageError, match="Unknown method"):
        noli.verify(tmp_path / "safe", clean=protected, keys=1, **SMALL_TEST)
    assert training.asked == []
    assert noli.verify(tmp_path / "safe", clean=protected, battery="standard", seeds=1, **SMALL_TEST).rows


def test_unprotected_data_is_not_supported(class_folders: Folders, training: Any) -> None:
    training.accuracy["protected"] = 0.9
    photos, other = (class_folders(name, classes=3, each=100, size=8) for name in ("photos", "other"))
    evidence = noli.verify(other, clean=photos, **SMALL_TEST)
    assert evidence.verdict == "not supported"


def test_twelve_pictures_get_no_number(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    photos = class_folders()
    noli.protect(photos, tmp_path / "safe", key=key, workers=1)
    evidence = noli.verify(tmp_path / "safe", clean=photos)
    assert (evidence.verdict, evidence.value, evidence.rows) == ("inconclusive", None, ())
    assert "Too few" in evidence.reason


def test_swapped_folders_are_refused(protected: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are protected pictures") as caught:
        noli.verify(protected, clean=tmp_path / "safe", **SMALL_TEST)
    assert f"{tmp_path / 'safe'} --clean {protected}" in str(caught.value.fix)
    assert not (tmp_path / "photos.verify.noli").exists()


def test_a_run_folder_of_something_else_is_refused(protected: Path, training: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="something else"):
        noli.verify(tmp_path / "safe", clean=protected, run=tmp_path / "safe.noli", **SMALL_TEST)
    assert Run.open(tmp_path / "safe.noli").manifest.verb == "protect"


def test_a_torn_cache_line_costs_one_training(tmp_path: Path) -> None:
    file = tmp_path / "trainings.jsonl"
    cache = TrainingCache(file)
    cache["a"], cache["b"] = {"n": 1}, {"n": 2}
    file.write_bytes(file.read_bytes()[:-4])
    again = TrainingCache(file)
    assert dict(again) == {"a": {"n": 1}}
    again["c"] = {"n": 3}
    assert dict(TrainingCache(file)) == {"a": {"n": 1}, "c": {"n": 3}}


# ---------------------------------------------------------------- report and explain


def test_write_report_finds_the_run_of_an_output(class_folders: Folders, key: Key, tmp_path: Path) -> None:
    run = noli.protect(class_folders(), tmp_path / "safe", key=key, workers=1)
    assert noli.write_report(tmp_path / "safe") == run.path / "report.html"
    assert noli.write_report(run) == run.path / "report.html"
    with pytest.raises(UsageError, match="no run"):
        noli.write_report(tmp_path / "photos")


def test_explain_lists_options_in_words() -> None:
    found = noli.explain("protect/cuda")
    kernel = next(option for option in found.options if option.name == "kernel")
    assert kernel.type.startswith("integer")
    assert kernel.help
    assert json.dumps(found.as_dict())
