"""Frozen copies of networks for searches: the same function of the images with less work.

A search for inputs passes a frozen network hundreds of times. In evaluation mode batch normalisation is an
affine map per channel, which the convolution before it can do (Jacob et al. 2018, arXiv 1712.05877, eq. 14);
and weights can be rounded to the precision of autocast once instead of in every pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from noli.core.model import Model, evaluating


def folded(model: Model) -> Model:
    """Return a copy with every foldable batch normalisation folded away, in evaluation mode.

    Foldable is one that directly follows a convolution in a ``Sequential``. A model without any comes back
    itself, in the modes it has: folding twice costs nothing. Under autocast its convolutions and linear
    layers have that precision, and it can be used under that autocast only.

    Args:
        model: Stays as it is; later changes of its weights do not reach the copy.
    """
    pairs = list(_pairs(model))
    if not pairs:
        return model
    with evaluating(model):
        swaps: dict[int, nn.Module] = {}
        for convolution, norm in pairs:
            swaps[id(convolution)] = fuse_conv_bn_eval(convolution, norm)
            swaps[id(norm)] = nn.Identity().eval()
        light = deepcopy(model, swaps)
    _pool_before_relu(light)
    kind = next(light.parameters()).device.type
    if torch.is_autocast_enabled(kind):
        for module in light.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.get_autocast_dtype(kind))
    return light


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            for first, second in pairwise(module):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    yield first, second


def _pool_before_relu(model: nn.Module) -> None:
    """Let a ReLU that ends a block before a max pooling work on what the pooling leaves of it."""
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            for place, (block, pool) in enumerate(pairwise(module)):
                if not isinstance(block, nn.Sequential) or not isinstance(pool, nn.MaxPool2d):
                    continue
                if isinstance(block[-1], nn.ReLU):
                    module[place + 1] = nn.Sequential(pool, block[-1]).eval()
                    block[-1] = nn.Identity().eval()
