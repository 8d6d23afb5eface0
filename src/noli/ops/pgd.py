"""Projected gradient descent inside L-infinity and L2 balls (Madry et al. 2018, arXiv 1706.06083)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.model import Model, evaluating
from noli.ops.folding import folded

_SHORTEST = 1e-12  # what lengths are divided by at least: an image without change or gradient has none


def pgd_linf(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    steps: int,
    step_size: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Find images near `x` on which the model's loss is high.

    The model is held in evaluation mode, so that batch statistics do not see the attack; modes and
    parameter gradients are left as they were.

    Args:
        model: Callable on working images.
        x: Working images ``[N, C, H, W]`` in [0, 1].
        y: Labels ``int64 [N]`` or soft labels ``[N, K]``.
        eps: Radius of the ball in [0, 1] units.
        steps: Gradient steps, at least 1.
        step_size: Length of a step; None for ``1.5 * eps / steps``.
        generator: CPU generator of a random start; None starts at `x`.

    Returns:
        Images within `eps` of `x` and in [0, 1].
    """
    step_size = 1.5 * eps / steps if step_size is None else step_size
    low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    adversarial = x.detach().clone()
    if generator is not None:
        noise = torch.rand(x.shape, generator=generator).to(x.device)
        adversarial = torch.clamp(adversarial + (2 * noise - 1) * eps, low, high)
    model = folded(model)
    with evaluating(model), torch.enable_grad():
        for _ in range(steps):
            adversarial.requires_grad_(True)
            loss = F.cross_entropy(model(adversarial).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adversarial)
            adversarial = torch.clamp(adversarial.detach() + step_size * gradient.sign(), low, high)
    return adversarial.detach()


def pgd_l2(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    steps: int,
    step_size: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Find images within an L2 distance of `x` on which the model's loss is high.

    Steps go along the normalised gradient of every image. Modes and parameter gradients are left as they
    were, as by :func:`pgd_linf`.

    Args:
        model: Callable on working images.
        x: Working images ``[N, C, H, W]`` in [0, 1].
        y: Labels ``int64 [N]`` or soft labels ``[N, K]``.
        eps: Largest Euclidean length of a change, in [0, 1] units per value.
        steps: Gradient steps, at least 1.
        step_size: Length of a step; None for ``1.5 * eps / steps``.
        generator: CPU generator of a random start (uniform in the ball); None starts at `x`.

    Returns:
        Images within `eps` of `x` and in [0, 1].
    """
    step_size = 1.5 * eps / steps if step_size is None else step_size
    change = torch.zeros_like(x)
    if generator is not None:
        radius = torch.rand(len(x), 1, 1, 1, generator=generator) ** (1 / max(x[:1].numel(), 1))
        direction = _unit(torch.randn(x.shape, generator=generator))
        change = _in_ball(x, (eps * radius * direction).to(x.device), eps)
    model = folded(model)
    with evaluating(model), torch.enable_grad():
        for _ in range(steps):
            adversarial = (x + change).detach().requires_grad_(True)
            loss = F.cross_entropy(model(adversarial).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adversarial)
            change = _in_ball(x, change + step_size * _unit(gradient), eps)
    return (x + change).clamp(0, 1).detach()


def _unit(x: Tensor) -> Tensor:
    """Scale every image to length 1; those without length stay zero."""
    return x / _lengths(x).clamp(min=_SHORTEST)


def _in_ball(x: Tensor, change: Tensor, eps: float) -> Tensor:
    """Shorten changes to `eps`, then clip the images; clipping only shortens a change further."""
    return torch.clamp(x + change * (eps / _lengths(change).clamp(min=max(eps, _SHORTEST))), 0, 1) - x


def _lengths(x: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return lengths
