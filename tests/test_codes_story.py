"""Codes instead of pictures: against the schemes written out, alike in all batches, resumable, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import noli
from noli.core.errors import DataError, Interrupted, OutputExists, UsageError
from noli.core.images import to_float
from noli.core.key import Key
from noli.engine import codes as engine
from noli.engine.locking import LockRequest
from noli.methods.lock import instahide, neuracrypt
from noli.ops.codes import MEAN, SPREAD
from noli.testing import KEYS, tree

SMALL: dict[str, Any] = {"side": 16, "patch": 4, "width": 24, "depth": 2, "i_understand_this_is_broken": True}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw = np.random.default_rng(3)
    for number in range(7):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = draw.integers(0, 256, (20 + number, 31, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{number}.png")
    Image.fromarray(values[..., 0]).save(tmp_path / "photos" / "a" / "grey.png")
    return tmp_path / "photos"


def arrays(folder: Path) -> dict[str, np.ndarray]:
    found = [safetensors.numpy.load_file(file) for file in sorted(folder.glob("codes-*.safetensors"))]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def pictures(photos: Path, side: int) -> engine.StoredPictures:
    request = LockRequest(
        str(photos), "unused", neuracrypt.SPEC, neuracrypt.Config(side=side, patch=1), KEYS[0]
    )
    return engine.scanned(request, labelled=False)


def slow_codes(image: np.ndarray, network: Any, by_colour: bool) -> np.ndarray:
    """One picture ``float [C, S, S]``, patch after patch, in float64."""
    p = network.patch
    rows = []
    for top in range(0, image.shape[1], p):
        for left in range(0, image.shape[2], p):
            patch = 2 * image[:, top : top + p, left : left + p].astype(np.float64) - 1
            parts = [plane.reshape(-1) for plane in patch] if by_colour else [patch.reshape(-1)]
            made = [layer.weight.double().numpy() @ part + layer.bias.double().numpy()
                    for layer, part in zip(network.first, parts, strict=True)]  # fmt: skip
            x = np.maximum(np.concatenate(made), 0)
            for layer in network.deep:
                x = layer.weight.double().numpy() @ x + layer.bias.double().numpy()
                x = np.maximum((x - layer.mean.double().numpy()) / layer.spread.double().numpy(), 0)
            x = np.maximum(x + network.places[len(rows)].double().numpy(), 0)
            rows.append(network.last.weight.double().numpy() @ x + network.last.bias.double().numpy())
    return np.stack(rows)


@pytest.mark.parametrize("colour", ["joint", "planes"])
def test_neuracrypt_is_the_network_written_out(photos: Path, tmp_path: Path, colour: str) -> None:
    noli.encode(photos, tmp_path / "out", "neuracrypt", key=KEYS[0], colour=colour, shuffle=False, **SMALL)
    found, shown = arrays(tmp_path / "out"), pictures(photos, 16)
    cfg = neuracrypt.Config(colour=colour, shuffle=False, **SMALL)
    network = neuracrypt.coder(shown, KEYS[0], cfg).network
    assert len(network.first) == (3 if colour == "planes" else 1)
    assert found["codes"].dtype == np.float16
    for number in range(len(shown)):
        slow = slow_codes(to_float(shown[number][None])[0], network, colour == "planes")
        assert np.allclose(found["codes"][number], slow, atol=5e-3)
    # Normalised layers are what they are called, on the public pictures: the codes are of order one.
    assert 0.05 < found["codes"].astype(np.float32).std() < 5
    assert found["labels"].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_codes_depend_on_key_and_picture_only(photos: Path, tmp_path: Path) -> None:
    noli.encode(photos, tmp_path / "all", "neuracrypt", key=KEYS[0], **SMALL)
    whole = arrays(tmp_path / "all")["codes"]
    for name in ("a", "b"):
        noli.encode(photos / name, tmp_path / name, "neuracrypt", key=KEYS[0], **SMALL)
    assert np.array_equal(arrays(tmp_path / "b")["codes"], whole[5:])
    parts = np.concatenate([arrays(tmp_path / name)["codes"] for name in ("a", "b")])
    assert np.array_equal(parts, whole)
    noli.encode(photos, tmp_path / "other", "neuracrypt", key=KEYS[1], **SMALL)
    other = arrays(tmp_path / "other")["codes"]
    assert abs(np.corrcoef(other.ravel().astype(float), whole.ravel().astype(float))[0, 1]) < 0.2


def test_the_order_of_codes_is_secret_and_its_own(photos: Path, tmp_path: Path) -> None:
    for name, shuffle in (("plain", False), ("mixed", True)):
        noli.encode(photos, tmp_path / name, "neuracrypt", key=KEYS[0], shuffle=shuffle, **SMALL)
    plain, mixed = (arrays(tmp_path / name)["codes"] for name in ("plain", "mixed"))
    orders = []
    for before, after in zip(plain, mixed, strict=True):
        assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))
        orders.append([before.tolist().index(row) for row in after.tolist()])
    assert len({tuple(order) for order in orders}) == len(orders)


def test_instahide_is_the_mixture_written_out(photos: Path, tmp_path: Path) -> None:
    done = noli.encode(
        photos, tmp_path / "out", "instahide", key=KEYS[0], side=8, k=3, copies=2,
        i_understand_this_is_broken=True,
    )  # fmt: skip
    found, shown = arrays(tmp_path / "out"), pictures(photos, 8)
    assert found["codes"].shape == (8, 2, 3, 8, 8)
    assert done.manifest.results["shape"] == [2, 3, 8, 8]
    cfg = instahide.Config(side=8, k=3, copies=2, i_understand_this_is_broken=True)
    mixer = instahide.coder(shown, KEYS[0], cfg)
    mean, spread = np.array(MEAN), np.array(SPREAD)
    for number in range(8):
        for copy in range(2):
            stream = KEYS[0].stream("lock/instahide/code", f"{shown.items[number].id}/{copy}")
            chosen, others = mixer._mixed(stream, number, shown)
            assert others == []
            assert chosen[0] == number
            assert len(set(chosen)) == 3
            weights = instahide.mixing_weights(stream, 3, 0.65)
            assert weights.sum() == pytest.approx(1)
            assert 0 < weights.min() <= weights.max() <= 0.65
            mixed, label = np.zeros((3, 8, 8)), np.zeros(2)
            for one, weight in zip(chosen, weights, strict=True):
                image = shown[one].transpose(2, 0, 1) / 255
                mixed += weight * (image - mean[:, None, None]) / spread[:, None, None]
                label[shown.labels[one]] += weight
            code = found["codes"][number, copy].astype(np.float64)
            assert np.allclose(np.abs(code), np.abs(mixed), atol=5e-3)
            assert 0.3 < (np.sign(code) == np.sign(mixed)).mean() < 0.7
            assert np.allclose(found["labels"][number, copy], label, atol=1e-6)


def test_public_pictures_are_mixed_in(photos: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(9)
    (tmp_path / "public").mkdir()
    for number in range(5):
        values = draw.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / "public" / f"{number}.png")
    options: dict[str, Any] = {
        "side": 8, "k": 4, "copies": 2, "public": str(tmp_path / "public"),
        "i_understand_this_is_broken": True,
    }  # fmt: skip
    noli.encode(photos, tmp_path / "out", "instahide", key=KEYS[0], **options)
    found, cfg = arrays(tmp_path / "out"), instahide.Config(**options)
    request = LockRequest(str(photos), "unused", instahide.SPEC, cfg, KEYS[0])
    shown = engine.scanned(request, labelled=True)
    assert shown.public is not None
    assert len(shown.public) == 5
    mixer = instahide.coder(shown, KEYS[0], cfg)
    for number in range(8):
        for copy in range(2):
            stream = KEYS[0].stream("lock/instahide/cross", f"{shown.items[number].id}/{copy}")
            own, others = mixer._mixed(stream, number, shown)
            assert own[0] == number
            assert len(set(own)) == len(others) == 2
            weights = instahide.mixing_weights(stream, 4, 0.65, 0.3)
            assert weights[:2].sum() >= 0.3
            mixed, label = np.zeros((3, 8, 8)), np.zeros(2)
            for image, weight in zip([*(shown[one] for one in own), *others], weights, strict=True):
                mixed += weight * ((image / 255 - np.array(MEAN)) / np.array(SPREAD)).transpose(2, 0, 1)
            for one, weight in zip(own, weights, strict=False):
                label[shown.labels[one]] += weight
            assert np.allclose(np.abs(found["codes"][number, copy]), np.abs(mixed), atol=5e-3)
            assert np.allclose(found["labels"][number, copy], label, atol=1e-6)
    (tmp_path / "public" / "0.png").unlink()
    (tmp_path / "out" / "codes.json").unlink()
    with pytest.raises(DataError, match="not those"):
        noli.encode(photos, tmp_path / "out", "instahide", key=KEYS[0], **options)
    for further in ({"k": 2}, {"k": 9}, {"least": 0.99, "cap": 0.4}):
        with pytest.raises(UsageError, match="cannot be mixed"):
            noli.encode(photos, tmp_path / "no", "instahide", key=KEYS[0], **{**options, **further})
    grey = tmp_path / "grey" / "a"
    grey.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(draw.integers(0, 256, (9, 9), dtype=np.uint8)).save(grey / f"{number}.png")
    with pytest.raises(DataError, match="have colours"):
        noli.encode(grey.parent, tmp_path / "no", "instahide", key=KEYS[0], **options)


@pytest.mark.parametrize(("method", "options"), [("neuracrypt", SMALL), ("instahide", {"side": 8})])
def test_killed_and_run_again_gives_the_same_bytes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(engine, "SHARD_BYTES", 2 * 4 * 8 * 16 * 24)
    options = {**options, "i_understand_this_is_broken": True}
    noli.encode(photos, tmp_path / "whole", method, key=KEYS[0], **options)
    write, calls = engine.atomic_write, []

    def stopping(path: Path, content: Any) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(engine, "atomic_write", stopping)
    with pytest.raises(Interrupted):
        noli.encode(photos, tmp_path / "parts", method, key=KEYS[0], **options)
    assert not (tmp_path / "parts" / "codes.json").exists()
    monkeypatch.setattr(engine, "atomic_write", write)
    noli.encode(photos, tmp_path / "parts", method, key=KEYS[0], **options)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")
    again = noli.encode(photos, tmp_path / "parts", method, key=KEYS[0], **options)
    assert again.manifest.results["items"] == 8
    # What is gone is made again, what was changed is refused, and so are other pictures.
    next(iter(sorted((tmp_path / "parts").glob("codes-*")))).unlink()
    (tmp_path / "parts" / "codes.json").unlink()
    noli.encode(photos, tmp_path / "parts", method, key=KEYS[0], **options)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")
    (tmp_path / "whole" / "codes.json").write_text("mine")
    with pytest.raises(OutputExists, match="was changed"):
        noli.encode(photos, tmp_path / "whole", method, key=KEYS[0], **options)
    assert (tmp_path / "whole" / "codes.json").read_text() == "mine"
    Image.new("RGB", (9, 9)).save(photos / "a" / "new.png")
    with pytest.raises(DataError, match="not those"):
        noli.encode(photos, tmp_path / "parts", method, key=KEYS[0], **options)
    told = json.loads((tmp_path / "parts" / "codes.json").read_text())
    assert sum(one["items"] for one in told["shards"]) == 8
    assert "broken" in told["title"]
    assert ".png" not in (tmp_path / "parts" / "codes.json").read_text()


def test_a_key_that_was_retired_ends_what_it_began_and_begins_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "owner.key"
    first = Key.new(file)
    write = engine.atomic_write
    monkeypatch.setattr(engine, "atomic_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(Interrupted):
        noli.encode(photos, tmp_path / "out", "neuracrypt", key=file, **SMALL)
    monkeypatch.setattr(engine, "atomic_write", write)
    second = Key.rotate(file)
    done = noli.encode(photos, tmp_path / "out", "neuracrypt", key=file, **SMALL)
    assert done.manifest.key.id == first.id
    assert noli.encode(photos, tmp_path / "new", "neuracrypt", key=file, **SMALL).manifest.key.id == second.id
    with pytest.raises(UsageError, match="retired"):
        noli.encode(photos, tmp_path / "old", "neuracrypt", key=Key.load(file, key_id=first.id), **SMALL)


def test_what_protects_nothing_is_refused_unless_one_says_so(photos: Path, tmp_path: Path) -> None:
    for method in ("neuracrypt", "instahide"):
        with pytest.raises(UsageError, match="broken") as caught:
            noli.encode(photos, tmp_path / method, method, key=KEYS[0])
        assert "--i-understand-this-is-broken" in str(caught.value.fix)
        assert not (tmp_path / method).exists()
        assert not (tmp_path / f"{method}.noli").exists()
    with pytest.raises(UsageError, match="locks no pictures") as caught:
        noli.lock(photos, tmp_path / "x", "neuracrypt", key=KEYS[0])
    assert caught.value.fix == "call noli.encode"
    with pytest.raises(UsageError, match="makes no codes"):
        noli.encode(photos, tmp_path / "x", "etc", key=KEYS[0])
    with pytest.raises(UsageError, match="needs a key"):
        noli.encode(photos, tmp_path / "x", "neuracrypt", key=None)
    with pytest.raises(UsageError, match="multiple"):
        noli.encode(photos, tmp_path / "x", "neuracrypt", key=KEYS[0], side=10, patch=4)


def test_bad_input_of_codes(photos: Path, tmp_path: Path) -> None:
    options = {"side": 8, "i_understand_this_is_broken": True}
    with pytest.raises(UsageError, match="cannot be mixed"):
        noli.encode(photos, tmp_path / "k", "instahide", key=KEYS[0], k=9, **options)
    with pytest.raises(UsageError, match="cannot be mixed"):
        noli.encode(photos, tmp_path / "c", "instahide", key=KEYS[0], k=2, cap=0.5, **options)
    flat = photos / "a"
    with pytest.raises(DataError, match="no label"):
        noli.encode(flat, tmp_path / "flat", "instahide", key=KEYS[0], **options)
    noli.encode(flat, tmp_path / "f", "neuracrypt", key=KEYS[0], **SMALL)
    assert set(arrays(tmp_path / "f")) == {"codes"}
    with pytest.raises(UsageError, match="other arguments"):
        noli.encode(flat, tmp_path / "f", "neuracrypt", key=KEYS[1], **SMALL)
    with pytest.raises(UsageError, match="no report about codes"):
        noli.write_report(tmp_path / "f")
    with pytest.raises(UsageError, match="cannot be undone"):
        noli.undo(tmp_path / "f", tmp_path / "back", key=KEYS[0])
    (photos / "b" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError):
        noli.encode(photos, tmp_path / "bad", "neuracrypt", key=KEYS[0], **SMALL)
    done = noli.encode(photos, tmp_path / "rest", "neuracrypt", key=KEYS[0], on_error="skip", **SMALL)
    assert done.manifest.results["items"] == 8
