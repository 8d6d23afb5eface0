"""Gradient matching: pictures whose training gradient points where that of secret queries does.

A network that trains on the pictures then moves as if it had trained on the queries (Witches' Brew, Geiping
et al., arXiv 2009.02276; Data Taggants, Bouaziz et al., arXiv 2410.09101, section 3). Tensors are working
images ``float32 [N, C, H, W]`` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.model import Model, evaluating
from noli.ops.augment import crop_flip

# Where the step shrinks, as shares of all iterations, and by how much (authors' code).
_MILESTONES = (1 / 6.25, 1 / 2.667, 1 / 1.6, 1 / 1.142)
_SHRINK = 0.3


@dataclass(frozen=True)
class Matching:
    """How changes are searched.

    Attributes:
        eps: Largest change of a channel, in [0, 1] units.
        iterations: Steps.
        step: First step length, as a share of `eps`.
        shift: Largest shift of the differentiable crop-and-flip inside the search; 0 for none.
        perceptual: Weight of what `likeness` says; 0 leaves it out.
    """

    eps: float
    iterations: int
    step: float = 0.5
    shift: int = 4
    perceptual: float = 0.0


def match(
    models: Sequence[Model],
    x: Tensor,
    label: int,
    queries: Tensor,
    start: Tensor,
    how: Matching,
    generator: torch.Generator,
    likeness: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> tuple[Tensor, float]:
    """Search changes of pictures of one class so that training on them teaches `queries -> label`.

    ``1 - cos(gradient of the pictures, gradient of the queries)``, averaged over the models, is lowered by
    Adam on the sign of its gradient, as in the authors' code.

    Args:
        models: Surrogates, trained on clean data; held in evaluation mode.
        x: Pictures ``[B, C, H, W]`` of the class.
        label: The class.
        queries: Secret queries ``[Q, C, H, W]`` with that class.
        start: First change, same shape as `x`.
        how: The search.
        generator: CPU generator of shifts and flips.
        likeness: Perceptual distance ``(x, changed) -> [B]``; weighted with ``how.perceptual``.

    Returns:
        The change, within `eps` and with ``x + change`` in [0, 1], and the last distance in [0, 2].
    """
    low, high = (-x).clamp_(min=-how.eps), (1 - x).clamp_(max=how.eps)
    change = torch.clamp(start, low, high)
    wanted = [_gradient(model, queries, label, keep=False) for model in models]
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    distance = 2.0
    for step in range(how.iterations):
        change = change.detach().requires_grad_(True)
        shown = crop_flip(x + change, how.shift, generator) if how.shift else x + change
        loss = torch.stack(
            [_distance(model, shown, label, aim) for model, aim in zip(models, wanted, strict=True)]
        ).mean()
        distance = float(loss.detach())
        if how.perceptual and likeness is not None:
            loss = loss + how.perceptual * likeness(x, x + change).sum()
        (gradient,) = torch.autograd.grad(loss, change)
        sign = gradient.sign()
        first.mul_(0.9).add_(sign, alpha=0.1)
        second.mul_(0.999).addcmul_(sign, sign, value=0.001)
        mean, spread = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        length = how.step * how.eps * _SHRINK ** sum(step >= at * how.iterations for at in _MILESTONES)
        change = torch.clamp(change.detach() - length * mean / (spread.sqrt() + 1e-8), low, high)
    return change.detach(), distance


def _distance(model: Model, shown: Tensor, label: int, aim: Sequence[Tensor]) -> Tensor:
    found = _gradient(model, shown, label, keep=True)
    dot = sum((a * b).sum() for a, b in zip(found, aim, strict=True))
    own = sum((a * a).sum() for a in found)
    other = sum((b * b).sum() for b in aim)
    lengths = torch.sqrt(torch.as_tensor(own)) * torch.sqrt(torch.as_tensor(other))
    distance: Tensor = 1 - dot / (lengths + 1e-12)
    return distance


def _gradient(model: Model, x: Tensor, label: int, *, keep: bool) -> list[Tensor]:
    """Gradient of the mean loss with respect to all weights, differentiable if `keep`."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    with evaluating(model), torch.enable_grad():
        loss = F.cross_entropy(model(x), torch.full((len(x),), label, device=x.device))
        return list(torch.autograd.grad(loss, weights, create_graph=keep))


def ssim_distance(x: Tensor, changed: Tensor) -> Tensor:
    """1 - SSIM per picture, ``[B]``, with a uniform window of 7 pixels; differentiable.

    As scikit-image computes it, except at borders: only whole windows count.
    """
    side = min(7, *x.shape[2:])

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, side, stride=1)

    a, b = mean(x), mean(changed)
    unbiased = side * side / max(1, side * side - 1)
    va, vb = ((mean(v * v) - m * m) * unbiased for v, m in ((x, a), (changed, b)))
    shared = (mean(x * changed) - a * b) * unbiased
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * a * b + c1) * (2 * shared + c2)) / ((a * a + b * b + c1) * (va + vb + c2))
    distance: Tensor = 1 - similarity.mean((1, 2, 3))
    return distance
