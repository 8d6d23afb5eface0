"""A keyed model gets another key, bit for bit as if that key had been folded in, and without training."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import noli
from noli import zoo
from noli.cli.main import main
from noli.core.errors import DataError, Interrupted, KeyFileError, UsageError, WrongKey
from noli.core.key import Key
from noli.core.run import Run
from noli.engine import model_rotating
from noli.testing import KEYS, tree
from noli.zoo.keyed import Pair, patch_order
from noli.zoo.keyed_folder import load_keyed
from noli.zoo.keyed_folding import converted

sys.path.insert(0, str(Path(__file__).parent))
from keyed_making import copy_to_work_in, write_locked


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_locked(tmp_path_factory.mktemp("made"), pairs=2)


@pytest.fixture
def locked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_to_work_in(made, tmp_path, monkeypatch)


def reindexed(pair: Pair, old: Key, new: Key) -> np.ndarray:
    """Put every column where the new permutation has its value, one by one."""
    plain, weight = {}, pair.embed.weight.detach().numpy()
    columns = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    for place, value in enumerate(patch_order(old, pair.patch, pair.channels, pair.number)):
        plain[value] = columns[:, place]
    order = patch_order(new, pair.patch, pair.channels, pair.number)
    moved = np.stack([plain[value] for value in order], axis=1)
    return moved.reshape(len(weight), pair.patch, pair.patch, pair.channels).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("arch", ["convmixer", "vit"])
def test_bit_for_bit_what_folding_with_the_new_key_gives(tmp_path: Path, arch: str) -> None:
    plain = zoo.network(arch, ("a", "b"), size=32)
    for name, key in (("old", KEYS[0]), ("new", KEYS[1])):
        converted(plain, key).save(tmp_path / name)
    noli.rotate(tmp_path / "old", tmp_path / "turned", key=KEYS[1], former=KEYS[0])
    assert tree(tmp_path / "turned") == tree(tmp_path / "new")


def test_every_pair_is_reindexed_and_the_record_says_so(locked: Path) -> None:
    old = Key.load("owner.key")
    new = Key.rotate("owner.key")
    before = load_keyed("model", old)
    done = noli.rotate("model", "turned", key="owner.key")
    after = load_keyed("turned", new)
    for one, other in zip(before.pairs, after.pairs, strict=True):
        assert np.array_equal(other.embed.weight.detach().numpy(), reindexed(one, old, new))
        assert torch.equal(one.embed.bias, other.embed.bias)
        assert torch.equal(one.head.weight, other.head.weight)
    assert done.manifest.results["rotated"] == [
        {"pair": number, "from": old.id, "to": new.id} for number in (0, 1)
    ]
    assert done.manifest.key and done.manifest.key.id == new.id  # noqa: PT018
    with pytest.raises(WrongKey):
        load_keyed("turned", old)
    # The side of its pictures is known from the record, also after a second rotation.
    answers = noli.predict("model", "photos/test", key="owner.key", average=True).probabilities
    Key.rotate("owner.key")
    noli.rotate("turned", "again", key="owner.key")
    for name in ("turned", "again"):
        found = noli.predict(name, "photos/test", key="owner.key", average=True).probabilities
        np.testing.assert_allclose(found, answers, atol=1e-5)


@pytest.mark.parametrize("where", ["load", "save", "finish"])
def test_killed_and_run_again_gives_the_same_bytes(
    locked: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    Key.rotate("owner.key")
    noli.rotate("model", "whole", key="owner.key")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    names = {"load": "noli.zoo.keyed_folder.load_keyed", "save": "noli.zoo.keyed_folder.atomic_write"}
    with monkeypatch.context() as patch:
        patch.setattr(names.get(where, "noli.engine.model_rotating.finish"), killed)
        with pytest.raises(Interrupted):
            noli.rotate("model", "parts", key="owner.key")
    Key.rotate("owner.key")  # what was begun is ended with its own key
    noli.rotate("model", "parts", key="owner.key")
    assert tree(locked / "whole") == tree(locked / "parts")
    assert Run.open("parts.noli").manifest.results == Run.open("whole.noli").manifest.results


def test_wrong_retired_and_revoked_keys(locked: Path) -> None:
    first = Key.load("owner.key")
    with pytest.raises(UsageError, match="has this key already"):
        noli.rotate("model", "x", key="owner.key")
    with pytest.raises(UsageError, match="two keys"):
        noli.rotate("model", "x", key=None)
    for former in ("other.key", Key.load("other.key")):
        with pytest.raises(WrongKey):
            noli.rotate("model", "x", key="other.key", former=former)
    Key.rotate("owner.key")
    with pytest.raises(UsageError, match="retired"):
        noli.rotate("model", "x", key=Key.load("owner.key", key_id=first.id), former="owner.key")
    Key.revoke("owner.key", first.id)
    with pytest.raises(KeyFileError, match="revoked"):
        noli.rotate("model", "x", key="owner.key")
    (locked / "model" / "body.safetensors").write_bytes(b"other")
    with pytest.raises(DataError):
        noli.rotate("model", "y", key="other.key", former=first)
    assert not (locked / "x").exists()
    assert not (locked / "x.noli").exists()


def test_from_the_command_line(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = Key.load("owner.key"), Key.load("other.key")
    words = ["lock", "rotate", "model", "-o", "turned", "--key", "other.key"]
    assert main(words) == 4  # the file does not hold the former key
    assert main([*words, "--former", "owner.key"]) == 0
    said = capsys.readouterr()
    assert f"{old.id} -> {new.id}" in said.out
    assert "no access control" in said.err
    assert "same function as before" in said.err
    assert load_keyed("turned", new).pairs[0].key_id == new.id


def test_the_layout_is_no_other_kind_of_model() -> None:
    from noli.report.words import MODELS

    assert model_rotating.LAYOUT not in MODELS  # nothing was measured


def test_a_damaged_model_leaves_no_run_behind(locked: Path) -> None:
    Key.rotate("owner.key")
    weights = locked / "model" / "pair-01.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="not the one that the manifest names"):
        noli.rotate("model", "turned", key="owner.key")
    assert not Path("turned").exists()
    assert not Path("turned.noli").exists()


def test_a_link_to_a_model_knows_its_run(locked: Path) -> None:
    Path("link").symlink_to("model")
    asked = [noli.predict(one, "photos/test", key="owner.key", average=True) for one in ("link", "model")]
    assert np.array_equal(asked[0].probabilities, asked[1].probabilities)
