"""FastestDet: 244 thousand weights that find COCO's 80 kinds of things, written anew from what it computes.

Facts: the names and shapes in its public checkpoint (dog-qiuqiu/FastestDet, BSD-3), and ShuffleNetV2 (Ma et
al., ECCV 2018, arXiv 1807.11164). Names of layers are those of the checkpoint, so that it fits.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import DataError

COCO = (
    "person", "bicycle", "car", "motorbike", "aeroplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "sofa",
    "pottedplant", "bed", "diningtable", "toilet", "tvmonitor", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
SIDE = 352  # pixels that the public weights were made for
COUNTER = "num_batches_tracked"  # of batch normalisation, which evaluation does not need
_REPEATS, _WIDTHS, _POOLED = (4, 8, 4), (24, 48, 96, 192), 16


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias, and batch normalisation."""
    made = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [made, nn.BatchNorm2d(outputs)]


class _Unit(nn.Module):
    """A unit of ShuffleNetV2: half of the channels pass, or both branches halve the resolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        taken = inputs if stride == 2 else half
        self.stride = stride
        self.branch_main = nn.Sequential(
            *_conv(taken, half),
            nn.ReLU(inplace=True),
            *_conv(half, half, 3, stride, groups=half),
            *_conv(half, half if stride == 2 else outputs - half),
            nn.ReLU(inplace=True),
        )
        if stride == 2:
            self.branch_proj = nn.Sequential(
                *_conv(inputs, inputs, 3, 2, groups=inputs), *_conv(inputs, half), nn.ReLU(inplace=True)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output."""
        if self.stride == 2:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)
        # Every second channel passes, the others are worked on.
        return torch.cat([x[:, 0::2], self.branch_main(x[:, 1::2])], 1)


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_conv(3, _WIDTHS[0], 3, 2), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(_Unit(before, after, 2), *(_Unit(after, after, 1) for _ in range(repeats - 1)))
            for repeats, before, after in zip(_REPEATS, _WIDTHS, _WIDTHS[1:], strict=False)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the maps at strides 8, 16 and 32."""
        first: Tensor = self.stage2(self.maxpool(self.first_conv(x)))
        second: Tensor = self.stage3(first)
        third: Tensor = self.stage4(second)
        return first, second, third


class _Block(nn.Module):
    """One 1 x 1 convolution under the name that the checkpoint has for it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*_conv(inputs, outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        made: Tensor = self.conv1x1(x)
        return made


class _Head(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv5x5 = nn.Sequential(
            *_conv(inputs, inputs, 5, groups=inputs), nn.ReLU(inplace=True), *_conv(inputs, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's output."""
        made: Tensor = self.conv5x5(x)
        return made


class _Pyramid(nn.Module):
    """Three stacks of depthwise 5 x 5 convolutions of different depth, side by side."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.Conv1x1 = _Block(inputs, width)
        self.S1, self.S2, self.S3 = (self._stack(width, depth) for depth in (1, 2, 3))
        self.output = nn.Sequential(*_conv(3 * width, width))

    @staticmethod
    def _stack(width: int, depth: int) -> nn.Sequential:
        parts = [[*_conv(width, width, 5, groups=width), nn.ReLU(inplace=True)] for _ in range(depth)]
        return nn.Sequential(*(layer for part in parts for layer in part))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        x = self.Conv1x1(x)
        return F.relu(x + self.output(torch.cat([self.S1(x), self.S2(x), self.S3(x)], 1)))


class _Heads(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _Block(width, width)
        self.obj_layers, self.reg_layers = _Head(width, 1), _Head(width, 4)
        self.cls_layers = _Head(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[N, 1 + 4 + K, h, w]``, before sigmoid and softmax."""
        x = self.conv1x1(x)
        return torch.cat([self.obj_layers(x), self.reg_layers(x), self.cls_layers(x)], 1)


class FastestDet(nn.Module):
    """The network; layers whose output can be locked are ``SPP`` and ``detect_head.conv1x1``.

    Args:
        classes: Number of classes K.
    """

    def __init__(self, classes: int = len(COCO)) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.SPP = _Pyramid(sum(_WIDTHS[1:]), _WIDTHS[2])
        self.detect_head = _Heads(_WIDTHS[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map RGB images in [0, 1] ``[N, 3, H, W]`` to ``[N, 5 + K, H / 16, W / 16]``."""
        first, second, third = self.backbone(x.flip(1))  # the public weights want blue first
        joined = [F.avg_pool2d(first, 3, 2, 1), second, F.interpolate(third, scale_factor=2)]
        made: Tensor = self.detect_head(self.SPP(torch.cat(joined, 1)))
        return made

    def located(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores, objectness^0.6 class^0.4, ``[N, cells, K]``, and boxes ``[N, cells, 4]``."""
        h, w = raw.shape[-2:]
        flat = raw.flatten(2).transpose(1, 2)
        scores = flat[..., :1].sigmoid() ** 0.6 * flat[..., 5:].softmax(-1) ** 0.4
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        cell = torch.stack([x.flatten(), y.flatten()], 1).to(raw)
        middle = (flat[..., 1:3].tanh() + cell) * _POOLED
        size = flat[..., 3:5].sigmoid() * raw.new_tensor([w, h]) * _POOLED
        return scores, torch.cat([middle - size / 2, middle + size / 2], -1)


def fastestdet_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the published checkpoint, which is a pickle, with torch's reader that makes tensors only.

    For a one-time conversion; nothing else in noli reads pickles.

    Raises:
        DataError: It is no such file.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {name: value.float() for name, value in found.items() if not name.endswith(COUNTER)}
    # torch's reader raises whatever it stumbles over.
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise DataError("The checkpoint cannot be read.", where=str(path), why=why) from error
