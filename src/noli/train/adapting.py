"""Adapting a trained classifier to unlabelled images of the kind that it will see."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch.optim.swa_utils import update_bn

from noli.core.model import Model

_BATCH = 250
_ROUNDS, _FLOOR = 500, 1e-9
Logits = npt.NDArray[np.float32]


def renormalised(model: Model, images: npt.NDArray[np.uint8]) -> Model:
    """Return a copy whose batch normalisation has the statistics of some images (AdaBN, arXiv 1603.04779).

    Args:
        model: Any classifier; without batch normalisation nothing changes.
        images: ``uint8 [N, H, W, C]``, N at least 1.
    """
    adapted = copy.deepcopy(model).eval()
    device = next(adapted.parameters()).device
    parts = np.array_split(images, -(-len(images) // _BATCH))
    batches = (torch.from_numpy(part).to(device).permute(0, 3, 1, 2).float().div_(255) for part in parts)
    update_bn(batches, adapted)
    return adapted


def balancing(logits: Logits, shares: npt.NDArray[np.floating]) -> Logits:
    """Return what must be added to logits so that classes are predicted as often as they occur.

    Corrects a network that sends everything to few classes (the idea of Saerens et al. 2002, for known
    shares).

    Args:
        logits: ``[N, K]`` of unlabelled images, N at least 1.
        shares: ``[K]``, how often every class occurs; sums to 1.

    Returns:
        ``float32 [K]``, for which the mean of the softmax over the images is close to the shares.
    """
    bias = np.zeros(logits.shape[1])
    for _ in range(_ROUNDS):
        shifted = logits + bias
        weights = np.exp(shifted - shifted.max(1, keepdims=True))
        found = (weights / weights.sum(1, keepdims=True)).mean(0)
        bias += 0.5 * np.log(np.maximum(shares, _FLOOR) / np.maximum(found, _FLOOR))
    return bias.astype(np.float32)
