"""Adaptation networks: a part of their own in front of a classifier that learns from scrambled pictures.

LE: Tanaka, ICCE-TW 2018. ELE: Madono et al., arXiv 2001.07761, section 4. Both turn every block of a picture
into features and lay these out as a picture again. Where ours differs: the classifier behind is a small one;
ELE's has neither spectral normalisation nor the two regularising terms of its loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.zoo.base import Classifier
from noli.zoo.classifiers import small

FEATURES = 256  # of a block, as published
MAPS = 16  # what they give when they are laid out on blocks of 4 x 4


def le_adaptnet(classes: int, channels: int = 3, block: int = 4) -> Classifier:
    """One layer that all blocks share, 1 x 1 convolutions, and the small classifier at full resolution."""
    adapt = nn.Sequential(
        nn.Conv2d(channels, FEATURES, block, stride=block, bias=False),
        nn.BatchNorm2d(FEATURES),
        nn.ReLU(inplace=True),
        nn.Conv2d(FEATURES, MAPS * block * block, 1, bias=False),
        nn.BatchNorm2d(MAPS * block * block),
        nn.ReLU(inplace=True),
        nn.PixelShuffle(block),
    )
    return _behind(adapt, classes)


def ele_adaptnet(classes: int, channels: int = 3, block: int = 4, side: int = 32) -> Classifier:
    """A layer of its own for every block, a learned mixture of places, and the small classifier."""
    adapt = nn.Sequential(
        Blockwise(channels, block, side // block, MAPS * block * block),
        nn.BatchNorm2d(MAPS * block * block),
        nn.ReLU(inplace=True),
        nn.PixelShuffle(block),
    )
    return _behind(adapt, classes)


class Blockwise(nn.Module):
    """Linear layers, one per block, then a matrix over places that starts near the identity.

    Args:
        channels: Of the pictures.
        block: Side of a block in pixels.
        across: Blocks along a side.
        features: Of a block.
    """

    def __init__(self, channels: int, block: int, across: int, features: int) -> None:
        super().__init__()
        inputs, count = channels * block * block, across * across
        self.block, self.across = block, across
        self.weight = nn.Parameter((2 / inputs) ** 0.5 * torch.randn(count, inputs, features))
        self.places = nn.Parameter(torch.eye(count) + 0.01 * torch.randn(count, count))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to ``[N, features, H / block, W / block]``."""
        blocks = F.unfold(x, self.block, stride=self.block).permute(2, 0, 1)
        made = torch.einsum("bnf,bp->nfp", torch.bmm(blocks, self.weight), self.places)
        laid: Tensor = made.reshape(len(x), -1, self.across, self.across)
        return laid


def _behind(adapt: nn.Module, classes: int) -> Classifier:
    classifier = small(classes, MAPS)
    classifier.body = nn.Sequential(adapt, classifier.body)
    return classifier
