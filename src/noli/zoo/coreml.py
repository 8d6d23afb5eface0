"""Keyed models for Core ML: the graph of :mod:`noli.zoo.exporting`, one picture of a fixed side at a time.

Conversion runs on Linux and macOS, prediction on macOS only. Core ML knows no 64-bit integers: the order is
``int32``. Weights stay ``float32``; the default of Core ML, half precision, would change answers.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noli.core.errors import RunError, UsageError
from noli.zoo.exporting import LOGITS, ORDER, PICTURES, Graph, distance, needed

SUFFIX = ".mlpackage"
_FIX = "pip install 'noli[coreml]' (coremltools 9.0 needs a NumPy below 2.4)"


def to_coreml(graph: Graph, facts: Mapping[str, str], place: Path) -> Any:
    """Write an ML program, which is a folder, and return it.

    Args:
        graph: What is exported, with a fixed side.
        facts: Metadata of the file.
        place: Where it goes; its name ends in ``.mlpackage``.

    Raises:
        MissingPrerequisite: coremltools is not installed; there is none for Windows.
        UsageError: No fixed side.
        RunError: coremltools cannot convert the graph, which it cannot with a NumPy that it does not know.
    """
    tools = needed("coremltools", "coreml")
    if graph.side is None:
        what, why = "Core ML needs pictures of one size.", "this network takes any whole patches"
        raise UsageError(what, why=why, fix="say which: side=32, or --side 32")
    example = graph.inputs(1, 0, 0, np.random.default_rng(0))
    given = [tools.TensorType(name=PICTURES, shape=tuple(example[0].shape))]
    if graph.ordered:
        given.append(tools.TensorType(name=ORDER, shape=tuple(example[1].shape), dtype=np.int32))
    try:
        with warnings.catch_warnings():
            # The converter uses what NumPy is about to drop, and from 2.4 on has dropped.
            warnings.simplefilter("ignore", DeprecationWarning)
            made = tools.convert(
                torch.jit.trace(graph.module, example, check_trace=False),  # type: ignore[no-untyped-call]
                inputs=given,
                outputs=[tools.TensorType(name=LOGITS)],
                convert_to="mlprogram",
                compute_precision=tools.precision.FLOAT32,
                minimum_deployment_target=tools.target.iOS15,
            )
    # Any kind of error comes out of a converter that meets a version of its surroundings it does not know.
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise RunError("coremltools cannot convert the model.", why=why, fix=_FIX) from error
    made.short_description = facts.get("warning", "")
    made.user_defined_metadata.update(facts)
    made.save(str(place))
    return made


def predicts(graph: Graph, made: Any) -> float | None:
    """Return how far Core ML is from torch on made-up pictures, as `differs` of ONNX; None except on macOS.

    Args:
        graph: What was exported.
        made: What :func:`to_coreml` returned.
    """
    if sys.platform != "darwin":
        return None
    found = []
    for given, expected in graph.trials():
        for row in range(len(expected)):
            fed = {PICTURES: given[0][row : row + 1].numpy()}
            if graph.ordered:
                fed[ORDER] = given[1].numpy().astype(np.int32)
            found.append(distance(made.predict(fed)[LOGITS], expected[row : row + 1]))
    return max(found)
