"""Train what differs between a public network and the model of one device.

AprilPyone, Kiya, IEEE OJSP 5 (2024), arXiv 2311.16577: efficient fine-tuning of a pre-trained network for
patches that a key permutes. Which methods and ranks the paper compares could not be read; here it is LoRA (by
peft) with a new patch embedding and head, or these alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import MissingPrerequisite, UsageError
from noli.core.key import Key
from noli.core.model import Model
from noli.train.callbacks import CropFlip
from noli.train.checkpoint import Checkpoint
from noli.train.fit import fit
from noli.train.keyed import untrained_pair
from noli.train.recipe import Recipe
from noli.zoo.base import seeded
from noli.zoo.fleet import MOST_BYTES
from noli.zoo.keyed import KeyedModel, Pair, isotropic_parts
from noli.zoo.keyed_folding import converted

NAME = "default"  # peft's, for an adapter that has no other


def train_device(
    base: Model,
    key: Key,
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[Any],
    recipe: Recipe,
    *,
    rank: int,
    scale: float,
    warm: bool = False,
    apart: float = 0.0,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Tensor]:
    """Return what a device's file holds; see :mod:`noli.zoo.fleet`.

    Args:
        base: The public network; not changed.
        key: The device's.
        x: Plain pictures ``uint8 [N, H, W, C]``, whole patches.
        y: Labels ``[N]``.
        recipe: How to train.
        rank: Of the changes of the body; 0: the body stays as it is.
        scale: Of these changes.
        warm: Start from the public embedding with its columns permuted, and the public head, instead of from
            random weights.
        apart: Weight of a penalty on the cosine of every column with the public one that does the same: after
            a warm start nothing else keeps the public embedding from fitting.
        checkpoint: Where finished steps are kept.

    Raises:
        MissingPrerequisite: `rank` is not 0 and peft is not installed.
    """
    pair = converted(base, key).pairs[0] if warm else untrained_pair(base, key)
    alone = KeyedModel(base, [pair])
    if rank:
        _add_adapters(alone.net.body.net, rank, scale, key)
    fit(alone, x, y, recipe, [CropFlip()], loss=_loss(alone, base, key, apart), checkpoint=checkpoint)
    return _delta(alone)


def _loss(alone: KeyedModel, base: Model, key: Key, apart: float) -> Callable[[Tensor, Tensor], Tensor]:
    public = columns(converted(base, key).pairs[0]).detach()

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        found = F.cross_entropy(outputs, labels)
        if apart:
            near = F.cosine_similarity(columns(alone.pairs[0]), public.to(outputs.device), dim=1)
            found = found + apart * near.abs().mean()
        return found

    return loss


def columns(pair: Pair) -> Tensor:
    """Return what an embedding does with every value of a patch, ``[n, width]``, in the key's order."""
    return pair.embed.weight.permute(0, 2, 3, 1).flatten(1).T


def _add_adapters(body: nn.Module, rank: int, scale: float, key: Key) -> None:
    try:
        peft = importlib.import_module("peft")
    except ImportError as error:
        fix = "pip install 'noli[fleet]', or take rank 0"
        raise MissingPrerequisite("Low-rank changes need the package peft.", fix=fix) from error
    layers = [name for name, one in body.named_modules() if _suits(one)]
    config = peft.LoraConfig(r=rank, lora_alpha=scale * rank, lora_dropout=0.0, target_modules=layers)
    # peft draws from torch's global generator: it gets a seed from the device's key, and moves no other.
    with seeded(int(key.stream("lock/proliferate/weights").integers(1, 2**62)[0])):
        peft.inject_adapter_in_model(config, body)


def _suits(layer: nn.Module) -> bool:
    """Whether a layer is a matrix: linear, or a convolution of single pixels over all channels."""
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.groups == 1
    return isinstance(layer, nn.Linear)


def _delta(alone: KeyedModel) -> dict[str, Tensor]:
    pair = alone.pairs[0]
    found = {f"{part}.{name}": value for part in ("embed", "head")
             for name, value in getattr(pair, part).state_dict().items()}  # fmt: skip
    for layer, module in alone.net.body.net.named_modules():
        if hasattr(module, "lora_A") and NAME in module.lora_A:
            found[f"{layer}.A"] = module.lora_A[NAME].weight.flatten(1)
            found[f"{layer}.B"] = module.lora_B[NAME].weight.flatten(1)
    return {name: value.detach().cpu().to(torch.float16).contiguous() for name, value in found.items()}


def refuse_size(base: Model, rank: int) -> None:
    """Refuse a rank with which a device's file would be larger than a fleet allows.

    Raises:
        UsageError: It would, or the network is not isotropic.
    """
    embed, blocks, head = isotropic_parts(base)
    own = sum(value.numel() for part in (embed, head) for value in part.parameters())
    shapes = [next(one.parameters()).shape for one in blocks.modules() if _suits(one)]
    size = 2 * (own + sum(rank * (shape[0] + shape[1]) for shape in shapes))
    if size > MOST_BYTES:
        why = f"a device would need {size / 1e6:,.1f} MB, where {MOST_BYTES / 1e6:,.0f} are allowed"
        raise UsageError("The files of the devices would be too large.", why=why, fix="take a lower rank")
