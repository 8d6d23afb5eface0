"""Frozen copies of networks for searches: the same function of the images with less work.

A search for inputs passes a frozen network hundreds of times. In evaluation mode batch normalisation is an
affine map per channel, which the convolution before it can do (Jacob et al. 2018, arXiv 1712.05877, eq. 14);
ReLU may as well follow a max pooling, which leaves it a quarter of the work; and weights can be rounded to
the precision of autocast once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from noli.core.model import Model, evaluating

A = TypeVar("A", bound=nn.Module)
B = TypeVar("B", bound=nn.Module)


def folded(model: Model) -> Model:
    """Return a copy with every foldable batch normalisation folded away, in evaluation mode.

    Foldable is one with running statistics that directly follows a convolution in a ``Sequential``, both used
    once. A model without any comes back itself, in the modes it has: folding twice costs nothing.
    The copy's values differ by rounding. Its weights need no gradient, and under autocast its convolutions
    and linear layers have that precision: it can be used under that autocast only.

    Args:
        model: Stays as it is; later changes of its weights do not reach the copy. Whoever reads what leaves a
            module inside a ``Sequential`` (hooks) has to search on the model itself.
    """
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    pairs = [pair for pair in _neighbours(model, nn.Conv2d, nn.BatchNorm2d) if _foldable(*pair, uses)]
    if not pairs:
        return model
    swaps: dict[int, nn.Module] = {}
    with evaluating(model):
        for convolution, norm in pairs:
            swaps[id(convolution)] = fuse_conv_bn_eval(convolution, norm)
            swaps[id(norm)] = nn.Identity()
        for block, pool in _neighbours(model, nn.Sequential, nn.MaxPool2d):
            if _ends_in_relu(block, uses) and uses[id(pool)] == 1 and not pool.return_indices:
                swaps[id(block[-1])] = nn.Identity()
                swaps[id(pool)] = nn.Sequential(deepcopy(pool), deepcopy(block[-1]))
        light = deepcopy(model, swaps).requires_grad_(False).eval()
    kind = next(light.parameters()).device.type
    if torch.is_autocast_enabled(kind):
        for module in light.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.get_autocast_dtype(kind))
    return light


def _neighbours(model: nn.Module, first: type[A], second: type[B]) -> Iterator[tuple[A, B]]:
    """Find modules of exactly these types beside each other: subclasses may do something else."""
    for module in model.modules():
        if type(module) is nn.Sequential:
            for one, other in pairwise(module):
                if type(one) is first and type(other) is second:
                    yield one, other


def _foldable(convolution: nn.Conv2d, norm: nn.BatchNorm2d, uses: Mapping[int, int]) -> bool:
    plain = "weight" in convolution._parameters  # else it is made from others in every pass
    return plain and norm.running_mean is not None and uses[id(convolution)] == uses[id(norm)] == 1


def _ends_in_relu(block: nn.Sequential, uses: Mapping[int, int]) -> bool:
    return len(block) > 0 and type(block[-1]) is nn.ReLU and uses[id(block)] == uses[id(block[-1])] == 1
