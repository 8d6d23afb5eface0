"""ResNet-18 with the stem for small images (He et al. 2016, arXiv 1512.03385, section 4.2 stem)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from noli.zoo.base import Classifier, conv_block


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
