"""Keyed models as graphs for other runtimes: the permutation is an input, or folded into the weights.

The graph cuts pictures into patches (Reshape, Transpose), takes the values of every patch in the order that
the second input gives (Gather), puts them back, normalises, and asks the network. A constant there instead of
an input would be the key, readable by anybody who opens the file (compare :mod:`noli.zoo.keyed_folder`).
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from noli.core.errors import MissingPrerequisite, RunError
from noli.core.model import Model
from noli.zoo.keyed import check_side, fixed_side, isotropic_parts, permuted

OPSET = 17  # the first with LayerNormalization in one piece
PICTURES, ORDER, LOGITS = "pictures", "order", "logits"
TOLERANCE = 1e-5  # of the largest logit, where that is above 1
BATCHES = (1, 7, 56)
Array = npt.NDArray[Any]


class Ordered(nn.Module):
    """A plain model of permuted pictures that permutes them first.

    Args:
        model: Isotropic classifier.
        patch: Side of a patch in pixels.
    """

    def __init__(self, model: Model, patch: int) -> None:
        super().__init__()
        self.model, self.patch = model, patch

    def forward(self, pictures: Tensor, order: Tensor) -> Tensor:
        """Map working images ``[N, C, H, W]`` and an order ``int64 [C * patch * patch]`` to logits."""
        logits: Tensor = self.model(permuted(pictures, order, self.patch))
        return logits


@dataclass(frozen=True)
class Graph:
    """What is exported.

    Attributes:
        module: The function, in evaluation mode.
        ordered: Whether it takes the order as a second input.
        patch: Side of a patch in pixels.
        channels: 1 or 3.
        side: Side of the pictures in pixels; None: any whole patches.
    """

    module: nn.Module
    ordered: bool
    patch: int
    channels: int
    side: int | None

    def inputs(self, n: int, down: int, across: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return made-up pictures of so many patches, of every brightness and contrast, and an order."""
        height, width = (self.side, self.side) if self.side else (down * self.patch, across * self.patch)
        level, contrast = rng.random((2, n, self.channels, 1, 1))
        x = level + contrast * (rng.random((n, self.channels, height, width)) - 0.5)
        given = [torch.from_numpy(np.clip(x, 0, 1).astype(np.float32))]
        if self.ordered:
            given.append(torch.from_numpy(rng.permutation(self.channels * self.patch**2)))
        return tuple(given)

    def trials(self) -> Iterator[tuple[tuple[Tensor, ...], Array]]:
        """Yield 64 pictures in batches of three sizes, each with an order of its own, and their logits."""
        rng = np.random.default_rng(0)
        for n, sizes in zip(BATCHES, ((8, 8), (4, 6), (8, 8)), strict=True):
            given = self.inputs(n, *sizes, rng)
            with torch.no_grad():
                yield given, self.module(*given).numpy()


def graph_of(model: Model, *, ordered: bool, side: int | None = None) -> Graph:
    """Return what is exported of a plain isotropic model.

    Args:
        model: The model, which is put into evaluation mode.
        ordered: Whether pictures are permuted first, by a second input.
        side: Fixes the side of the pictures, in pixels. Learned places fix it, too.

    Raises:
        UsageError: A side that the network cannot take, or another network.
    """
    embed, own = isotropic_parts(model)[0], fixed_side(model)
    patch = embed.kernel_size[0]
    if side is not None:
        check_side(model, side)
    module = (Ordered(model, patch) if ordered else model).eval()
    return Graph(module, ordered, patch, embed.in_channels, side or own)


def to_onnx(graph: Graph, facts: Mapping[str, str]) -> bytes:
    """Return an ONNX file: ``pictures``, ``order`` if the graph takes one, ``logits``; any batch from 1.

    Args:
        graph: What is exported.
        facts: Metadata of the file.

    Raises:
        MissingPrerequisite: onnx is not installed.
    """
    onnx = needed("onnx")
    file: Any = io.BytesIO()  # torch takes one, whatever its annotations say
    names = [PICTURES, ORDER][: 1 + graph.ordered]
    free = {0: "batch"} | ({} if graph.side else {2: "height", 3: "width"})
    with warnings.catch_warnings():
        # Tracing is out of favour with torch, which noli pins; the newer exporter needs onnxscript besides.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.onnx.export(
            graph.module,
            graph.inputs(2, 3, 3, np.random.default_rng(0)),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[LOGITS],
            dynamic_axes={PICTURES: free, LOGITS: {0: "batch"}},
        )
    made = onnx.load_from_string(file.getvalue())
    onnx.helper.set_model_props(made, dict(facts))
    made.doc_string = facts.get("warning", "")
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def differs(graph: Graph, data: bytes) -> float | None:
    """Return how far ONNX Runtime is from torch on made-up pictures; None where it is not installed.

    Args:
        graph: What was exported.
        data: The file.

    Returns:
        The largest difference of two logits, as a share of the largest logit where that is above 1.

    Raises:
        RunError: ONNX Runtime cannot run the file.
    """
    try:
        runtime = needed("onnxruntime")
    except MissingPrerequisite:
        return None
    how = runtime.SessionOptions()
    how.intra_op_num_threads, how.log_severity_level = torch.get_num_threads(), 4
    try:
        session = runtime.InferenceSession(data, how, providers=["CPUExecutionProvider"])
        found = []
        for given, expected in graph.trials():
            fed = {one.name: x.numpy() for one, x in zip(session.get_inputs(), given, strict=True)}
            found.append(distance(session.run([LOGITS], fed)[0], expected))
    # Its errors have no common base below Exception.
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise RunError("ONNX Runtime cannot run the exported graph.", why=why, fix="report this") from error
    return max(found)


def distance(found: Array, expected: Array) -> float:
    """Return the largest difference, as a share of the largest expected value where that is above 1."""
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


def needed(package: str, extra: str = "onnx") -> Any:
    """Import a package of an extra.

    Raises:
        MissingPrerequisite: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        fix = f"pip install 'noli[{extra}]'"
        raise MissingPrerequisite(f"This export needs the package {package}.", fix=fix) from error
