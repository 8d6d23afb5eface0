"""Learning additive noise against a surrogate network: what the error-minimising methods share.

Tensors are working images ``float32 [N, C, H, W]`` in [0, 1]; noise lies in [-eps, eps] of the same units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.model import Model, evaluating
from noli.ops.augment import crop_flip
from noli.ops.folding import folded
from noli.ops.pgd import pgd_linf
from noli.train.fit import Callback

Perturb = Callable[[Model, Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Descent:
    """How noise is searched: sign-gradient descent of the surrogate's loss inside an L-infinity ball.

    Attributes:
        eps: Radius in [0, 1] units.
        step: Length of a step in [0, 1] units.
        steps: Steps.
        samples: Random transforms per step whose gradients are added up.
        shift: Largest shift in pixels of the random crop-and-flip transform; 0 uses the images as they are.
        perturb: What the defender is assumed to add after the transform (``(model, z, y, generator)`` to
            perturbed images); the gradient is taken there and pulled back through the transform.
        ascend: Raise the loss instead (adversarial poisons).
    """

    eps: float
    step: float
    steps: int
    samples: int = 1
    shift: int = 0
    perturb: Perturb | None = None
    ascend: bool = False

    @property
    def passes(self) -> int:
        """Surrogate passes (forward and backward) per image, those inside `perturb` not counted."""
        return self.steps * self.samples


def search(
    model: Model,
    x: Tensor,
    y: Tensor,
    start: Tensor | None,
    how: Descent,
    generator: torch.Generator,
    mask: Tensor | None = None,
) -> Tensor:
    """Search noise for a batch with the surrogate frozen in evaluation mode.

    Args:
        model: Surrogate.
        x: Images ``[N, C, H, W]``.
        y: Labels ``int64 [N]``.
        start: Noise to go on from; None draws it uniformly in the ball.
        how: The search.
        generator: CPU generator for start, transforms and perturbations.
        mask: ``[N, 1, H, W]`` or ``[N, C, H, W]`` of 0 and 1: where noise may be; None for everywhere.

    Returns:
        Noise ``[N, C, H, W]`` with ``|noise| <= eps`` and ``x + noise`` in [0, 1].
    """
    if start is None:
        start = (torch.rand(x.shape, generator=generator).to(x.device) * 2 - 1) * how.eps
    low, high = (-x).clamp_(min=-how.eps), (1 - x).clamp_(max=how.eps)
    noise = torch.clamp(start if mask is None else start * mask, low, high)
    sign = 1.0 if how.ascend else -1.0
    model = folded(model)
    with evaluating(model), torch.enable_grad():
        for _ in range(how.steps):
            gradient = torch.zeros_like(x)
            for _ in range(how.samples):
                gradient += _gradient(model, x, y, noise, how, generator)
            direction = gradient.sign_() if mask is None else gradient.sign_() * mask
            noise = torch.clamp(noise + sign * how.step * direction, low, high)
    return noise


def _gradient(
    model: Model, x: Tensor, y: Tensor, noise: Tensor, how: Descent, generator: torch.Generator
) -> Tensor:
    noise = noise.detach().requires_grad_(True)
    z = x + noise
    if how.shift:
        z = crop_flip(z, how.shift, generator)
    if how.perturb is not None:
        # Straight through: the loss is taken at the perturbed point, its gradient is that of z.
        z = z + (how.perturb(model, z.detach(), y, generator) - z).detach()
    loss = F.cross_entropy(model(z).float(), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, noise)
    return gradient


@dataclass(frozen=True)
class Uniform:
    """SEM's defender: uniform noise in the ball (arXiv 2311.13091)."""

    eps: float

    def __call__(self, model: Model, z: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return randomly perturbed images."""
        noise = (torch.rand(z.shape, generator=generator).to(z.device) * 2 - 1) * self.eps
        return (z + noise).clamp_(0, 1)


@dataclass(frozen=True)
class Adversary:
    """REM's defender: PGD ascent from a random start (arXiv 2203.14533)."""

    eps: float
    step: float
    steps: int

    def __call__(self, model: Model, z: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return adversarially perturbed images."""
        return pgd_linf(model, z, y, eps=self.eps, steps=self.steps, step_size=self.step, generator=generator)


class NoiseThenAdversary(Callback):
    """One step of REM and SEM: noise for the batch, then the surrogate meets it adversarially perturbed.

    Args:
        how: The search for the noise; its `shift` is also the surrogate's augmentation.
        adversary: What the surrogate is hardened against.
    """

    def __init__(self, how: Descent, adversary: Adversary) -> None:
        self.how, self.adversary = how, adversary

    def before_step(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return what the surrogate is trained on."""
        model = folded(model)
        x = x + search(model, x, y, None, self.how, generator)
        if self.how.shift:
            x = crop_flip(x, self.how.shift, generator)
        return self.adversary(model, x, y, generator)
