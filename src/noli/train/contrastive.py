"""Learning an encoder without labels: two views of every picture must be closer than views of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from noli import zoo
from noli.core.model import Model
from noli.ops.views import random_view
from noli.train.checkpoint import Checkpoint
from noli.train.fit import Callback, fit
from noli.train.recipe import Recipe

PROJECTION = 64
TEMPERATURE = 0.2


def nt_xent(projected: Tensor, pairs: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Normalised temperature-scaled cross entropy (SimCLR, arXiv 2002.05709, equation 1).

    Args:
        projected: ``[2B, D]``.
        pairs: ``int64 [2B]``; every number occurs twice, once per view of the same picture.
        temperature: Divisor of the cosine similarities.

    Returns:
        Mean over all views of minus the log probability of the other view among all others.
    """
    unit = F.normalize(projected, dim=1)
    similar = unit @ unit.T / temperature
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similar = similar.masked_fill(itself, float("-inf"))
    partner = ((pairs[:, None] == pairs[None]) & ~itself).int().argmax(1)
    return F.cross_entropy(similar, partner)


def info_nce(pictures: Tensor, texts: Tensor, captions: Tensor, temperature: float = 0.07) -> Tensor:
    """Symmetric InfoNCE of pictures and texts (CLIP, arXiv 2103.00020, figure 3).

    Args:
        pictures: Unit vectors ``[B, D]``.
        texts: Unit vectors ``[B, D]``, row i that of picture i.
        captions: ``int64 [B]``; rows with the same number have the same caption and match each other, too.
        temperature: Divisor of the cosine similarities.

    Returns:
        Mean cross entropy of picture to text and of text to picture, halved.
    """
    similar = pictures @ texts.T / temperature
    match = (captions[:, None] == captions[None]).float()
    share = match / match.sum(1, keepdim=True)
    return (F.cross_entropy(similar, share) + F.cross_entropy(similar.T, share)) / 2


class TwoViews(Callback):
    """Replaces every batch by two random views of each picture, and labels by the number of the picture."""

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return ``[2B, C, H, W]`` and the numbers ``[2B]``."""
        views = torch.cat([random_view(x, generator), random_view(x, generator)])
        return views, torch.arange(len(x), device=x.device).repeat(2)


def learn_encoder(
    x: npt.NDArray[np.uint8],
    network: str,
    recipe: Recipe,
    callbacks: Sequence[Callback] = (),
    *,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
) -> Model:
    """Train a network of the zoo without labels; its head is the projection and may be thrown away.

    Args:
        x: ``uint8 [N, S, S, C]``, N >= 2.
        network: Name in the zoo.
        recipe: How to train.
        callbacks: Called before the views are made.
        seed: Seed of the initial weights.
        checkpoint: Where the training is kept against a kill.

    Returns:
        The model; use its ``features``.
    """
    model = zoo.network(network, PROJECTION, x.shape[3], size=x.shape[1], seed=seed)
    nobody = np.zeros(len(x), np.int64)
    fit(model, x, nobody, recipe, [*callbacks, TwoViews()], nt_xent, checkpoint)
    return model
