"""``noli verify`` of a locked model measures what its lock measured, on the pictures it is given."""

from __future__ import annotations

import json
import shutil
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import noli
from noli.cli.main import main
from noli.core.errors import DataError, Interrupted, UsageError, WrongKey
from noli.core.key import Key
from noli.core.run import Run
from noli.engine.model_audit import fallen
from noli.methods.lock import embeddings
from noli.ops.lockclaims import CLAIMED
from noli.zoo.keyed_folder import MANIFEST

sys.path.insert(0, str(Path(__file__).parent))
from boxes_making import scenes
from keyed_making import copy_to_work_in, write_locked


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_locked(tmp_path_factory.mktemp("made"), network="vit")


@pytest.fixture
def locked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_to_work_in(made, tmp_path, monkeypatch)


def test_the_same_pictures_give_what_the_lock_said(locked: Path) -> None:
    done = noli.audit_model("model", clean="photos/train", key="owner.key")
    first = Run.open("model.noli").manifest.results
    for name in ("accuracy", "robustness", "theft", "held_out", "training", "chance"):
        assert done.manifest.results[name] == first[name]
    assert (done.manifest.verb, done.path.name) == ("verify", "model.verify.noli")
    page = noli.write_report(done).read_text()
    wrong = first["accuracy"]["wrong keys"], first["accuracy"]["worst wrong key"], first["accuracy"]["no key"]
    assert [first["theft"][name] for name in ("wrong_mean", "wrong_most", "no_key")] == list(wrong)
    assert all(line in unescape(page) for line in fallen(done))
    for words in (
        "Verification report",
        "does not hold",
        "not a closed one",
        "What attacks leave of it",
        "without the key",
    ):
        assert words in page
    again = noli.audit_model("model", clean="photos/train", key="owner.key")
    assert again.manifest.run_id == done.manifest.run_id


def test_a_rotated_model_is_as_good_and_as_bad(locked: Path) -> None:
    Key.rotate("owner.key")
    noli.rotate("model", "turned", key="owner.key")
    found = noli.audit_model("turned", clean="photos/train", key="owner.key").manifest.results
    first = Run.open("model.noli").manifest.results
    assert found["accuracy"]["clean"] == first["accuracy"]["clean"]
    assert found["accuracy"]["plain"] == first["accuracy"]["plain"]


@pytest.mark.parametrize("where", ["use", "attacked", "stolen"])
def test_killed_and_run_again(locked: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    whole = noli.audit_model("model", clean="photos/train", key="owner.key", run="whole", held_out=0.4)

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embeddings, where, killed)
        with pytest.raises(Interrupted):
            noli.audit_model("model", clean="photos/train", key="owner.key", held_out=0.4)
    done = noli.audit_model("model", clean="photos/train", key="owner.key", held_out=0.4)
    assert done.manifest.results == whole.manifest.results


def test_from_the_command_line(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", "model", "--clean", "photos/train", "--key", "owner.key"]
    code = main([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    rows = told["results"]["accuracy"]
    bad = [name for name in CLAIMED if rows[name] > rows["clean"] / 2]
    bad += broken_by_attacks(told["results"])
    assert code == (1 if bad else 0)
    assert [line.split(":")[0].split(",")[0].split(" with ")[0] for line in told["fallen"]] == bad
    assert main(words) == code
    said = capsys.readouterr()
    assert "Accuracy under the best attack" in said.out
    assert "no access control" in said.err
    assert main([*words, "--battery", "full"]) == 2
    assert main(["lock", "audit", "model", "--clean", "photos/train"]) == 2
    assert "noli verify model" in capsys.readouterr().err
    assert main(["verify", "photos", "--clean", "photos", "--key", "owner.key"]) == 2


def broken_by_attacks(results: dict[str, Any]) -> list[str]:
    """Return levels and ways of theft that get past half, worked out from the figures one by one."""
    robust, theft = results["robustness"], results["theft"]
    within = {"L0": {"L0"}, "L1": {"L1"}, "L2": {"L1", "L2"}}
    bad = []
    for level, open_ in within.items():
        left = [one["accuracy"] for one in robust["attempts"] if one["level"] in open_]
        if min([*left, robust["together"].get(level, 1)]) < robust["clean"] / 2:
            bad.append(level)
    if theft["matched"] > theft["score"] / 2:
        bad.append("a permutation estimated from the public network")
    enough = [row["attack"] for row in theft["rows"] if row["score"] > theft["score"] / 2]
    return bad + [name for name in dict.fromkeys(enough) if name != "training from scratch"]


def attacked(level: str, accuracy: float, together: float = 1.0) -> dict[str, Any]:
    """Return a record of one attack from a level."""
    checks = {"random": False, "probabilities": False, "no_gradient": 0.0, "optimises": False}
    attempt = {"level": level, "way": "somehow", "attack": "Square", "accuracy": accuracy}
    record = {"eps": 0.1, "pictures": 10, "clean": 0.6, "attempts": [attempt], "checks": checks}
    return {"robustness": {**record, "together": {level: together}}}


def stolen(**found: Any) -> dict[str, Any]:
    """Return a record of theft from a model that is right in 60 % with its key."""
    base = {"size": 4, "score": 0.6, "no_key": 0.0, "wrong_mean": 0.1, "wrong_most": 0.1, "wrong_keys": 2}
    return {"theft": {**base, "displaced": {}, "rows": [], **found}}


ROWS = {"accuracy": {"clean": 0.6, "plain": 0.9, "no key": 0.1, "worst wrong key": 0.1}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (attacked("L1", 0.3), []),
        (attacked("L0", 0.29), ["L0, who may ask"]),
        (attacked("L2", 0.4, together=0.2), ["L2, who has the secret layers"]),
        (attacked("L3", 0.0), []),
        (stolen(matched=0.5), ["a permutation estimated from the public network: 50.0 %, more than half"]),
        (stolen(displaced={2: 0.6}), []),
        (stolen(rows=[{"attack": "training from scratch", "labels": 1, "score": 0.6, "asked": 1}]), []),
        (
            stolen(rows=[{"attack": "search", "labels": n, "score": 0.1 * n, "asked": 1} for n in (1, 4, 5)]),
            ["search with 4 labelled pictures per class: 40.0 %"],
        ),
    ],
)
def test_an_audit_fails_where_a_single_attack_would(
    tmp_path: Path, found: dict[str, Any], said: list[str]
) -> None:
    whole = Run.create(tmp_path / "run", verb="verify", method="lock/embeddings")
    whole.finish({**ROWS, **found})
    assert [line.startswith(words) for line, words in zip(fallen(whole), said, strict=True)] == [True] * len(
        said
    )
    one = Run.create(tmp_path / "one", verb="attack", method="lock/embeddings")
    one.finish({"attack": "any", **found})
    assert not fallen(one) or fallen(whole)


@pytest.mark.parametrize(("without", "count"), [(0.3, 0), (0.31, 1)])
def test_half_of_the_accuracy_is_the_bound(tmp_path: Path, without: float, count: int) -> None:
    run = Run.create(tmp_path / "run", verb="verify", method="lock/embeddings")
    run.finish({"accuracy": {"clean": 0.6, "plain": 0.9, "no key": without, "worst wrong key": 0.1}})
    assert len(fallen(run)) == count


def test_what_cannot_be_measured_is_refused(locked: Path) -> None:
    data = "photos/train"
    with pytest.raises(WrongKey):
        noli.audit_model("model", clean=data, key="other.key")
    with pytest.raises(UsageError, match="needs its key"):
        noli.audit_model("model", clean=data, key=None)
    with pytest.raises(UsageError, match="no locked model"):
        noli.audit_model("photos", clean=data, key="owner.key")
    with pytest.raises(UsageError, match="how a model is locked"):
        noli.audit_model("model", clean=data, key="owner.key", pairs=2)
    with pytest.raises(UsageError, match="attacked, not trained on"):
        noli.verify("model", clean=data)
    (locked / "model" / "body.safetensors").write_bytes(b"other")
    with pytest.raises(DataError):
        noli.audit_model("model", clean=data, key="owner.key")
    assert not Run.exists("model.verify.noli")
    public = shutil.move("model.noli/artifacts/public.safetensors", "public.safetensors")
    with pytest.raises(UsageError, match="public network is not there"):
        noli.audit_model("model", clean=data, key="owner.key")
    with pytest.raises(DataError):
        noli.audit_model("model", clean=data, key="owner.key", public=public)
    (locked / "model" / MANIFEST).unlink()
    with pytest.raises(UsageError, match="no locked model"):
        noli.audit_model("model", clean=data, key="owner.key")


def test_a_detector_is_measured_again(locked: Path) -> None:
    data = scenes(locked / "shapes.zip", 24, side=64)
    few = {"side": 64, "width": 16, "epochs": 2, "wrong_keys": 2, "held_out": 0.3, "thief_pictures": 5}
    first = noli.lock_model(data, "out", "detector", key="owner.key", **few)
    done = noli.audit_model("out", clean=data, key="owner.key")
    for name in ("map50", "theft", "held_out"):
        assert done.manifest.results[name] == first.manifest.results[name]
    with pytest.raises(WrongKey):
        noli.audit_model("out", clean=data, key="other.key")
    assert "not an encrypted one" in noli.write_report(done).read_text()
