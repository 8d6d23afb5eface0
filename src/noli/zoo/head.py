"""A linear head on an encoder that was trained before: fine-tuning, or learning the head alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from noli.core.model import Model, evaluating
from noli.zoo.base import Classifier, Features, Frozen, seeded


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
    body: nn.Module = Features(encoder.net)
    with seeded(seed):
        net = Classifier(Frozen(body) if frozen else body, width, len(names))
    return Model(net, mean=encoder.mean, std=encoder.std, class_names=names, arch=f"{encoder.arch} + head")
