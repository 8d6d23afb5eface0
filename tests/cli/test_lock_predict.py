"""``noli lock predict``: a model answers with its key, as its files do without, never with another."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noli import api, zoo
from noli.core.errors import DataError, KeyFileError, OutputExists, RunError, UsageError, WrongKey
from noli.core.key import Key
from noli.engine import predicting
from noli.zoo.keyed_folder import load_bare, load_keyed
from noli.zoo.keyed_folding import converted

sys.path.insert(0, str(Path(__file__).parents[1]))
from keyed_making import copy_to_work_in, write_locked

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_locked(tmp_path_factory.mktemp("made"), pairs=2)


@pytest.fixture
def locked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_to_work_in(made, tmp_path, monkeypatch)


def by_hand(folder: Path) -> tuple[list[str], np.ndarray]:
    files = sorted(folder.rglob("*.png"))
    names = [str(file.relative_to(folder)) for file in files]
    return names, np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])


def shares(logits: np.ndarray) -> np.ndarray:
    return np.array([np.exp(row) / np.exp(row).sum() for row in logits.astype(np.float64)])


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("without", [True, False])
def test_answers_are_those_of_the_model(locked: Path, average: bool, without: bool) -> None:
    names, x = by_hand(locked / "photos" / "test")
    key = {} if without else {"key": "owner.key"}
    found = api.predict("model", "photos/test", average=average, without_key=without, **key)
    assert list(found.files) == names
    one = load_keyed("model", Key.load("owner.key"))
    with_key = [one.forward(np_to(x), number).detach().numpy() for number in (0, 1)]
    logits = [load_bare("model", n).predict(x) for n in (0, 1)] if without else with_key
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
    if average:
        np.testing.assert_allclose(found.probabilities, shares(np.mean(logits, axis=0)), atol=1e-5)
        return
    # Every picture is answered by one of the pairs, and both of them answer.
    near = [np.abs(found.probabilities - shares(of_pair)).max(1) < 1e-5 for of_pair in logits]
    assert (near[0] | near[1]).all()
    assert near[0].any()
    assert near[1].any()


def np_to(x: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32) / 255)


def test_pairs_are_drawn_by_the_operating_system(locked: Path) -> None:
    first, second = (api.predict("model", "photos/test", key="owner.key").probabilities for _ in range(2))
    assert (first != second).any()  # alike with probability 2^-56
    held = [api.predict("model", "photos/test", key="owner.key", average=True) for _ in range(2)]
    assert np.array_equal(held[0].probabilities, held[1].probabilities)


def test_what_is_printed_and_written(noli: Run, locked: Path) -> None:
    words = ("lock", "predict", "model", "photos/test")
    done = noli(*words, "--key", "owner.key", "--average", "-o", "answers.csv")
    assert done.code == 0
    assert "no access control" in done.err
    assert "with the key; the mean of all pairs" in done.out
    assert "20 of 56 pictures are shown" in done.err
    lines = list(csv.reader((locked / "answers.csv").read_text().splitlines()))
    told = noli(*words, "--key", "owner.key", "--average", "--json").json
    assert lines[0] == list(told["answers"][0]) == ["file", "class", "probability"]
    assert len(lines) == 57
    for line, answer in zip(lines[1:], told["answers"], strict=True):
        assert line[:2] == [answer["file"], answer["class"]]
        assert float(line[2]) == pytest.approx(answer["probability"], abs=1e-6)
    right = sum(one["file"].split("/")[0] == one["class"] for one in told["answers"])
    assert told["right"] == right
    assert f"{right} of 56 by their folders" in done.out
    bare = noli(*words, "--without-key")
    assert bare.code == 0
    assert "who stole the folder" in bare.err


def test_another_key_is_refused_before_any_work(
    noli: Run, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("work was done")

    monkeypatch.setattr(predicting, "stored_pictures", never)
    monkeypatch.setattr("noli.zoo.keyed_folder.read_weights", never)
    with pytest.raises(WrongKey):
        api.predict("model", "photos/test", key="other.key")
    with pytest.raises(WrongKey):
        api.predict("model", "photos/test", key=Key.load("other.key"))
    assert noli("lock", "predict", "model", "photos/test", "--key", "other.key").code == 4
    Key.revoke("owner.key", Key.load("owner.key").id)
    with pytest.raises(KeyFileError, match="revoked"):
        api.predict("model", "photos/test", key="owner.key")
    for key in ({}, {"key": "owner.key", "without_key": True}):
        with pytest.raises(UsageError, match="with its key, or without"):
            api.predict("model", "photos/test", **key)
    (locked / "mine.csv").write_text("mine")
    with pytest.raises(OutputExists):
        api.predict("model", "photos/test", without_key=True, output="mine.csv")
    for inside in ("photos/test/answers.csv", "model/answers.csv"):
        with pytest.raises(OutputExists, match="inside the data"):
            api.predict("model", "photos/test", without_key=True, output=inside)
    with pytest.raises(RunError, match="cannot be written"):  # before any picture is read
        api.predict("model", "nowhere", without_key=True, output="mine.csv/answers.csv")


def test_a_retired_key_still_opens(locked: Path) -> None:
    Key.rotate("owner.key")
    assert len(api.predict("model", "photos/test", key="owner.key").files) == 56


def test_sizes_and_channels(locked: Path) -> None:
    Image.new("L", (50, 40), 90).save(locked / "grey.png")
    (locked / "some").mkdir()
    shutil.move("grey.png", "some/grey.png")
    # Grey becomes grey in colour, and the run beside the model says to which side pictures are squeezed.
    found = api.predict("model", "some", key="owner.key", average=True)
    plain = np.full((1, 16, 16, 3), 90, np.uint8)
    expected = load_keyed("model", Key.load("owner.key"), pick="average").predict(plain)
    np.testing.assert_allclose(found.probabilities, shares(expected), atol=1e-5)
    assert found.right is None
    shutil.rmtree("model.noli")
    with pytest.raises(UsageError, match="how large"):
        api.predict("model", "some", key="owner.key")
    again = api.predict("model", "some", key="owner.key", average=True, side=16)
    assert np.array_equal(again.probabilities, found.probabilities)
    with pytest.raises(UsageError, match="of this side"):
        api.predict("model", "some", key="owner.key", side=18)
    converted(zoo.network("convmixer", ("a", "b"), 1), Key.load("owner.key")).save("grey")
    with pytest.raises(DataError, match="does not take"):
        api.predict("grey", "photos/test", key="owner.key", side=16)
    assert api.predict("grey", "some", key="owner.key", side=16).files == ("grey.png",)
    with pytest.raises(DataError):
        api.predict("photos", "some", key="owner.key", side=16)
