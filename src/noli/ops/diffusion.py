"""Diffusion in latents: schedules, the one-step estimate of the clean latent, its shift, and a sampler.

Everywhere ``z_t = alpha_t z_0 + sigma_t e`` with unit noise e. A denoiser predicts one of

- ``epsilon``: e (Ho et al., arXiv 2006.11239),
- ``v``: ``alpha_t e - sigma_t z_0`` (Salimans and Ho, arXiv 2202.00512),
- ``flow``: ``e - z_0``, where alpha_t = 1 - sigma_t (rectified flow, Liu et al., arXiv 2209.03003).

All three are linear in z_0 once z_t is known, so that a shift of the estimate of z_0 is a shift of the
prediction. Tensors ``[N, C, h, w]``; steps t are ``int64 [N]`` in 0 .. T-1, larger is noisier.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from noli.core.errors import UsageError

Kind = Literal["epsilon", "v", "flow"]
Curve = Literal["cosine", "scaled-linear"]
STEPS = 1000
Predict = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """How much of a latent is noise at every step, and what the denoiser says about it.

    Attributes:
        kind: What is predicted.
        alpha: Share of the clean latent, ``float32 [T]``, in (0, 1).
        sigma: Share of the noise, ``float32 [T]``, in (0, 1], rising.
    """

    kind: Kind
    alpha: Tensor
    sigma: Tensor

    @property
    def steps(self) -> int:
        """Number T of steps."""
        return len(self.alpha)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of steps ``[N]``, each ``[N, 1, 1, 1]``."""
        alpha, sigma = self.alpha.to(t.device)[t], self.sigma.to(t.device)[t]
        return alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)

    def noised(self, z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return z_t."""
        alpha, sigma = self.at(t)
        return alpha * z0 + sigma * noise

    def target(self, z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what a perfect denoiser would predict."""
        alpha, sigma = self.at(t)
        return {"epsilon": noise, "v": alpha * noise - sigma * z0, "flow": noise - z0}[self.kind]

    def estimate(self, zt: Tensor, predicted: Tensor, t: Tensor) -> Tensor:
        """Return the one-step estimate of z_0 from a prediction."""
        alpha, sigma = self.at(t)
        if self.kind == "epsilon":
            return (zt - sigma * predicted) / alpha
        return (alpha if self.kind == "v" else 1) * zt - sigma * predicted

    def prediction(self, zt: Tensor, z0: Tensor, t: Tensor) -> Tensor:
        """Return the prediction whose estimate is `z0`: the inverse of :meth:`estimate`."""
        alpha, sigma = self.at(t)
        if self.kind == "epsilon":
            return (zt - alpha * z0) / sigma
        return ((alpha if self.kind == "v" else 1) * zt - z0) / sigma

    def shifted(self, predicted: Tensor, delta: Tensor, t: Tensor) -> Tensor:
        """Return the prediction whose estimate of z_0 is larger by `delta` (SleeperMark, section 2.2).

        The paper gives it for ``epsilon``, where ``alpha / sigma * delta`` is taken off.
        """
        return predicted - self.gain(t) * delta

    def gain(self, t: Tensor) -> Tensor:
        """Return by how much a prediction moves for one unit of the estimate of z_0, ``[N, 1, 1, 1]``."""
        alpha, sigma = self.at(t)
        return alpha / sigma if self.kind == "epsilon" else 1 / sigma

    def evened(self, t: Tensor, most: float) -> Tensor:
        """Return weights of squared errors of predictions, ``[N, 1, 1, 1]`` in (0, 1].

        With them no error of the estimate of z_0 counts more than `most` times its square, where the first
        steps would count thousands of times (min-SNR, Hang et al., arXiv 2303.09556).
        """
        return (most / self.gain(t) ** 2).clamp(max=1)


def schedule(kind: Kind = "v", curve: Curve = "cosine", steps: int = STEPS) -> Schedule:
    """Make a schedule; with ``flow``, `curve` does not matter.

    Args:
        kind: What is predicted.
        curve: ``cosine`` (Nichol and Dhariwal, arXiv 2102.09672, equation 17, betas up to 0.999) or
            ``scaled-linear`` (Rombach et al., arXiv 2112.10752: square roots of beta from 0.00085 to 0.012).
        steps: Number T of steps.
    """
    if kind == "flow":
        sigma = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        return Schedule(kind, (1 - sigma).clamp(min=1e-4).float(), sigma.clamp(max=1 - 1e-4).float())
    if curve == "cosine":
        turn = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008
        bar = torch.cos(turn * math.pi / 2) ** 2
        keep = (bar[1:] / bar[:-1]).clamp(min=0.001)
    else:
        keep = 1 - torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2
    return from_alpha_bar(kind, keep.cumprod(0))


def from_alpha_bar(kind: Kind, bar: Tensor) -> Schedule:
    """Make a schedule from the squares of alpha, ``[T]`` in (0, 1), as pipelines keep them.

    Raises:
        UsageError: It is no such list.
    """
    if bar.ndim != 1 or not ((bar > 0) & (bar < 1)).all():
        raise UsageError("A schedule needs squares of alpha between 0 and 1.")
    return Schedule(kind, bar.double().sqrt().float(), (1 - bar.double()).sqrt().float())


def weights(t: Tensor, eta: float, tau: float, beta: float) -> tuple[Tensor, Tensor]:
    """Return w1 and w2 of steps ``[N]`` (SleeperMark, section 2.2), each ``[N, 1, 1, 1]``.

    ``w1 = eta sigmoid(-(t - tau) / beta)`` wants the mark, ``w2 = sigmoid((t - tau) / beta)`` wants none.

    Args:
        t: Steps.
        eta: Strength of the mark, at least 0.
        tau: Step at which both sigmoids are a half.
        beta: Width of the change in steps, above 0.
    """
    x = ((t.float() - tau) / beta).view(-1, 1, 1, 1)
    return eta * torch.sigmoid(-x), torch.sigmoid(x)


def share(t: Tensor, eta: float, tau: float, beta: float) -> Tensor:
    """Return ``w1 / (w1 + w2)``: how much of the shift is learned where both losses are at their minimum."""
    w1, w2 = weights(t, eta, tau, beta)
    return w1 / (w1 + w2)


def grid(steps: int, total: int) -> list[int]:
    """Return `steps` steps from T-1 down to 0, evenly spaced.

    Raises:
        UsageError: Fewer than two, or more than there are.
    """
    if not 2 <= steps <= total:
        raise UsageError("The number of sampling steps does not fit.", why=f"got {steps}, not 2 to {total}")
    return [round(one) for one in torch.linspace(total - 1, 0, steps, dtype=torch.float64).tolist()]


def sample(
    predict: Predict,
    plan: Schedule,
    noise: Tensor,
    *,
    steps: int = 25,
    guidance: float = 3.0,
    unconditional: Predict | None = None,
    limit: float = math.inf,
) -> Tensor:
    """Turn noise into clean latents: DDIM without noise (Song et al., arXiv 2010.02502); Euler for flows.

    Args:
        predict: Denoiser with its prompts, ``(z_t, t) -> prediction``.
        plan: The schedule of its training.
        noise: ``[N, C, h, w]``, unit normal.
        steps: Number of steps, 2 to T.
        guidance: Classifier-free guidance (Ho and Salimans, arXiv 2207.12598): 1 is none.
        unconditional: Denoiser without prompts; needed unless `guidance` is 1.
        limit: Estimates of z_0 are kept within plus and minus this.

    Raises:
        UsageError: Guidance without an unconditional denoiser, or a number of steps that does not fit.
    """
    if guidance != 1 and unconditional is None:
        raise UsageError("Guidance needs a denoiser without prompts.", where=f"guidance={guidance:g}")
    z, times = noise, grid(steps, plan.steps)
    for now, then in zip(times, [*times[1:], None], strict=True):
        t = torch.full((len(z),), now, dtype=torch.int64, device=z.device)
        predicted = predict(z, t)
        if guidance != 1 and unconditional is not None:
            free = unconditional(z, t)
            predicted = free + guidance * (predicted - free)
        z0 = plan.estimate(z, predicted, t).clamp(-limit, limit)
        if then is None:
            return z0
        alpha, sigma = plan.at(t)
        z = plan.noised(z0, (z - alpha * z0) / sigma, torch.full_like(t, then))
    raise AssertionError("the grid has a last step")
