"""LPIPS weights drawn at random, in the layout of torchvision or of the authors' package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VGG = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512]
# Index of the last layer before each of the five maps is read, as torchvision numbers them.
READ = {"vgg16": (3, 8, 15, 22, 29), "alexnet": (1, 4, 7, 9, 11)}


def layers(arch: str) -> nn.Sequential:
    """The convolutional part, as torchvision has it, with weights that keep numbers in range."""
    made: list[nn.Module] = []
    if arch == "vgg16":
        channels = 3
        for width in VGG:
            if width:
                made += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                made.append(nn.MaxPool2d(2, 2))
    else:
        made = [
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        ]  # fmt: skip
    generator = torch.Generator().manual_seed(7)
    for layer in made:
        if isinstance(layer, nn.Conv2d):
            fan = layer.weight[0].numel()
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * (2 / fan) ** 0.5
            layer.bias.data = torch.randn(layer.bias.shape, generator=generator) / 10
    return nn.Sequential(*made).eval()


def linear(arch: str) -> list[Tensor]:
    widths = {"vgg16": (64, 128, 256, 512, 512), "alexnet": (64, 192, 384, 256, 256)}[arch]
    generator = torch.Generator().manual_seed(8)
    return [torch.rand(1, width, 1, 1, generator=generator) for width in widths]


def named(arch: str, manner: str) -> dict[str, Tensor]:
    """Weights under the names of torchvision beside the linear ones, or of the authors' package."""
    last = READ[arch]
    made = {}
    for name, tensor in layers(arch).state_dict().items():
        number = int(name.split(".")[0])
        piece = 1 + sum(number > end for end in last)
        made[f"features.{name}" if manner == "torchvision" else f"net.slice{piece}.{name}"] = tensor
    for number, tensor in enumerate(linear(arch)):
        made[
            f"lin{number}.model.1.weight" if manner == "torchvision" else f"lins.{number}.model.1.weight"
        ] = tensor
    extra = {"scaling_layer.shift": torch.zeros(3), "classifier.0.weight": torch.ones(2, 2)}
    return made | extra
