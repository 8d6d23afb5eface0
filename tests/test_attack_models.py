"""``noli attack NAME`` makes one attack on a locked model, with the figures that it has among all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import noli
from noli.cli.main import main
from noli.core.attacks import BY_GRADIENT, MATCHING, MODELS, SEARCH, THEFT
from noli.core.errors import DataError, Interrupted, UsageError
from noli.core.run import Run
from noli.engine import keyed
from noli.engine.model_audit import fallen
from noli.methods.lock import embeddings
from noli.ops.lockclaims import figures
from noli.train import picking

sys.path.insert(0, str(Path(__file__).parent))
from boxes_making import scenes
from keyed_making import copy_to_work_in, write_locked

DATA = "photos/train"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Searches that only guess: what they climb to has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picking, "PASSES", 0)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_locked(
        tmp_path_factory.mktemp("made"), network="vit", thief_labels=5, epochs=10, attacked=28
    )


@pytest.fixture
def locked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_to_work_in(made, tmp_path, monkeypatch)


def single(name: str, **further: Any) -> dict[str, Any]:
    """Return what one attack alone found."""
    return noli.audit_model("model", clean=DATA, key="owner.key", only=name, **further).manifest.results


def values(record: Any) -> Iterator[str]:
    """Iterate over the figures of attacks in a record, as texts that say what they are of."""
    for one in (*record.get("attempts", ()), *record.get("rows", ())):
        yield json.dumps(one, sort_keys=True)
    for name in ("wrong_mean", "wrong_most", "matched"):
        if record.get(name) is not None:
            yield f"{name} {record[name]}"
    for count, score in record.get("displaced", {}).items():
        yield f"{count} wrong {score}"


def test_every_attack_alone_has_the_figures_of_the_audit(locked: Path) -> None:
    whole = noli.audit_model("model", clean=DATA, key="owner.key").manifest.results
    expected = [value for name in ("robustness", "theft") for value in values(whole[name])]
    seen: list[str] = []
    for one in MODELS:
        if one.word == "apgd-dlr":
            continue
        found = single(one.word)
        assert found["attack"] == one.name
        kept = [name for name in ("robustness", "theft") if name in found]
        assert kept == ["theft" if one in THEFT else "robustness"]
        assert figures(found)
        seen += values(found[kept[0]])
    assert sorted(seen) == sorted(expected)
    assert Run.open("model.attack.noli").manifest.verb == "attack"


def test_a_page_of_one_attack_says_that_it_is_one(locked: Path) -> None:
    for name, words in (("apgd-ce", "What attacks leave of it"), ("wrong-keys", "What it costs without")):
        done = noli.audit_model("model", clean=DATA, key="owner.key", only=name)
        page = noli.write_report(done).read_text()
        assert words in page
        assert f"Only one attack was made: {done.manifest.results['attack']}." in page
        assert "fall to queries only" not in page
        assert "What the key is worth" not in page


def test_only_what_the_attack_needs_is_made(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("not wanted")

    monkeypatch.setattr(embeddings, "use", never)
    monkeypatch.setattr(embeddings, "stolen", never)
    monkeypatch.setattr(keyed.ClassifierJob, "_rival", never)
    single("eot")
    with pytest.raises(AssertionError, match="not wanted"):
        single(BY_GRADIENT[0].word)


def test_killed_and_run_again(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = single("square")
    whole = single("apgd-ce", run="whole")

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embeddings, "attacked", killed)
        with pytest.raises(Interrupted):
            single("apgd-ce")
    assert single("apgd-ce") == whole
    run = Run.open("model.attack.noli").manifest.run_id
    # What was found before is kept with the run: nothing is attacked again.
    monkeypatch.setattr(embeddings, "attacked", killed)
    assert single("square") == before
    assert Run.open("model.attack.noli").manifest.run_id == run


def test_from_the_command_line(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model", "--clean", DATA, "--key", "owner.key"]
    code = main(["attack", "apgd-ce", *words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["attack"] == "APGD-CE"
    assert code == (1 if told["fallen"] else 0)
    assert main(["attack", "APGD-CE", *words]) == code
    said = capsys.readouterr()
    assert "the public network" in said.out
    assert "no access control" in said.err
    assert main(["attack", "coin", *words]) == 2
    error = capsys.readouterr().err
    assert all(one.word in " ".join(error.split()) for one in MODELS if one.word != "apgd-dlr")
    assert main(["attack", "jigsaw", *words]) == 2
    assert main(["attack", "apgd-ce", *words, "--seeds", "3"]) == 2
    assert main(["attack", "apgd-ce", "model", "--clean", DATA]) == 2
    assert "needs its key" in capsys.readouterr().err
    assert main(["attack", "coin", "photos", "--clean", "photos", "--key", "owner.key"]) == 2
    with pytest.raises(UsageError, match="audit_model with only='coin'"):
        noli.attack("coin", "model", clean=DATA)


def test_nothing_to_attack_with_is_no_pass(locked: Path) -> None:
    with pytest.raises(DataError, match="too few pictures for search"):
        single("search", held_out=0.7)
    with pytest.raises(UsageError, match="no attack on this"):
        single("search", thief_labels=1, run="few")


@pytest.mark.parametrize(
    ("level", "accuracy", "count"), [("L1", 0.3, 0), ("L1", 0.29, 1), ("L0", 0.0, 1), ("L3", 0.0, 0)]
)
def test_half_of_the_accuracy_is_the_bound(tmp_path: Path, level: str, accuracy: float, count: int) -> None:
    run = Run.create(tmp_path / "run", verb="attack", method="lock/embeddings")
    attempt = {"level": level, "way": "somehow", "attack": "Square", "accuracy": accuracy}
    checks = {"random": False, "probabilities": False, "no_gradient": 0.0, "optimises": False}
    record = {
        "eps": 0.1,
        "pictures": 10,
        "clean": 0.6,
        "attempts": [attempt],
        "together": {},
        "checks": checks,
    }
    run.finish({"attack": "Square", "robustness": record})
    assert len(fallen(run)) == count


@pytest.mark.parametrize(
    ("found", "count"),
    [
        ({"wrong_mean": 0.3, "wrong_most": 0.31}, 1),
        ({"matched": 0.5}, 1),
        ({"displaced": {2: 0.6}}, 0),
        ({"rows": [{"attack": "fine-tuning", "labels": 1, "score": 0.31, "asked": 1}]}, 1),
        ({"rows": [{"attack": "training from scratch", "labels": 1, "score": 0.6, "asked": 1}]}, 0),
    ],
)
def test_a_thief_who_gets_more_than_half_breaks_it(tmp_path: Path, found: dict[str, Any], count: int) -> None:
    run = Run.create(tmp_path / "run", verb="attack", method="lock/embeddings")
    base = {"size": 4, "score": 0.6, "no_key": 0.0, "wrong_mean": None, "wrong_most": None, "wrong_keys": 0}
    run.finish({"attack": "any", "theft": {**base, "displaced": {}, "rows": [], **found}})
    assert len(fallen(run)) == count


def test_a_detector_is_picked_by_one_attack(locked: Path) -> None:
    data = scenes(locked / "shapes.zip", 24, side=64)
    few = {"side": 64, "width": 8, "epochs": 1, "wrong_keys": 2, "held_out": 0.3, "thief_pictures": 5}
    noli.lock_model(data, "out", "detector", key="owner.key", layers=("body.1",), transform="np", **few)
    whole = noli.audit_model("out", clean=data, key="owner.key").manifest.results["theft"]
    for one in THEFT:
        if one in (MATCHING, SEARCH):
            continue
        found = noli.audit_model("out", clean=data, key="owner.key", only=one.word).manifest.results
        assert list(values(found["theft"]))
        assert set(values(found["theft"])) <= set(values(whole))
    # What lock and verify leave out unless asked is asked for by its name.
    found = noli.audit_model("out", clean=data, key="owner.key", only="search").manifest.results
    assert [row["attack"] for row in found["theft"]["rows"]] == ["search"]
    for wrong in ("apgd-ce", "weight-matching"):
        with pytest.raises(UsageError, match="no attack on this") as error:
            noli.audit_model("out", clean=data, key="owner.key", only=wrong)
        assert "wrong-keys, displaced-places, search" in str(error.value)
    page = noli.write_report(noli.audit_model("out", clean=data, key="owner.key", only="linear-layer"))
    assert "Only one attack was made: linear layer." in page.read_text()


def test_what_a_name_is_for_is_said(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "jigsaw", DATA, "--clean", DATA]) == 2
    assert "for what noli lock makes" in " ".join(capsys.readouterr().err.split())
    assert main(["attack", "apgd", "model", "--clean", DATA, "--key", "owner.key"]) == 2
    assert "says what each needs" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_is_wrong_anyway_is_no_pass(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = embeddings.attacked
    monkeypatch.setattr(
        embeddings, "attacked", lambda *a, **more: real(*a, **more).model_copy(update={"clean": 0.0})
    )
    with pytest.raises(DataError, match="the model is wrong"):
        single("square", run="wrong.noli")
