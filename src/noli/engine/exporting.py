"""Export a keyed model for serving, and give its owner the order that the served graph takes."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from noli.core.environment import package_version
from noli.core.errors import OutputExists, RunError, UsageError, WrongKey
from noli.core.files import TEMP_SUFFIX, refuse_existing, storage_error, write_new
from noli.core.key import Key
from noli.engine.request import KeyLike, open_key

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.zoo.exporting import Graph
    from noli.zoo.keyed_folder import Manifest, Stored

WARNING = (
    "THIS FILE CONTAINS THE KEY: the permutation is folded into its weights, and who has it needs no other. "
    "Give it only to those who may have the key."
)
To = Literal["onnx", "coreml"]


@dataclass(frozen=True)
class Exported:
    """A graph that was written.

    Attributes:
        path: Where it is.
        to: ``onnx`` or ``coreml``.
        pair: Which pair it is of, counted from 0.
        folded: Whether the file contains the key.
        side: Side of the pictures it takes, in pixels; None: any whole patches.
        difference: Largest difference to torch on 64 made-up pictures, as a share of the largest logit where
            that is above 1; None where the runtime that would tell is not there.
        facts: What the file says of itself.
    """

    path: Path
    to: To
    pair: int
    folded: bool
    side: int | None
    difference: float | None
    facts: Mapping[str, str]


def export_model(
    model: str | Path,
    output: str | Path,
    *,
    key: KeyLike = None,
    pair: int | None = None,
    fold: bool = False,
    to: To = "onnx",
    side: int | None = None,
) -> Exported:
    """Write one pair of a keyed model as a graph for ONNX Runtime or Core ML.

    The graph takes ``pictures``, ``float32 [N, C, H, W]`` in [0, 1], and ``order``, ``int64 [C * M * M]`` for
    patches of M pixels (see :func:`patch_order`), and gives ``logits``. So neither a key nor a permutation is
    in the file, and none is needed to write it; who has it has what a thief of the folder has. With `fold`
    there is no order, and the file contains the key. Core ML takes one picture at a time, and the order as
    ``int32``.

    A graph is compared with torch on 64 made-up pictures, in batches of 1, 7 and 56, before it gets its name;
    Core ML only on macOS.

    Args:
        model: Folder of a keyed model, as ``noli.lock_model`` writes it.
        output: A new file outside of it; for Core ML a folder that ends in ``.mlpackage``.
        key: Only to fold: the pair's key, or the path of a key file without a passphrase.
        pair: Which pair, counted from 0; None: the only one.
        fold: Fold the permutation into the weights. The file, of mode 0600 then, IS the key.
        to: ``onnx`` (opset 17) or ``coreml`` (an ML program for iOS 15 and macOS 12 or later).
        side: Fixes the side of the pictures, in pixels. ``vit`` has one of its own, ``convmixer`` takes any
            whole patches; Core ML needs one.

    Raises:
        WrongKey: It is not the pair's; noticed before any weights are read.
        UsageError: Several pairs and no word which, a key without `fold` or the reverse, a bad side.
        OutputExists: Something is at the output, or it lies in the model.
        MissingPrerequisite: The packages of the extra ``onnx`` or ``coreml`` are not installed.
        DataError: The model is damaged or none.
        RunError: The graph is not what the model is, or the place cannot be written; nothing is left there.
    """
    folder, place = Path(model), Path(output)
    _check_call(folder, place, key is not None, fold, to)
    facts, number = chosen(folder, pair)
    owner = _opened(facts.pairs[number], key, folder) if fold else None
    said = _said(facts, number, folded=fold)
    graph = _graph(folder, number, facts.pairs[number], owner, side)
    write = _onnx if to == "onnx" else _coreml
    difference = write(graph, said, place)
    return Exported(place, to, number, fold, graph.side, difference, said)


def patch_order(
    model: str | Path, *, key: KeyLike, pair: int | None = None, output: str | Path | None = None
) -> npt.NDArray[np.int64]:
    """Return the order that an exported graph takes, ``int64 [C * M * M]`` for patches of M pixels.

    It is worth as much as the key is for this pair: keep it in memory, or where you keep secrets.

    Args:
        model: Folder of a keyed model.
        key: The pair's key, or the path of a key file without a passphrase.
        pair: Which pair, counted from 0; None: the only one.
        output: Also write it here as ``.npy``: a new file, outside the model, of mode 0600.

    Raises:
        WrongKey: It is not the pair's.
        UsageError: No key, or several pairs and no word which.
        OutputExists: Something is at the output, or it lies in the model.
        DataError: The model is damaged or none.
        RunError: The place cannot be written.
    """
    from noli.zoo import keyed

    folder = Path(model)
    if output is not None:
        refuse_place(folder, Path(output))
    facts, number = chosen(folder, pair)
    one = facts.pairs[number]
    order = keyed.patch_order(_opened(one, key, folder), facts.patch, facts.channels, one.number)
    if output is not None:
        file = io.BytesIO()
        np.save(file, order, allow_pickle=False)
        write_new(Path(output), file.getvalue(), private=True)
    return order


def chosen(folder: Path, pair: int | None) -> tuple[Manifest, int]:
    """Return what a model says of itself and which pair is meant.

    Raises:
        UsageError: There is no such pair, or there are several and none is named.
        DataError: It is no keyed model.
    """
    from noli.zoo.keyed_folder import read_manifest

    facts = read_manifest(folder)
    facts.pair(pair, folder)
    return facts, pair or 0


def _check_call(folder: Path, place: Path, keyed: bool, fold: bool, to: To) -> None:
    if to not in ("onnx", "coreml"):
        raise UsageError("A model is not exported to this.", where=str(to), fix="take onnx or coreml")
    if fold and not keyed:
        why = "the permutation follows from it"
        raise UsageError("Folding needs the key.", why=why, fix="give it, or leave out fold")
    if keyed and not fold:
        raise UsageError(
            "This export needs no key, and would not use it.",
            why="the order is an input of the graph; see patch_order",
            fix="leave out the key, or say fold if the file may contain it",
        )
    if to == "coreml" and place.suffix != ".mlpackage":
        raise UsageError("Core ML wants a name that ends in .mlpackage.", where=str(place))
    refuse_place(folder, place)


def refuse_place(folder: Path, place: Path) -> None:
    """Refuse a place that is taken, or lies in the model's folder.

    Raises:
        OutputExists: It is, or does.
    """
    refuse_existing(place)
    if place.resolve().is_relative_to(folder.resolve()):
        what, fix = "This would lie inside the model's folder.", "name a place outside of it"
        why = "that folder holds nothing secret, so that it may be given away as a whole"
        raise OutputExists(what, where=str(place), why=why, fix=fix)


def _opened(one: Stored, key: KeyLike, folder: Path) -> Key:
    owner = open_key(key, one.key_id)
    if owner is None:
        raise UsageError("The order of a pair needs its key.", where=str(folder), fix="give the key")
    if (owner.id, owner.check_value) != (one.key_id, one.check_value):
        fix = f"give the key with id {one.key_id}"
        raise WrongKey("The key is not the one of this pair.", where=str(folder), fix=fix)
    return owner


def _said(facts: Manifest, number: int, *, folded: bool) -> dict[str, str]:
    one = facts.pairs[number]
    said = {
        "noli": package_version("noli") or "",
        "scheme": "lock/embeddings",
        "order": "folded into the weights" if folded else "input",
        "flatten_order": facts.order,
        "patch": str(facts.patch),
        "channels": str(facts.channels),
        "key_id": one.key_id,
        "pair": str(number),
        "pair_number": str(one.number),
        "pair_sha256": one.sha256,
        "body_sha256": facts.body,
        "class_names": json.dumps(facts.class_names),
        "normalisation": "in the graph: pictures are values in [0, 1]",
        "mean": json.dumps(facts.mean),
        "std": json.dumps(facts.std),
    }
    return {**said, "warning": WARNING} if folded else said


def _graph(folder: Path, number: int, one: Stored, owner: Key | None, side: int | None) -> Graph:
    from noli.zoo.exporting import graph_of
    from noli.zoo.keyed_folder import load_bare

    bare = load_bare(folder, number)
    return graph_of(_folded(bare, one, owner) if owner else bare, ordered=owner is None, side=side)


def _folded(bare: Model, one: Stored, owner: Key) -> Model:
    from noli.zoo.keyed import KeyedModel, Pair, isotropic_parts
    from noli.zoo.keyed_folding import folded

    embed, _, head = isotropic_parts(bare)
    return folded(KeyedModel(bare, [Pair(embed, head, owner, one.number)]), 0)


def _onnx(graph: Graph, said: Mapping[str, str], place: Path) -> float | None:
    from noli.zoo.exporting import differs, to_onnx

    data = to_onnx(graph, said)
    difference = differs(graph, data)
    _check(difference, place)
    write_new(place, data, private="warning" in said)
    return difference


def _coreml(graph: Graph, said: Mapping[str, str], place: Path) -> float | None:
    from noli.zoo.coreml import predicts, to_coreml

    parts = place.with_name(f".{place.name}{TEMP_SUFFIX}")
    shutil.rmtree(parts, ignore_errors=True)  # what a kill has left behind
    try:
        parts.mkdir(0o700, parents=True)
        difference = predicts(graph, to_coreml(graph, said, parts / place.name))
        _check(difference, place)
        if "warning" in said:
            (parts / place.name).chmod(0o700)
        refuse_existing(place)
        (parts / place.name).rename(place)
    except OSError as error:
        raise storage_error(error, str(place)) from error
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return difference


def _check(difference: float | None, place: Path) -> None:
    from noli.zoo.exporting import TOLERANCE

    if difference is not None and not difference <= TOLERANCE:
        raise RunError(
            "The exported graph is not what the model is; it was not kept.",
            where=str(place),
            why=f"logits differ by {difference:.1e}, where {TOLERANCE:.0e} is allowed",
            fix="report this, with the versions that noli doctor names",
        )
