"""Core ML programs: what can be said of them where Core ML does not run. Skipped without coremltools.

Its programs are computed one operation at a time, with torch: only what noli's networks become is known here.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import noli
from noli.core.errors import OutputExists, RunError, UsageError
from noli.testing import KEYS
from noli.zoo import coreml, exporting, network
from noli.zoo.keyed import KeyedModel, Pair, isotropic_parts, patch_order
from noli.zoo.keyed_folder import load_bare, load_keyed
from noli.zoo.keyed_folding import folded

ALLOWED = 1e-5
ARCHS = {"convmixer": {"width": 16, "depth": 2, "kernel": 3}, "vit": {"width": 16, "depth": 2, "side": 16}}


@pytest.fixture
def tools() -> Any:
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)
    return pytest.importorskip("coremltools")


def saved(place: Path, arch: str) -> Path:
    base = network(arch, ("cat", "dog"), 3, size=16, seed=0, **ARCHS[arch])
    embed, _, head = isotropic_parts(network(arch, ("cat", "dog"), 3, size=16, seed=1, **ARCHS[arch]))
    with torch.no_grad():
        head.weight *= 10
    KeyedModel(base, [Pair(embed, head, KEYS[0])]).save(place)
    return place


def computed(made: Any, fed: dict[str, np.ndarray]) -> np.ndarray:
    """The oracle: run a program with torch."""
    known: dict[str, Any] = {name: torch.from_numpy(value) for name, value in fed.items()}

    def of(given: Any) -> Any:
        if isinstance(given, list | tuple):
            return [of(one) for one in given]
        if given.name in known:
            return known[given.name]
        value = given.val
        return torch.from_numpy(value) if isinstance(value, np.ndarray) and value.ndim else value

    program = made._mil_program.functions["main"]
    for step in program.operations:
        if step.op_type != "const":
            found = OPERATIONS[step.op_type](**{name: of(value) for name, value in step.inputs.items()})
            found = found if isinstance(found, tuple) else (found,)
            known.update({one.name: value for one, value in zip(step.outputs, found, strict=True)})
    return known[program.outputs[0].name].numpy()


def ints(x: Any) -> list[int]:
    return [int(one) for one in x]


def conv(x: Any, weight: Any, bias: Any, strides: Any, pad: Any, groups: Any = 1, **_: Any) -> Any:
    return F.conv2d(x, weight, bias, ints(strides), ints(pad)[::2], 1, int(groups))


def times(x: Any, y: Any, transpose_x: Any, transpose_y: Any) -> Any:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def normed(x: Any, mean: Any, variance: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
    return F.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


OPERATIONS = {
    "reshape": lambda x, shape: x.reshape(ints(shape)),
    "transpose": lambda x, perm: x.permute(ints(perm)),
    "gather": lambda x, indices, axis, **_: x.index_select(int(axis), indices.long()),
    "sub": lambda x, y: x - y,
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "gelu": lambda x, mode: F.gelu(x),
    "conv": conv,
    "batch_norm": normed,
    "layer_norm": lambda x, axes, gamma, beta, epsilon: F.layer_norm(x, gamma.shape, gamma, beta, epsilon),
    "linear": F.linear,
    "matmul": times,
    "softmax": lambda x, axis: x.softmax(int(axis)),
    "reduce_mean": lambda x, axes, keep_dims: x.mean(ints(axes), bool(keep_dims)),
    "squeeze": lambda x, axes: x.squeeze(ints(axes)),
    "split": lambda x, axis, split_sizes, **_: x.split(ints(split_sizes), int(axis)),
}  # fmt: skip


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("arch", sorted(ARCHS))
def test_a_program_computes_what_the_model_does(tools: Any, arch: str, fold: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", arch)
    done = noli.export_model(
        folder,
        tmp_path / "m.mlpackage",
        to="coreml",
        side=16,
        fold=fold,
        key=KEYS[0] if fold else None,
    )
    spec = tools.models.MLModel(str(done.path), skip_model_load=True).get_spec()
    shapes = {one.name: list(one.type.multiArrayType.shape) for one in spec.description.input}
    assert shapes == {"pictures": [1, 3, 16, 16]} | ({} if fold else {"order": [48]})
    assert dict(spec.description.metadata.userDefined).items() >= done.facts.items()
    assert ("CONTAINS THE KEY" in spec.description.metadata.shortDescription) == fold
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.mlpackage", "model"]

    keyed = load_keyed(folder, KEYS[0])
    fed = {} if fold else {"order": patch_order(KEYS[0], 4, 3).astype(np.int32)}
    graph = exporting.graph_of(folded(keyed, 0) if fold else load_bare(folder), ordered=not fold, side=16)
    made = coreml.to_coreml(graph, {}, tmp_path / "again.mlpackage")
    x = np.random.default_rng(0).random((64, 3, 16, 16), np.float32)
    with torch.no_grad():
        expected = keyed(torch.from_numpy(x)).numpy()
    for row in range(64):
        found = computed(made, {"pictures": x[row : row + 1], **fed})
        assert np.abs(found - expected[row]).max() <= ALLOWED


@pytest.mark.parametrize("arch", sorted(ARCHS))
def test_no_permutation_is_in_a_program(tools: Any, arch: str, tmp_path: Path) -> None:
    noli.export_model(saved(tmp_path / "model", arch), tmp_path / "m.mlpackage", to="coreml", side=16)
    files = [file for file in (tmp_path / "m.mlpackage").rglob("*") if file.is_file()]
    written = b"".join(file.read_bytes() for file in files)
    order = patch_order(KEYS[0], 4, 3)
    for secret in (order, np.argsort(order)):
        for kind in ("<i8", "<i4", "<u2", "u1", "<f4", "<f2"):
            assert secret[:6].astype(kind).tobytes() not in written
        assert json.dumps(secret.tolist())[1:20].encode() not in written
    assert KEYS[0].export_secret() not in written


def test_core_ml_needs_a_side_and_overwrites_nothing(tools: Any, tmp_path: Path) -> None:
    folder, place = saved(tmp_path / "model", "convmixer"), tmp_path / "m.mlpackage"
    with pytest.raises(UsageError, match=r"one size.*any whole patches"):
        noli.export_model(folder, place, to="coreml")
    place.mkdir()
    with pytest.raises(OutputExists):
        noli.export_model(folder, place, to="coreml", side=16)
    assert list(place.iterdir()) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.mlpackage", "model"]


class FakeTools:
    """As much of coremltools as is called, where it is missing; `fails` is what its converter raises."""

    precision = target = type("Any", (), {"FLOAT32": 0, "iOS15": 0})
    user_defined_metadata: dict[str, str]

    def __init__(self, fails: Exception | None = None, off: float = 0.0) -> None:
        self.fails, self.off, self.user_defined_metadata = fails, off, {}

    def TensorType(self, **facts: Any) -> dict[str, Any]:  # noqa: N802 - its name
        return facts

    def convert(self, traced: Any, *, inputs: list[dict[str, Any]], **_: Any) -> FakeTools:
        if self.fails:
            raise self.fails
        self.traced, self.names = traced, [one["name"] for one in inputs]
        return self

    def save(self, place: str) -> None:
        Path(place).mkdir()
        (Path(place) / "program").write_text("made")

    def predict(self, fed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert fed["pictures"].shape == (1, 3, 16, 16)
        given = [torch.from_numpy(fed[name]) for name in self.names]
        assert [str(one.dtype) for one in given[1:]] == ["torch.int32"] * (len(given) - 1)
        with torch.no_grad():
            return {"logits": self.traced(given[0], *(one.long() for one in given[1:])).numpy() + self.off}


@pytest.mark.parametrize("fold", [False, True])
def test_on_macos_predictions_are_compared(
    fold: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, key = saved(tmp_path / "model", "vit"), KEYS[0] if fold else None
    monkeypatch.setattr(coreml, "needed", lambda *_: FakeTools())
    monkeypatch.setattr(coreml.sys, "platform", "linux")
    done = noli.export_model(folder, tmp_path / "l.mlpackage", to="coreml", fold=fold, key=key)
    assert done.difference is None
    monkeypatch.setattr(coreml.sys, "platform", "darwin")
    done = noli.export_model(folder, tmp_path / "m.mlpackage", to="coreml", fold=fold, key=key)
    assert done.difference is not None
    assert done.difference <= ALLOWED
    assert (done.path.stat().st_mode & 0o777 == 0o700) == fold
    monkeypatch.setattr(coreml, "needed", lambda *_: FakeTools(off=1e-3))
    with pytest.raises(RunError, match="not what the model is"):
        noli.export_model(folder, tmp_path / "n.mlpackage", to="coreml", fold=fold, key=key)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["l.mlpackage", "m.mlpackage", "model"]


def test_a_converter_that_fails_leaves_nothing_and_says_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = TypeError("only 0-dimensional arrays can be converted to Python scalars")
    monkeypatch.setattr(coreml, "needed", lambda *_: FakeTools(wrong))
    with pytest.raises(RunError, match=r"0-dimensional.*noli\[coreml\].*NumPy below 2.4"):
        noli.export_model(saved(tmp_path / "model", "vit"), tmp_path / "m.mlpackage", to="coreml")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
