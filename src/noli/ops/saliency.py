"""Which pixels of a picture matter: saliency by gradient, foreground, and the best share of them."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.model import Model, evaluating

Kind = Literal["gradient", "gradient-input", "foreground"]
_BINS = 256


def saliency(model: Model, x: Tensor, y: Tensor, kind: Kind, smooth: int = 0) -> Tensor:
    """Score every pixel.

    Args:
        model: Network whose loss is asked; not used for ``foreground``.
        x: Working images ``[N, C, H, W]``.
        y: Labels ``int64 [N]``.
        kind: ``gradient``: |dL/dx|; ``gradient-input``: |x dL/dx|; both summed over the channels.
            ``foreground``: distance from Otsu's threshold on the side that has less of the picture's rim,
            0 on the other side.
        smooth: Scores are averaged over squares of ``2 * smooth + 1`` pixels, against salt and pepper.

    Returns:
        ``float32 [N, H, W]``, at least 0.
    """
    if kind == "foreground":
        scores = _foreground(x.mean(1))
    else:
        variable = x.detach().clone().requires_grad_(True)
        with evaluating(model), torch.enable_grad():
            loss = F.cross_entropy(model(variable).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, variable)
        scores = (gradient * x if kind == "gradient-input" else gradient).abs().sum(1)
    if smooth:
        side = 2 * smooth + 1
        scores = F.avg_pool2d(scores[:, None], side, 1, smooth, count_include_pad=False)[:, 0]
    return scores


def _foreground(grey: Tensor) -> Tensor:
    """Return how far every pixel lies on the foreground's side of Otsu's threshold, else 0."""
    height, width = grey.shape[1:]
    above = grey - otsu(grey)[:, None, None]
    rim = torch.ones(height, width, dtype=torch.bool, device=grey.device)
    rim[1:-1, 1:-1] = False
    # X-rays lie on black, microscopy on white: what fills most of the rim is background.
    bright_rim = (above[:, rim] > 0).float().mean(1) > 0.5
    return torch.where(bright_rim[:, None, None], -above, above).clamp_(min=0)


def otsu(grey: Tensor) -> Tensor:
    """Otsu's threshold per image: the level that separates two groups of values best.

    Args:
        grey: ``[N, H, W]`` in [0, 1].

    Returns:
        ``float32 [N]``; for constant images their value.
    """
    levels = (grey.flatten(1) * (_BINS - 1)).round().long()
    counts = torch.zeros(len(grey), _BINS).scatter_add_(1, levels.cpu(), torch.ones(levels.shape))
    values = torch.arange(_BINS, dtype=torch.float32)
    below = counts.cumsum(1)
    above = below[:, -1:] - below
    sums = (counts * values).cumsum(1)
    gap = sums / below.clamp(min=1) - (sums[:, -1:] - sums) / above.clamp(min=1)
    between = torch.where((below > 0) & (above > 0), below * above * gap**2, torch.zeros(()))
    # Between two groups every level separates equally well: the middle of them.
    best = between >= between.amax(1, keepdim=True) * (1 - 1e-6)
    middle = (best * values).sum(1) / best.sum(1)
    flat = between.amax(1) == 0
    return torch.where(flat, grey.flatten(1).cpu().amax(1), middle / (_BINS - 1)).to(grey.device)


def top_share(scores: Tensor, share: float, allowed: Tensor | None = None) -> Tensor:
    """Mark the ``floor(share * H * W)`` pixels of every image with the highest scores, but at least one.

    Pixels that score 0 are never marked. Equal scores are taken in reading order.

    Args:
        scores: ``[N, H, W]``, at least 0.
        share: Share of all pixels, in (0, 1].
        allowed: ``bool [N, H, W]``: where pixels may be marked; None for everywhere.

    Returns:
        ``float32 [N, 1, H, W]`` of 0 and 1.
    """
    n, height, width = scores.shape
    if allowed is not None:
        scores = scores * allowed
    flat = scores.flatten(1)
    count = max(1, int(share * height * width))
    order = flat.argsort(dim=1, descending=True, stable=True)[:, :count]
    mask = torch.zeros_like(flat).scatter_(1, order, 1.0) * (flat > 0)
    return mask.view(n, 1, height, width)
