"""Logistic regression on pixels, as a network like the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noli.core.model import Model


class Linear(nn.Module):
    """One weight per value and class, no bias; all weights start at zero, so nothing is random.

    Args:
        values: ``C * H * W``.
        classes: Number of classes K.
    """

    def __init__(self, values: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, values))

    def features(self, x: Tensor) -> Tensor:
        """Return the values ``[N, C * H * W]``, in the order of working images."""
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[N, K]``."""
        return self.features(x) @ self.weight.T


def linear(values: int, classes: int, centre: float = 0.5) -> Model:
    """Return an untrained logistic regression that sees images minus `centre`."""
    return Model(Linear(values, classes), mean=(centre,), std=(1.0,))
