"""A classifier is locked, opened with its key only, resumed after a kill, and told for what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noli
from noli import zoo
from noli.core.errors import DataError, Interrupted, OutputExists, UsageError, WrongKey
from noli.core.robustness import LEVELS, Robustness
from noli.core.run import Run
from noli.core.theft import SCRATCH, Theft
from noli.data.demo import photo_crops
from noli.engine import keyed as engine
from noli.engine.lockedmodels import BODY
from noli.engine.locking import LockRequest
from noli.methods.lock import embeddings
from noli.report.build import write_report
from noli.report.words import percent
from noli.testing import KEYS, tree
from noli.train.picking import ADAPTER, TUNING
from noli.zoo.keyed_folder import load_keyed

FEW: dict[str, Any] = {
    "side": 16, "epochs": 2, "body_epochs": 2, "wrong_keys": 2, "attacked": 10, "network": "convmixer",
    "attack_steps": 3, "targets": 2, "queries": 5, "thief_labels": 1,
}  # fmt: skip
ROWS = {"clean", "plain", "no key", "wrong keys", "worst wrong key", "plain attacked"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops") / "photos"
    photo_crops(folder, size=16, per_class_train=12, per_class_test=4)
    return folder


def test_a_model_is_locked_and_opened_with_its_key_only(photos: Path, tmp_path: Path) -> None:
    done = noli.lock_model(photos / "train", tmp_path / "out", key=KEYS[0], pairs=2, **FEW)
    found = done.manifest.results
    assert set(found["accuracy"]) == ROWS
    assert all(0 <= value <= 1 for value in found["accuracy"].values())
    assert found["items"] == found["training"] + found["held_out"]
    assert found["pairs"] == 2
    page = noli.write_report(done).read_text()
    assert "not a closed one" in page
    assert "noli undo" not in page
    for name, value in found["accuracy"].items():
        assert f"{name}<span" in page
        assert percent(value) in page
    robust = Robustness.model_validate(found["robustness"])
    assert set(robust.least) == set(LEVELS)
    assert robust.together == {}  # two pairs: every attempt is another draw
    assert robust.checks.random
    ways = {way for level in LEVELS for way in robust.ways(level)}
    assert len(ways) == 9
    theft = Theft.model_validate(found["theft"])
    assert theft.labels == (1,)
    assert set(theft.table()) == {ADAPTER, TUNING, SCRATCH}
    for words in (
        *theft.words,
        *theft.table(),
        *ways,
        *robust.checks.words,
        *(percent(share) for share in robust.least.values()),
    ):
        assert words in page
    assert "guessing" in write_report(done.path, pictures=False).read_text().lower()
    keyed = load_keyed(tmp_path / "out", KEYS[0])
    assert keyed.predict(np.zeros((3, 16, 16, 3), np.uint8)).shape == (3, round(1 / found["chance"]))
    with pytest.raises(WrongKey):
        load_keyed(tmp_path / "out", KEYS[1])
    again = noli.lock_model(photos / "train", tmp_path / "out", key=KEYS[0], pairs=2, **FEW)
    assert again.manifest.run_id == done.manifest.run_id


@pytest.mark.parametrize("where", ["public_network", "transform", "rival", "use", "attacked", "stolen"])
def test_killed_and_run_again_gives_the_same_model(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    noli.lock_model(photos / "train", tmp_path / "whole", key=KEYS[0], **FEW)
    real = getattr(embeddings, where)

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.embeddings, where, killed)
    with pytest.raises(Interrupted):
        noli.lock_model(photos / "train", tmp_path / "parts", key=KEYS[0], **FEW)
    monkeypatch.setattr(engine.embeddings, where, real)
    noli.lock_model(photos / "train", tmp_path / "parts", key=KEYS[0], **FEW)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")
    kept = [Run.open(tmp_path / f"{name}.noli").manifest.results for name in ("whole", "parts")]
    assert kept[0] == kept[1]
    if where == "use":  # what is gone is made again
        (tmp_path / "parts" / "pair-00.safetensors").unlink()
        noli.lock_model(photos / "train", tmp_path / "parts", key=KEYS[0], **FEW)
        assert tree(tmp_path / "whole") == tree(tmp_path / "parts")


def test_a_public_network_of_ones_own_keeps_its_body(photos: Path, tmp_path: Path) -> None:
    first = noli.lock_model(photos / "train", tmp_path / "one", key=KEYS[0], **FEW)
    body = first.artifact(BODY)
    noli.lock_model(photos / "train", tmp_path / "two", key=KEYS[1], model=body, **FEW)
    bodies = [(tmp_path / name / "body.safetensors").read_bytes() for name in ("one", "two")]
    assert bodies[0] == bodies[1]
    exact = noli.lock_model(
        photos / "train", tmp_path / "exact", key=KEYS[1], model=body, converted=True, **FEW
    )
    found = exact.manifest.results["accuracy"]
    assert found["clean"] == found["plain"]
    # Folding a key in changes nothing for who has the public network, and a permutation that is estimated
    # from it is the right one: both attack as well as somebody with the key.
    robust = Robustness.model_validate(exact.manifest.results["robustness"])
    own = robust.ways("L3")["the model with its key"]
    for level, way in (
        ("L1", "the public network"),
        ("L2", "a permutation estimated from the public network"),
    ):
        assert robust.ways(level)[way] == own


def test_every_class_is_held_out_by_content(photos: Path) -> None:
    request = LockRequest(
        str(photos / "train"), "unused", embeddings.SPEC, embeddings.Config(side=16), KEYS[0]
    )
    pictures = engine.labelled_pictures(request)
    seen, held = engine.split(pictures, 0.25)
    assert sorted([*seen, *held]) == list(range(len(pictures)))
    labels = np.asarray(pictures.labels)
    assert np.bincount(labels[held]).tolist() == [3] * len(pictures.classes)
    # The first of them are of many classes: attacks look at the first only.
    assert len(set(labels[held[:10]])) >= 5


def test_what_cannot_be_locked_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a key"):
        noli.lock_model(photos / "train", tmp_path / "x", key=None)
    with pytest.raises(UsageError, match="locks no models"):
        noli.lock_model(photos / "train", tmp_path / "x", "etc", key=KEYS[0])
    with pytest.raises(UsageError, match="no such model"):
        noli.lock_model(photos / "train", tmp_path / "x", key=KEYS[0], model=tmp_path / "none")
    with pytest.raises(DataError):
        noli.lock_model(photos / "train" / "coffee", tmp_path / "x", key=KEYS[0], **FEW)
    with pytest.raises(UsageError, match="multiple"):
        noli.lock_model(photos / "train", tmp_path / "odd", key=KEYS[0], **{**FEW, "side": 18})
    zoo.network("convmixer", ("a", "b"), size=16).save(tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="other classes"):
        noli.lock_model(
            photos / "train", tmp_path / "x", key=KEYS[0], model=tmp_path / "other.safetensors", **FEW
        )
    assert not (tmp_path / "x.noli").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("mine")
    with pytest.raises(OutputExists):
        noli.lock_model(photos / "train", tmp_path / "taken", key=KEYS[0], **FEW)
    assert not (tmp_path / "taken.noli").exists()
