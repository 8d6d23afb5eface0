"""A classifier from a foreign folder is locked, asked, rotated and measured; its library is needed once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noli
from noli import zoo
from noli.cli.main import main
from noli.core.errors import DataError, Interrupted, UsageError
from noli.core.key import Key
from noli.core.run import Run
from noli.engine import keyed as engine
from noli.engine.lockedmodels import BODY
from noli.methods.lock import embeddings
from noli.testing import KEYS, tree
from noli.zoo.imported import load_imported
from noli.zoo.keyed_folder import load_keyed, read_manifest

pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parent))
from foreign_making import IMAGENET, write_foreign
from keyed_making import FEW

SHORT: dict[str, Any] = {"epochs": 2, **FEW}
LINE = [word for name, value in FEW.items() for word in ("--set", f"{name}={value}")]
NAMES = ("owl", "cow", "cat")  # of the pictures two, in another order


def write_pictures(folder: Path, colours: tuple[str, ...] = ("RGB",)) -> Path:
    """Write eight pictures per class, some oblong, which a network can tell apart."""
    draw = np.random.default_rng(0)
    for name, level in (("cat", 60), ("owl", 180)):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            values = draw.normal(level, 30, (20 + number, 24, 3)).clip(0, 255).astype(np.uint8)
            picture = Image.fromarray(values).convert(colours[number % len(colours)])
            picture.save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a folder, a key, and what the command makes of them."""
    place = tmp_path_factory.mktemp("made")
    write_pictures(place / "photos")
    write_foreign(place / "deit", NAMES, "deit", looks=IMAGENET)
    Key.new(place / "owner.key")
    told = ["lock", "embeddings", place / "photos", "-o", place / "model", "--key", place / "owner.key"]
    assert main([*map(str, told), "--model", str(place / "deit"), "--epochs", "2", *LINE]) == 0
    return place


@pytest.fixture
def locked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy whose foreign folder, and the library that read it, are gone."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "locked"))
    shutil.rmtree("deit")
    monkeypatch.setitem(sys.modules, "transformers", None)
    return tmp_path / "locked"


def test_what_the_command_makes_needs_nothing_foreign_any_more(locked: Path) -> None:
    facts = read_manifest(Path("model"))
    assert (facts.arch, facts.class_names, facts.arch_args["firsts"]) == ("vit", ["cat", "owl"], 2)
    run = Run.open("model.noli")
    assert run.manifest.args_resolved["config"]["side"] == 32  # the folder's, nobody said it
    public = zoo.load(run.artifact(BODY))
    assert public.class_names == ("cat", "owl")
    # The body is the folder's, frozen.
    body = load_keyed("model", Key.load("owner.key")).net.body.net.state_dict()
    for name, value in public.net.body.blocks.state_dict().items():
        assert np.array_equal(body[name], value), name
    assert set(run.manifest.results["accuracy"]) == set(embeddings.MEANINGS)


def test_it_is_asked_and_rotated(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lock", "predict", "model", "photos", "--key", "owner.key", "-o", "answers.csv"]) == 0
    lines = Path("answers.csv").read_text().splitlines()
    assert len(lines) == 1 + 16
    assert {line.split(",")[1] for line in lines[1:]} <= {"cat", "owl"}
    before = noli.predict("model", "photos", key="owner.key").probabilities
    new = Key.rotate("owner.key")
    assert main(["lock", "rotate", "model", "-o", "turned", "--key", "owner.key"]) == 0
    assert capsys.readouterr().err
    after = noli.predict("turned", "photos", key=new).probabilities
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert not np.allclose(noli.predict("model", "photos", without_key=True).probabilities, before, atol=1e-3)


@pytest.mark.parametrize("fold", [False, True])
def test_it_is_exported_with_its_tokens_in_front(locked: Path, fold: bool) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    done = noli.export_model("model", "model.onnx", fold=fold, key="owner.key" if fold else None)
    assert done.side == 32
    assert done.difference is not None
    assert done.difference <= 1e-5


def test_a_changed_network_is_refused_and_not_taken_for_the_former(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "deit", tmp_path / "deit")

    def work() -> Run:
        return noli.lock_model(
            made / "photos", tmp_path / "new", key=made / "owner.key", model=tmp_path / "deit", **SHORT
        )

    first = work().manifest.results["files"]
    assert work().manifest.results["files"] == first
    file = tmp_path / "deit" / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UsageError, match="model_sha256"):
        work()
    file.write_bytes(data)
    assert work().manifest.results["files"] == first


def test_it_is_measured_again_without_the_folder(locked: Path) -> None:
    done = noli.audit_model("model", clean="photos", key="owner.key")
    first = Run.open("model.noli").manifest.results
    for name in ("accuracy", "robustness", "theft"):
        assert done.manifest.results[name] == first[name]


def test_it_is_measured_again_from_the_folder(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "model", tmp_path / "model")  # without the run
    done = noli.audit_model(
        tmp_path / "model", clean=made / "photos", key=made / "owner.key", public=made / "deit", **SHORT
    )
    first = Run.open(made / "model.noli").manifest.results
    assert done.manifest.results["accuracy"] == first["accuracy"]


@pytest.mark.parametrize("where", ["transform", "use"])
def test_killed_and_run_again_gives_the_same_model(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def lock() -> Run:
        given = made / "deit"
        return noli.lock_model(made / "photos", tmp_path / "m", key=made / "owner.key", model=given, **SHORT)

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine.embeddings, where, killed)
        with pytest.raises(Interrupted):
            lock()
    monkeypatch.setitem(sys.modules, "transformers", None)  # the folder is not read a second time
    done = lock()
    assert tree(tmp_path / "m") == tree(made / "model")
    first = Run.open(made / "model.noli").manifest.results
    for name in ("accuracy", "robustness", "theft"):
        assert done.manifest.results[name] == first[name]
    assert lock().manifest.run_id == done.manifest.run_id


def test_folded_in_without_training_it_answers_as_the_folder_does(made: Path, tmp_path: Path) -> None:
    few = {**FEW, "converted": True}
    done = noli.lock_model(made / "photos", tmp_path / "m", key=KEYS[0], model=made / "deit", **few)
    found = done.manifest.results["accuracy"]
    assert found["clean"] == found["plain"]
    noli.rotate(tmp_path / "m", tmp_path / "turned", key=KEYS[1], former=KEYS[0])
    noli.lock_model(made / "photos", tmp_path / "other", key=KEYS[1], model=made / "deit", **few)
    assert tree(tmp_path / "turned") == tree(tmp_path / "other")


def test_a_fleet_takes_a_folder_too(made: Path, tmp_path: Path) -> None:
    few = {
        "epochs": 1,
        "wrong_keys": 1,
        "attacked": 4,
        "attack_steps": 1,
        "targets": 1,
        "matrix": 0,
        "rank": 2,
    }
    for _ in range(2):
        done = noli.proliferate(
            made / "photos", tmp_path / "fleet", devices=["a"], key=KEYS[0], base=made / "deit", **few
        )
    assert done.manifest.results["devices"] == 1
    assert done.manifest.args_resolved["config"]["side"] == 32


@pytest.mark.parametrize("foreign", [True, False])
def test_a_network_for_other_classes_gets_a_new_head(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    if foreign:
        given, sides = write_foreign(tmp_path / "other", ("dog", "cow", "cat")), {}
    else:
        given, sides = tmp_path / "other.safetensors", {"side": 16}
        zoo.network("convmixer", ("dog", "cow", "cat"), width=16, depth=1).save(given)
    how: dict[str, Any] = {**SHORT, **sides, "new_head": True, "body_epochs": 100}

    def lock(name: str) -> Run:
        return noli.lock_model(made / "photos", tmp_path / name, key=made / "owner.key", model=given, **how)

    with pytest.raises(UsageError, match=r"class.*--new-head"):
        noli.lock_model(made / "photos", tmp_path / "x", key=KEYS[0], model=given, **{**SHORT, **sides})
    whole, real = lock("whole"), embeddings.headed
    public = zoo.load(whole.artifact(BODY))
    assert public.class_names == ("cat", "owl")
    before = load_imported(given) if foreign else zoo.load(given)
    for name, value in before.net.state_dict().items():
        if not name.startswith("head."):
            assert np.array_equal(public.net.state_dict()[name], value), name
    assert whole.manifest.results["accuracy"]["plain"] == 1  # dark ones and light ones
    done = noli.audit_model(tmp_path / "whole", clean=made / "photos", key=made / "owner.key")
    assert done.manifest.results["accuracy"] == whole.manifest.results["accuracy"]

    def killed(*given: Any) -> Any:
        real(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine.embeddings, "headed", killed)
        with pytest.raises(Interrupted):
            lock("parts")
    assert lock("parts").manifest.results == whole.manifest.results
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_grey_pictures_are_widened(made: Path, tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "grey", ("L",))
    noli.lock_model(photos, tmp_path / "m", key=KEYS[0], model=made / "deit", **SHORT)
    assert read_manifest(tmp_path / "m").channels == 3


def test_what_does_not_fit_is_refused_before_anything_is_trained(made: Path, tmp_path: Path) -> None:
    def lock(model: Path, **more: Any) -> None:
        noli.lock_model(made / "photos", tmp_path / "m", key=KEYS[0], model=model, **{**SHORT, **more})

    with pytest.raises(UsageError, match="new head is for a network that is given"):
        noli.lock_model(made / "photos", tmp_path / "m", key=KEYS[0], new_head=True, **SHORT)
    with pytest.raises(UsageError, match="how a model is locked"):
        noli.audit_model(made / "model", clean=made / "photos", key=made / "owner.key", new_head=True)
    with pytest.raises(UsageError, match=r"no pictures of this side.*where: 64.*takes 32 pixels"):
        lock(made / "deit", side=64)
    other = write_foreign(tmp_path / "other", ("dog", "cat"))
    with pytest.raises(UsageError, match=r"does not know a class.*owl"):
        lock(other)
    grey = write_foreign(tmp_path / "grey", NAMES, looks={}, num_channels=1)
    with pytest.raises(UsageError, match="grey pictures only"):
        lock(grey)
    odd = write_foreign(tmp_path / "odd", NAMES, image_size=30, patch_size=5)
    with pytest.raises(UsageError, match="multiple of 4"):
        lock(odd)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="layout of Hugging Face"):
        lock(tmp_path / "empty")
    vit = zoo.network("vit", ("cat", "owl"), size=48, side=48, width=16, depth=1)
    vit.save(tmp_path / "vit.safetensors")
    with pytest.raises(UsageError, match=r"no pictures of this side.*48 pixels"):
        lock(tmp_path / "vit.safetensors", side=32)
    mixer = zoo.network("convmixer", ("cat", "owl"), width=16, depth=1, patch=8)
    mixer.save(tmp_path / "mixer.safetensors")
    with pytest.raises(UsageError, match=r"no pictures of this side.*8 pixels"):
        lock(tmp_path / "mixer.safetensors", side=20)
    assert {path.name for path in tmp_path.iterdir()} == {
        "other", "grey", "odd", "empty", "vit.safetensors", "mixer.safetensors",
    }  # fmt: skip


def test_a_network_of_the_zoo_decides_the_side_too(made: Path, tmp_path: Path) -> None:
    vit = zoo.network("vit", ("cat", "owl"), size=48, side=48, width=16, depth=1)
    vit.save(tmp_path / "vit.safetensors")
    done = noli.lock_model(
        made / "photos", tmp_path / "m", key=KEYS[0], model=tmp_path / "vit.safetensors", **SHORT
    )
    assert done.manifest.args_resolved["config"]["side"] == 48
