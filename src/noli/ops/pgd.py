"""Projected gradient descent inside an L-infinity ball (Madry et al. 2018, arXiv 1706.06083)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.model import Model, evaluating


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
    with evaluating(model), torch.enable_grad():
        for _ in range(steps):
            adversarial.requires_grad_(True)
            loss = F.cross_entropy(model(adversarial).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adversarial)
            adversarial = torch.clamp(adversarial.detach() + step_size * gradient.sign(), low, high)
    return adversarial.detach()
