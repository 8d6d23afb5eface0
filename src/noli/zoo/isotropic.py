"""Isotropic networks: one patch embedding, then blocks that keep their size. Keyed models need no more.

A patch embedding is linear in the values of a patch, so a permutation inside the patches is learned, or
folded into it, without an adaptation network (AprilPyone, Kiya, arXiv 2204.07707).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.zoo.base import Classifier


class Isotropic(nn.Module):
    """A patch embedding and what follows; ``[N, C, H, W]`` becomes ``[N, width]``.

    Attributes:
        embed: Convolution with kernel and stride of one patch: the part that a key changes.
        blocks: What stays the same for all keys.
    """

    def __init__(self, embed: nn.Conv2d, blocks: nn.Module) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        """Return pooled features."""
        features: Tensor = self.blocks(self.embed(x))
        return features.mean((2, 3)) if features.ndim == 4 else features


class _Mix(nn.Module):
    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.channels = nn.Conv2d(width, width, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(width)])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norms[0](F.gelu(self.space(x)))
        mixed: Tensor = self.norms[1](F.gelu(self.channels(x)))
        return mixed


def convmixer(
    classes: int, channels: int = 3, width: int = 128, depth: int = 6, kernel: int = 5, patch: int = 4
) -> Classifier:
    """ConvMixer (Trockman, Kolter, arXiv 2201.09792): depthwise and pointwise convolutions on patches.

    Args:
        classes: Number of classes.
        channels: 1 or 3.
        width: Channels everywhere.
        depth: Blocks.
        kernel: Side of the depthwise kernels, odd.
        patch: Side of a patch in pixels.
    """
    embed = nn.Conv2d(channels, width, patch, stride=patch)
    blocks = nn.Sequential(nn.GELU(), nn.BatchNorm2d(width), *(_Mix(width, kernel) for _ in range(depth)))
    return Classifier(Isotropic(embed, blocks), width, classes)


class Attend(nn.Module):
    """Self-attention and two layers, each beside a skip: ``[N, T, width]`` stays of that shape.

    Args:
        width: Features of a token.
        heads: Attention heads; they divide the width.
        wide: Features between the two layers; 0 for twice the width.
        eps: Added to variances by the normalisations.
    """

    def __init__(self, width: int, heads: int, wide: int = 0, eps: float = 1e-5) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)])
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        wide = wide or 2 * width
        self.widen, self.narrow = nn.Linear(width, wide), nn.Linear(wide, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the new tokens."""
        batch, tokens, width = x.shape
        parts = self.query_key_value(self.norms[0](x)).reshape(batch, tokens, 3, self.heads, -1)
        seen = F.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4).unbind())
        x = x + self.merge(seen.transpose(1, 2).reshape(batch, tokens, width))
        out: Tensor = x + self.narrow(F.gelu(self.widen(self.norms[1](x))))
        return out


class _Tokens(nn.Module):
    """Blocks of attention over patches, with a learned vector for every place.

    `firsts` learned tokens come before the patches; the features are the first of them, or, where there are
    none, the mean over all places.
    """

    def __init__(self, width: int, depth: int, heads: int, places: int, firsts: int, **sizes: Any) -> None:
        super().__init__()
        self.places = nn.Parameter(0.02 * torch.randn(1, places, width))
        if firsts:
            self.firsts = nn.Parameter(0.02 * torch.randn(1, firsts, width))
        blocks = (Attend(width, heads, **sizes) for _ in range(depth))
        self.layers = nn.Sequential(*blocks, nn.LayerNorm(width, sizes["eps"]))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2) + self.places
        if not hasattr(self, "firsts"):
            mean: Tensor = self.layers(tokens).mean(1)
            return mean
        # Not len(x), which exporters would take for a constant.
        whole = torch.cat([self.firsts.expand(x.shape[0], -1, -1), tokens], 1)
        first: Tensor = self.layers(whole)[:, 0]
        return first


def vit(
    classes: int,
    channels: int = 3,
    width: int = 96,
    depth: int = 6,
    heads: int = 4,
    patch: int = 4,
    side: int = 32,
    wide: int = 0,
    eps: float = 1e-5,
    firsts: int = 0,
) -> Classifier:
    """A vision transformer (Dosovitskiy et al., arXiv 2010.11929); by default a small one with mean pooling.

    Args:
        classes: Number of classes.
        channels: 1 or 3.
        width: Features of a token.
        depth: Blocks.
        heads: Attention heads; they divide the width.
        patch: Side of a patch in pixels.
        side: Side of the images in pixels.
        wide: Features between the two layers of a block; 0 for twice the width (the paper: four times).
        eps: Added to variances by the normalisations (the paper's weights: 1e-6 or 1e-12).
        firsts: Learned tokens before those of the patches, of which the first becomes the features: 1 for the
            paper's class token, 2 with DeiT's distillation token (arXiv 2012.12877); 0 for mean pooling.
    """
    embed = nn.Conv2d(channels, width, patch, stride=patch)
    blocks = _Tokens(width, depth, heads, (side // patch) ** 2, firsts, wide=wide, eps=eps)
    return Classifier(Isotropic(embed, blocks), width, classes)
