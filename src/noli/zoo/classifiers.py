"""Classifiers: networks that train in seconds on two CPU cores, and ResNet-18 for small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from noli.zoo.base import Classifier, Residual, conv_block


def small(classes: int, channels: int = 3, widths: Sequence[int] = (32, 64, 64, 128, 128)) -> Classifier:
    """Five layers; the 2 x 2 stride-2 stem lets everything else run at half resolution.

    Args:
        classes: Number of classes.
        channels: 1 or 3.
        widths: Channels of the five layers; bf16 pays off from about 32.
    """
    a, b, c, d, e = widths
    body = nn.Sequential(
        conv_block(channels, a, kernel=2, stride=2),
        conv_block(a, b),
        conv_block(b, c),
        nn.MaxPool2d(2),
        conv_block(c, d),
        nn.MaxPool2d(2),
        conv_block(d, e),
    )
    return Classifier(body, e, classes)


def tiny(classes: int, channels: int = 3) -> Classifier:
    """The same, half as wide: for processors without fast bf16."""
    return small(classes, channels, (16, 32, 32, 64, 64))


def resnet9(classes: int, channels: int = 3, width: int = 32) -> Classifier:
    """Nine layers, two residual pairs, widths w, 2w, 4w, 8w at full, 1/2, 1/4 and 1/8 resolution."""
    w = width
    body = nn.Sequential(
        conv_block(channels, w),
        conv_block(w, 2 * w),
        nn.MaxPool2d(2),
        Residual(2 * w),
        conv_block(2 * w, 4 * w),
        nn.MaxPool2d(2),
        conv_block(4 * w, 8 * w),
        nn.MaxPool2d(2),
        Residual(8 * w),
    )
    return Classifier(body, 8 * w, classes)


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_block(inputs, outputs, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to the block's output."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def resnet18(classes: int, channels: int = 3, width: int = 64) -> Classifier:
    """Eighteen layers: a 3 x 3 stride-1 stem, then two basic blocks each at widths w, 2w, 4w and 8w.

    He et al. 2016 (arXiv 1512.03385) with the stem for small images of its section 4.2.

    Args:
        classes: Number of classes.
        channels: 1 or 3.
        width: Channels of the first stage; 64 is the published network.
    """
    layers: list[nn.Module] = [conv_block(channels, width)]
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        layers += [_BasicBlock(inputs, outputs, 1 if stage == 0 else 2), _BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    return Classifier(nn.Sequential(*layers), inputs, classes)
