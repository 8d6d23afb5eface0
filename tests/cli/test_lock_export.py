"""``noli lock export``: a locked model is served by ONNX Runtime with the order, and as good as before."""

from __future__ import annotations

import runpy
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from noli import api
from noli.core.images import to_float
from noli.core.key import Key
from noli.data.demo import photo_crops
from noli.zoo.keyed_folder import load_keyed

Run = Callable[..., Any]
DOCS = Path(__file__).parents[2] / "docs"
FEW: dict[str, Any] = {"network": "convmixer", "side": 32, "wrong_keys": 1, "attacked": 4, "thief_labels": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, keys, ``model/`` that learned something, and ``two/`` with two pairs."""
    place = tmp_path_factory.mktemp("locked")
    photo_crops(place / "photos", size=32, per_class_train=16, per_class_test=6)
    key = Key.new(place / "owner.key")
    Key.new(place / "other.key")
    photos = place / "photos" / "train"
    api.lock_model(photos, place / "model", key=key, epochs=12, body_epochs=12, **FEW)
    api.lock_model(photos, place / "two", key=key, epochs=1, body_epochs=1, pairs=2, **FEW)
    return place


@pytest.fixture
def locked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "locked"))
    return tmp_path / "locked"


def held_out(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    classes = sorted(one.name for one in folder.iterdir())
    files = sorted(folder.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return images, np.array([classes.index(file.parent.name) for file in files])


def test_a_served_model_is_as_good_as_the_locked_one(noli: Run, locked: Path) -> None:
    done = noli("lock", "export", "model", "-o", "model.onnx", "--key", "owner.key", "--order", "order.npy")
    assert done.code == 0
    words = " ".join(done.out.split())
    assert "pictures float32 [N, 3, H, W], values in [0, 1]" in words
    assert "order int64 [48]; in order.npy, mode 0600" in words
    assert "from torch at most, on 64 made-up pictures" in words
    assert stat.S_IMODE((locked / "order.npy").stat().st_mode) == 0o600
    order = np.load("order.npy", allow_pickle=False)
    for secret in (str(order[:5].tolist())[1:-1], " ".join(map(str, order[:5]))):
        assert secret not in done.out + done.err

    images, labels = held_out(locked / "photos" / "test")
    assert len(images) >= 64
    keyed, key = load_keyed("model", "owner.key"), Key.load("owner.key")
    expected = keyed.predict(images)
    plain = onnxruntime.InferenceSession("model.onnx")
    found = plain.run(None, {"pictures": to_float(images), "order": order})[0]
    assert np.abs(found - expected).max() <= 1e-5
    accuracy = (expected.argmax(1) == labels).mean()
    assert accuracy > 2 / 14, "it learned something"
    assert (found.argmax(1) == labels).mean() == accuracy

    done = noli("lock", "export", "model", "-o", "folded.onnx", "--key", "owner.key", "--fold", "--json")
    assert done.code == 0
    assert "CONTAINS THE KEY" in done.err
    assert "CONTAINS THE KEY" in done.json["facts"]["warning"]
    assert done.json["folded"]
    assert done.json["difference"] <= 1e-5
    assert done.json["facts"]["key_id"] == key.id
    assert stat.S_IMODE((locked / "folded.onnx").stat().st_mode) == 0o600
    found = onnxruntime.InferenceSession("folded.onnx").run(None, {"pictures": to_float(images)})[0]
    assert np.abs(found - expected).max() <= 1e-5


def test_no_key_is_needed_and_the_page_serves_what_comes_out(noli: Run, locked: Path) -> None:
    done = noli("lock", "export", "model", "-o", "model.onnx")
    assert done.code == 0
    assert "noli.patch_order" in done.err
    assert "CONTAINS" not in done.out + done.err
    assert "warning" not in [one.key for one in onnx.load("model.onnx").metadata_props]
    page = (DOCS / "using-keyed-models.md").read_text("utf-8")
    serve = page.partition('```python title="serve.py"\n')[2].partition("```")[0]
    Path("serve.py").write_text(serve)
    told = runpy.run_path("serve.py")
    assert told["logits"].shape == (1, 14)
    expected = load_keyed("model", "owner.key").predict(told["pictures"])
    assert np.abs(told["logits"] - expected).max() <= 1e-5


def test_what_is_refused_leaves_nothing(noli: Run, locked: Path) -> None:
    before = sorted(locked.iterdir())
    export = ("lock", "export", "model", "-o")
    for more, code, words in (
        (("m.onnx", "--key", "other.key", "--fold"), 4, "does not hold the key"),
        (("m.onnx", "--key", "other.key", "--order", "o.npy"), 4, "does not hold the key"),
        (("m.onnx", "--fold"), 2, "goes with --fold or --order"),
        (("m.onnx", "--key", "owner.key"), 2, "goes with --fold or --order"),
        (("m.onnx", "--key", "owner.key", "--fold", "--order", "o.npy"), 2, "takes no order"),
        (("m.onnx", "--pair", "1"), 2, "There is no pair 1"),
        (("owner.key",), 2, "nothing is overwritten"),
        (("m.onnx", "--key", "owner.key", "--order", "other.key"), 2, "nothing is overwritten"),
        (("owner.key", "--key", "owner.key", "--order", "o.npy"), 2, "nothing is overwritten"),
        (("m.onnx", "--key", "owner.key", "--order", "m.onnx"), 2, "two places"),
        (("model/m.onnx",), 2, "inside the model's folder"),
        (("m.onnx", "--to", "coreml"), 2, ".mlpackage"),
    ):
        done = noli(*export, *more)
        assert (done.code, words in " ".join(done.err.split())) == (code, True), (more, done.err)
        assert sorted(locked.iterdir()) == before, more
    assert noli("lock", "export", "photos", "-o", "m.onnx").code == 4


def test_a_pair_has_to_be_named_where_there_are_several(noli: Run, locked: Path) -> None:
    done = noli("lock", "export", "two", "-o", "m.onnx")
    assert done.code == 2
    assert "several pairs" in done.err
    assert f"0 (key {Key.load('owner.key').id}), 1 (key" in " ".join(done.err.split())
    done = noli("lock", "export", "two", "-o", "m.onnx", "--pair", "1", "--json")
    assert (done.code, done.json["pair"]) == (0, 1)
    Key.rotate("owner.key")  # the model's is no longer active, and found in the file by its id
    done = noli("lock", "export", "model", "-o", "f.onnx", "--key", "owner.key", "--fold")
    assert done.code == 0


def test_help_fits_a_terminal(noli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = noli("lock", "export", "--help").out
    assert all(len(line) <= 80 for line in said.splitlines())
    assert sum("--" in line for line in said.splitlines() if line.startswith("│")) <= 9
    assert "CONTAINS" in said
    assert "…" not in said
