"""A linear head on an encoder that was trained before: fine-tuning, or learning the head alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noli.core.model import Model, evaluating
from noli.zoo.base import Frozen, seeded


class _Features(nn.Module):
    """The features of a network as its output."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net.features(x)  # type: ignore[operator]
        return features


class Headed(nn.Module):
    """Features, and one linear layer on them.

    Args:
        body: Maps ``[N, C, H, W]`` to features ``[N, width]``.
        width: Number of features.
        classes: Number of classes K.
    """

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the features ``[N, width]``."""
        features: Tensor = self.body(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[N, K]``."""
        logits: Tensor = self.head(self.features(x))
        return logits


def with_head(encoder: Model, names: Sequence[str], *, seed: int, frozen: bool) -> Model:
    """Put an untrained head on an encoder, whose network becomes part of the new model.

    Args:
        encoder: What was trained before; only its features are used.
        names: Class names.
        seed: Seed of the head's weights.
        frozen: Keep the encoder as it is, in evaluation mode, so that only the head learns.

    Returns:
        A classifier with the encoder's normalisation.
    """
    device = next(encoder.parameters()).device
    with evaluating(encoder), torch.no_grad():
        channels, side = len(encoder.mean), 32
        width = encoder.features(torch.zeros(1, channels, side, side, device=device)).shape[1]
    body: nn.Module = _Features(encoder.net)
    with seeded(seed):
        net = Headed(Frozen(body) if frozen else body, width, len(names))
    return Model(net, mean=encoder.mean, std=encoder.std, class_names=names, arch=f"{encoder.arch} + head")
