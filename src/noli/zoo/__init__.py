"""Small networks that train on two CPU cores, each wrapped in a Model with its normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from noli.core.errors import UsageError
from noli.core.model import Model
from noli.zoo.adaptation import ele_adaptnet, le_adaptnet
from noli.zoo.base import Classifier, seeded
from noli.zoo.classifiers import resnet9, resnet18, small, tiny
from noli.zoo.isotropic import convmixer, vit

__all__ = ["MIN_SIDE", "NETWORKS", "PATCHED", "build", "load", "network"]

NETWORKS: Mapping[str, Callable[..., Classifier]] = {
    "tiny": tiny,
    "small": small,
    "resnet9": resnet9,
    "resnet18": resnet18,
}
# For scrambled pictures and keyed models; what is made for one size of pictures takes `side`.
PATCHED: Mapping[str, Callable[..., Classifier]] = {
    "convmixer": convmixer,
    "vit": vit,
    "le-adaptnet": le_adaptnet,
    "ele-adaptnet": ele_adaptnet,
}
# All of them divide the side by 8.
MIN_SIDE = 8
# Mean and spread of natural photographs; fixed, so that a network never depends on the data it judges.
MEAN, STD = 0.47, 0.25


def build(arch: str, args: Mapping[str, Any]) -> nn.Module:
    """Make an untrained network with one of the functions in ``NETWORKS`` or ``PATCHED`` and its arguments.

    Raises:
        UsageError: Unknown name.
    """
    known = {**NETWORKS, **PATCHED}
    if arch not in known:
        raise UsageError(f"There is no network {arch!r}.", fix=f"use one of {', '.join(sorted(known))}")
    return known[arch](**args)


def network(
    arch: str,
    classes: int | Sequence[str],
    channels: int = 3,
    *,
    size: int = 32,
    seed: int = 0,
    **options: Any,
) -> Model:
    """Make an untrained Model; the weights depend on `seed` only and no global generator moves.

    Args:
        arch: ``tiny`` or ``small`` (five layers), ``resnet9`` (about ten times the work of ``small``),
            ``resnet18`` (the network of most published figures), ``convmixer`` or ``vit`` (isotropic, on
            patches), ``le-adaptnet`` or ``ele-adaptnet`` (for scrambled pictures).
        classes: Class names, or how many there are.
        channels: 1 or 3.
        size: Side of the images in pixels, at least 8.
        seed: Seed of the initial weights.
        **options: Widths of the network, patches, and for ``vit`` and ``ele-adaptnet`` the `side`.

    Raises:
        UsageError: Unknown network, fewer than two classes, images that are too small.
    """
    names = () if isinstance(classes, int) else tuple(classes)
    count = classes if isinstance(classes, int) else len(names)
    if count < 2 or channels not in (1, 3) or size < MIN_SIDE:
        raise UsageError(
            "A classifier needs at least two classes, 1 or 3 channels and images of 8 pixels or more.",
            why=f"got {count} classes, {channels} channels, {size} pixels",
        )
    args = {"classes": count, "channels": channels, **options}
    with seeded(seed):
        net = build(arch, args)
    mean, std = (MEAN,) * channels, (STD,) * channels
    return Model(net, mean=mean, std=std, class_names=names, arch=arch, arch_args=args)


def load(path: str | Path) -> Model:
    """Read a saved Model of one of these networks."""
    return Model.load(path, build)
