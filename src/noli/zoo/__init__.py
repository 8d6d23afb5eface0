"""Small networks that train on two CPU cores, each wrapped in a Model with its normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from noli.core.errors import UsageError
from noli.core.model import Model
from noli.zoo.base import Classifier, seeded
from noli.zoo.classifiers import resnet9, resnet18, small, tiny

__all__ = ["MIN_SIDE", "NETWORKS", "build", "load", "network"]

NETWORKS: Mapping[str, Callable[..., Classifier]] = {
    "tiny": tiny,
    "small": small,
    "resnet9": resnet9,
    "resnet18": resnet18,
}
# All of them divide the side by 8.
MIN_SIDE = 8
# Mean and spread of natural photographs; fixed, so that a network never depends on the data it judges.
MEAN, STD = 0.47, 0.25


def build(arch: str, args: Mapping[str, Any]) -> nn.Module:
    """Make an untrained network with one of the functions in ``NETWORKS`` and its arguments.

    Raises:
        UsageError: Unknown name.
    """
    if arch not in NETWORKS:
        raise UsageError(f"There is no network {arch!r}.", fix=f"use one of {', '.join(sorted(NETWORKS))}")
    return NETWORKS[arch](**args)


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
        arch: ``tiny`` or ``small`` (five layers), ``resnet9`` (about ten times the work of ``small``) or
            ``resnet18`` (the network of most published figures).
        classes: Class names, or how many there are.
        channels: 1 or 3.
        size: Side of the images in pixels, at least 8.
        seed: Seed of the initial weights.
        **options: Widths of the network.

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
