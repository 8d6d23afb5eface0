"""Exported graphs against torch, what is in the files, and what is refused."""

from __future__ import annotations

import itertools
import json
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import noli
from noli import zoo
from noli.core.errors import (
    DataError,
    MissingPrerequisite,
    NoliError,
    OutputExists,
    RunError,
    UsageError,
    WrongKey,
)
from noli.core.key import Key
from noli.core.model import DESCRIBED, Model
from noli.engine.exporting import WARNING
from noli.testing import KEYS, tree
from noli.zoo import exporting
from noli.zoo.keyed import KeyedModel, Pair, isotropic_parts, patch_order
from noli.zoo.keyed_folder import load_bare, load_keyed
from noli.zoo.keyed_folding import stolen

ARCHS = {"convmixer": {"width": 16, "depth": 2, "kernel": 3}, "vit": {"width": 16, "depth": 2, "side": 12}}
NAMES = ("cat", "dog", "owl")
ALLOWED = 1e-5  # of the specification


def saved(place: Path, arch: str = "convmixer", channels: int = 3, pairs: int = 2) -> Path:
    """A keyed model of pairs with keys, numbers and weights of their own, and with logits of some size."""
    networks = [zoo.network(arch, NAMES, channels, size=12, seed=i, **ARCHS[arch]) for i in range(pairs + 1)]
    made = []
    for i, network in enumerate(networks[1:]):
        embed, _, head = isotropic_parts(network)
        with torch.no_grad():
            head.weight *= 10
        made.append(Pair(embed, head, KEYS[i], 3 * i))
    described = {name: getattr(networks[0], name) for name in DESCRIBED}
    colours = {"mean": (0.4, 0.5, 0.6)[:channels], "std": (0.2, 0.25, 0.3)[:channels]}
    KeyedModel(Model(networks[0].net, **(described | colours)), made).save(place)
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("keyed") / "model")


def pictures(n: int, channels: int = 3, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(n).random((n, channels, height, width), np.float32)


def served(file: Path, x: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    session = onnxruntime.InferenceSession(file)
    return session.run(None, {"pictures": x} | ({} if order is None else {"order": order}))[0]


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("arch", sorted(ARCHS))
def test_onnx_runtime_answers_as_torch(arch: str, channels: int, fold: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", arch, channels)
    keyed = load_keyed(folder, KEYS[:2])
    done = noli.export_model(folder, tmp_path / "m.onnx", pair=1, fold=fold, key=KEYS[1] if fold else None)
    order = None if fold else noli.patch_order(folder, key=KEYS[1], pair=1)
    assert done.difference is not None
    assert done.difference <= ALLOWED
    for n in (1, 7, 56):  # 64 pictures
        x = pictures(n, channels)
        with torch.no_grad():
            expected = keyed(torch.from_numpy(x), pair=1).numpy()
        assert np.abs(served(tmp_path / "m.onnx", x, order) - expected).max() <= ALLOWED
    assert np.ptp(expected, axis=0).min() > 1e-3, "answers depend on the picture"
    if order is not None:
        for wrong in (np.arange(len(order)), np.argsort(order), patch_order(KEYS[0], 4, channels, 3)):
            assert np.abs(served(tmp_path / "m.onnx", x, wrong) - expected).max() > 1e-3


@pytest.mark.parametrize("size", [(4, 4), (12, 20), (36, 8)])
def test_a_convmixer_takes_any_whole_patches(model: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    done = noli.export_model(model, tmp_path / "m.onnx", pair=0)
    assert done.side is None
    x, order = pictures(3, 3, *size), noli.patch_order(model, key=KEYS[0], pair=0)
    with torch.no_grad():
        expected = load_keyed(model, KEYS[:2])(torch.from_numpy(x), pair=0).numpy()
    assert np.abs(served(tmp_path / "m.onnx", x, order) - expected).max() <= ALLOWED
    with pytest.raises(Exception, match="Reshape"):
        served(tmp_path / "m.onnx", pictures(3, 3, size[0] + 1, size[1]), order)


def test_sides_can_be_fixed_and_those_of_a_vit_are(model: Path, tmp_path: Path) -> None:
    assert noli.export_model(model, tmp_path / "m.onnx", pair=0, side=16).side == 16
    vit = saved(tmp_path / "vit", "vit", pairs=1)
    assert noli.export_model(vit, tmp_path / "v.onnx").side == 12
    for file, side in ((tmp_path / "m.onnx", 16), (tmp_path / "v.onnx", 12)):
        shape = onnx.load(file).graph.input[0].type.tensor_type.shape.dim
        assert [one.dim_param or one.dim_value for one in shape] == ["batch", 3, side, side]
        with pytest.raises(Exception, match=r"[Ii]nvalid dimensions"):
            served(file, pictures(1, 3, 20, 20), np.arange(48))
    for folder, side in ((vit, 16), (model, 18), (model, 0), (model, -4)):
        with pytest.raises(UsageError, match="no pictures of this side"):
            noli.export_model(folder, tmp_path / "x.onnx", pair=0, side=side)


def numbers(made: onnx.ModelProto) -> list[np.ndarray]:
    """Everything that a graph holds beside its structure."""
    kept = [onnx.numpy_helper.to_array(one) for one in made.graph.initializer]
    for node in made.graph.node:
        kept += [onnx.numpy_helper.to_array(one.t) for one in node.attribute if one.type == one.TENSOR]
        kept += [np.array(list(one.ints)) for one in node.attribute if one.type == one.INTS]
    return kept


@pytest.mark.parametrize("arch", sorted(ARCHS))
def test_neither_key_nor_permutation_is_in_the_file(arch: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", arch)
    noli.export_model(folder, tmp_path / "m.onnx", pair=1)
    data, made = (tmp_path / "m.onnx").read_bytes(), onnx.load(tmp_path / "m.onnx")
    whole = [one for one in numbers(made) if one.size == 48 and one.ndim == 1]
    for key, number in itertools.product(KEYS[:2], (0, 3)):
        order = patch_order(key, 4, 3, number)
        for secret in (order, np.argsort(order)):
            assert not any(np.array_equal(one, secret) for one in whole)
            for kind in ("<i8", "<i4", "<u2", "u1", "<f4"):
                assert secret[:6].astype(kind).tobytes() not in data
            assert json.dumps(secret.tolist())[1:20].encode() not in data
        assert key.export_secret() not in data
        assert key.export_secret().hex().encode() not in data
    # The test would see one: here it is.
    made.graph.initializer.append(onnx.numpy_helper.from_array(order, "order"))
    assert any(np.array_equal(one, order) for one in numbers(made) if one.size == 48)
    taken = [node.op_type for node in made.graph.node if "order" in node.input]
    assert taken == ["Gather"]


def test_a_file_says_what_it_is(model: Path, tmp_path: Path) -> None:
    plain = noli.export_model(model, tmp_path / "m.onnx", pair=1)
    secret = noli.export_model(model, tmp_path / "f.onnx", pair=1, key=KEYS[1], fold=True)
    for done, names in ((plain, ["pictures", "order"]), (secret, ["pictures"])):
        made = onnx.load(done.path)
        onnx.checker.check_model(made, full_check=True)
        assert made.opset_import[0].version >= 13
        assert [one.name for one in made.graph.input] == names
        assert [one.name for one in made.graph.output] == ["logits"]
        facts = {one.key: one.value for one in made.metadata_props}
        assert facts == done.facts
        told = {
            "noli": noli.__version__,
            "scheme": "lock/embeddings",
            "flatten_order": "row, column, channel",
        }
        assert (
            facts.items() >= (told | {"patch": "4", "channels": "3", "pair": "1", "pair_number": "3"}).items()
        )
        assert facts["key_id"] == KEYS[1].id
        assert json.loads(facts["class_names"]) == list(NAMES)
        assert (json.loads(facts["mean"]), json.loads(facts["std"])) == ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
        assert not any(node.doc_string for node in made.graph.node)
    assert "warning" not in plain.facts
    assert secret.facts["warning"] == onnx.load(secret.path).doc_string == WARNING
    assert "CONTAINS THE KEY" in WARNING
    assert stat.S_IMODE(secret.path.stat().st_mode) == 0o600


def test_exporting_is_repeatable_and_changes_nothing_else(model: Path, tmp_path: Path) -> None:
    before, state = tree(model), torch.get_rng_state()
    for name in ("a.onnx", "b.onnx"):
        noli.export_model(model, tmp_path / name, pair=0)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert tree(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_a_graph_that_is_not_the_model_is_not_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = exporting.Graph.trials
    for change, match in ((2e-5, "not what the model is"), (float("nan"), "not what the model is")):
        off = lambda graph, by=change: ((given, told + by) for given, told in real(graph))  # noqa: E731
        monkeypatch.setattr(exporting.Graph, "trials", off)
        with pytest.raises(RunError, match=match):
            noli.export_model(model, tmp_path / "m.onnx", pair=0)
    monkeypatch.setattr(exporting.Graph, "trials", lambda graph: (((), told) for _, told in real(graph)))
    with pytest.raises(RunError, match="cannot run"):
        noli.export_model(model, tmp_path / "m.onnx", pair=0)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named_with_their_extra(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert noli.export_model(model, tmp_path / "m.onnx", pair=0).difference is None
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPrerequisite, match=r"onnx.*noli\[onnx\]"):
        noli.export_model(model, tmp_path / "n.onnx", pair=0)
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingPrerequisite, match=r"coremltools.*noli\[coreml\]"):
        noli.export_model(model, tmp_path / "n.mlpackage", pair=0, to="coreml", side=16)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({}, UsageError, f"several pairs.*0 .key {KEYS[0].id}., 1 .key {KEYS[1].id}"),
        ({"pair": 2}, UsageError, "no pair 2"),
        ({"pair": -1}, UsageError, "no pair -1"),
        ({"pair": 0, "fold": True}, UsageError, "needs the key"),
        ({"pair": 0, "key": KEYS[0]}, UsageError, "needs no key"),
        ({"pair": 0, "fold": True, "key": KEYS[1]}, WrongKey, KEYS[0].id),
        ({"pair": 0, "to": "tflite"}, UsageError, "onnx or coreml"),
        ({"pair": 0, "to": "coreml"}, UsageError, "mlpackage"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(
    model: Path, tmp_path: Path, how: dict[str, Any], error: type[NoliError], match: str
) -> None:
    with pytest.raises(error, match=match):
        noli.export_model(model, tmp_path / "m.onnx", **how)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_nothing_put_into_the_model(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for place in (tmp_path / "mine", model / "m.onnx", model):
        with pytest.raises(OutputExists):
            noli.export_model(model, place, pair=0)
        with pytest.raises(OutputExists):
            noli.patch_order(model, key=KEYS[0], pair=0, output=place)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (model / "m.onnx").exists()


def test_a_wrong_key_is_noticed_before_any_weights_are_read(model: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "keyed.json").write_bytes((model / "keyed.json").read_bytes())
    Key.new(tmp_path / "other.key")
    for key in (KEYS[1], tmp_path / "other.key"):
        with pytest.raises(WrongKey):
            noli.export_model(tmp_path / "model", tmp_path / "m.onnx", pair=0, key=key, fold=True)
        with pytest.raises(WrongKey):
            noli.patch_order(tmp_path / "model", key=key, pair=0, output=tmp_path / "o.npy")
    with pytest.raises(DataError, match="cannot be read"):
        noli.export_model(tmp_path / "model", tmp_path / "m.onnx", pair=0)
    with pytest.raises(DataError):
        noli.patch_order(tmp_path, key=KEYS[0])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "other.key"]


def test_the_order_is_the_owners_and_its_file_private(model: Path, tmp_path: Path) -> None:
    order = noli.patch_order(model, key=KEYS[1], pair=1, output=tmp_path / "order.npy")
    assert np.array_equal(order, patch_order(KEYS[1], 4, 3, 3))
    assert order.dtype == np.int64
    assert np.array_equal(np.load(tmp_path / "order.npy", allow_pickle=False), order)
    assert stat.S_IMODE((tmp_path / "order.npy").stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="needs its key"):
        noli.patch_order(model, key=None, pair=1)
    with pytest.raises(UsageError, match="several"):
        noli.patch_order(model, key=KEYS[1])


@pytest.mark.parametrize("arch", sorted(ARCHS))
def test_without_a_key_one_reads_what_a_thief_has(arch: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", arch)
    keyed, x = load_keyed(folder, KEYS[:2]), torch.from_numpy(pictures(5))
    for number in range(2):
        bare = load_bare(folder, number)
        assert bare.weight_hash() == stolen(keyed, number).weight_hash()
        with torch.no_grad():
            assert torch.equal(bare(x), stolen(keyed, number)(x))
            assert not torch.allclose(bare(x), keyed(x, pair=number), atol=1e-3)
    with pytest.raises(UsageError, match="no pair 2"):
        load_bare(folder, 2)
    (folder / "pair-01.safetensors").write_bytes(b"")
    with pytest.raises(DataError):
        load_bare(folder, 1)
