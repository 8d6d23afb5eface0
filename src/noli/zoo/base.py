"""What the networks of the zoo share: one classifier shape, seeded weights without a global side effect."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from noli.core.model import seeded

__all__ = ["Classifier", "Features", "Frozen", "Residual", "conv_block", "seeded"]


class Classifier(nn.Module):
    """A body, global average pooling where it leaves maps, one linear head.

    Args:
        body: Maps ``[N, C, H, W]`` to ``[N, width, h, w]`` or ``[N, width]``.
        width: Channels or features that leave the body.
        classes: Number of classes K.
    """

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features ``[N, width]``."""
        found: Tensor = self.body(x)
        return found.mean((2, 3)) if found.ndim == 4 else found

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[N, K]``."""
        logits: Tensor = self.head(self.features(x))
        return logits


class Features(nn.Module):
    """The features of a network or model, which has a method of that name, as its output."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return the features ``[N, width]``."""
        features: Tensor = self.net.features(x)  # type: ignore[operator]
        return features


class Frozen(nn.Module):
    """Keeps a network in evaluation mode and its weights as they are; gradients reach its input."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> Any:
        """Return what the network returns."""
        return self.net(x)


def conv_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; "same" padding for odd kernels, none for even ones."""
    padding = kernel // 2 if kernel % 2 else 0
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two blocks of convolution whose result is added to their input, ``[N, width, H, W]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(conv_block(width, width), conv_block(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        inner: Tensor = self.inner(x)
        return x + inner
