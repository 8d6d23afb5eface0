"""Auto-PGD: projected gradient descent that halves its steps by itself (Croce, Hein 2020, arXiv 2003.01690).

Section 3, algorithm 1: a step with momentum; at checkpoints every image whose loss rises too seldom, or whose
best loss has not moved, goes back to its best point with half the step. L-infinity balls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from noli.core.model import Model, evaluating
from noli.ops.adversarial.losses import Loss, cross_entropy, runners_up, targeted_dlr
from noli.ops.folding import folded

MOMENTUM, ENOUGH = 0.75, 0.75  # alpha and rho of the paper
Gradient = Callable[[Tensor, Tensor, Loss], tuple[Tensor, Tensor, Tensor]]


def checkpoints(steps: int) -> list[int]:
    """Return after which steps the length of steps is reviewed (section 3.1): p is 0, 0.22, and then on."""
    before, now, found = 0.0, 0.22, []
    while ceil(now * steps) <= steps and now < 1:
        found.append(ceil(now * steps))
        before, now = now, now + max(now - before - 0.03, 0.06)
    return sorted(set(found))


def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    steps: int = 100,
    loss: Loss = cross_entropy,
    draws: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Find images within `eps` of `x` that the model gets wrong, or else those with the highest loss.

    Args:
        model: Callable on working images, logits ``[N, K]``; held in evaluation mode.
        x: Working images ``[N, C, H, W]`` in [0, 1].
        y: Labels ``int64 [N]``.
        eps: Radius of the ball in [0, 1] units.
        steps: Gradient steps, at least 1.
        loss: What is made large, per image; see :mod:`noli.ops.adversarial.losses`.
        draws: Gradients that are averaged per step: more than 1 for models that answer at random (expectation
            over transformations, Athalye et al. 2018, arXiv 1802.00420).
        generator: CPU generator of a random start; None starts at `x`.

    Returns:
        Images ``[N, C, H, W]`` in [0, 1].
    """
    if not len(x):
        return x.clone()
    light = folded(model) if isinstance(model, Model) else model
    low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
    start = x.clone()
    if generator is not None:
        noise = 2 * torch.rand(x.shape, generator=generator) - 1
        start = torch.clamp(x + eps * noise.to(x.device), low, high)
    reviews = set(checkpoints(steps))
    with evaluating(light), torch.enable_grad():
        state = _State.at(start, *_gradient(light, start, y, loss, draws), 2 * eps)
        for step in range(1, steps + 1):
            ahead = torch.clamp(state.now + state.size * state.slope.sign(), low, high)
            mixed = state.now + MOMENTUM * (ahead - state.now) + (1 - MOMENTUM) * (state.now - state.before)
            after = ahead if step == 1 else torch.clamp(mixed, low, high)
            state.move(after, *_gradient(light, after, y, loss, draws))
            if step in reviews:
                state.review()
    return state.found.x


def apgd_targeted(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    steps: int = 100,
    targets: int = 9,
    draws: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Run :func:`apgd` towards each of the likeliest other classes and keep what came furthest.

    Args:
        model: As for :func:`apgd`, with four classes or more.
        x: Working images ``[N, C, H, W]`` in [0, 1].
        y: Labels ``int64 [N]``.
        eps: Radius of the ball in [0, 1] units.
        steps: Gradient steps per class.
        targets: How many other classes, likeliest first.
        draws: Gradients that are averaged per step.
        generator: CPU generator of random starts.

    Raises:
        UsageError: Fewer than four classes.
    """
    best = Best.none(x)
    if not len(x):
        return best.x
    with evaluating(model):
        goals = runners_up(model, x, y, targets)
    for goal in goals:
        loss = targeted_dlr(goal)
        made = apgd(model, x, y, eps=eps, steps=steps, loss=loss, draws=draws, generator=generator)
        with evaluating(model), torch.no_grad():
            logits = model(made).float()
        best.offer(made, loss(logits, y), logits.argmax(1) != y)
    return best.x


@dataclass
class Best:
    """The best images so far: those that are wrong come before those that are not, then the loss decides."""

    x: Tensor
    value: Tensor
    wrong: Tensor

    @classmethod
    def none(cls, x: Tensor) -> Best:
        """Start with images ``[N, C, H, W]`` that anything beats."""
        return cls(x.clone(), x.new_full((len(x),), -torch.inf), x.new_zeros(len(x), dtype=torch.bool))

    def offer(self, x: Tensor, value: Tensor, wrong: Tensor) -> None:
        """Take what is better, by losses ``[N]`` and whether the label is missed ``[N]``."""
        better = (wrong & ~self.wrong) | ((wrong == self.wrong) & (value > self.value))
        self.x = _chosen(better, x, self.x)
        self.value, self.wrong = torch.where(better, value, self.value), wrong | self.wrong


def _gradient(
    model: nn.Module, x: Tensor, y: Tensor, loss: Loss, draws: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss ``[N]``, gradient, and whether the label is missed, averaged over draws of the model."""
    x = x.detach().requires_grad_(True)
    values, slopes, wrong = torch.zeros(len(x), device=x.device), torch.zeros_like(x), torch.zeros_like(y)
    for _ in range(draws):
        logits = model(x).float()
        found = loss(logits, y)
        (slope,) = torch.autograd.grad(found.sum(), x)
        values, slopes = values + found.detach(), slopes + slope
        wrong = wrong + (logits.argmax(1) != y)
    return values / draws, slopes.detach() / draws, 2 * wrong > draws


@dataclass
class _State:
    """Where every image is, was, and had its highest loss; `found` is what goes out."""

    now: Tensor
    before: Tensor
    slope: Tensor
    value: Tensor
    best: Tensor
    best_value: Tensor
    best_slope: Tensor
    found: Best
    size: Tensor
    rises: Tensor
    since: int
    reviewed_value: Tensor
    reviewed_size: Tensor

    @classmethod
    def at(cls, x: Tensor, value: Tensor, slope: Tensor, wrong: Tensor, size: float) -> _State:
        sizes = torch.full((len(x), 1, 1, 1), size, device=x.device)
        return cls(
            now=x, before=x, slope=slope, value=value, best=x, best_value=value, best_slope=slope,
            found=Best(x, value, wrong), size=sizes, rises=torch.zeros_like(value), since=0,
            reviewed_value=value, reviewed_size=torch.full_like(sizes, torch.inf),
        )  # fmt: skip

    def move(self, x: Tensor, value: Tensor, slope: Tensor, wrong: Tensor) -> None:
        self.rises = self.rises + (value > self.value)
        self.since += 1
        self.before, self.now, self.value, self.slope = self.now, x, value, slope
        better = value > self.best_value
        self.best, self.best_slope = _chosen(better, x, self.best), _chosen(better, slope, self.best_slope)
        self.best_value = torch.maximum(value, self.best_value)
        self.found.offer(x, value, wrong)

    def review(self) -> None:
        """Halve the steps of those that do not get on, and put them back to their best points."""
        seldom = self.rises < ENOUGH * self.since
        stuck = (self.reviewed_size == self.size).flatten() & (self.reviewed_value >= self.best_value)
        halve = seldom | stuck
        self.reviewed_size, self.reviewed_value = self.size, self.best_value
        self.size = torch.where(halve[:, None, None, None], self.size / 2, self.size)
        self.now, self.before = _chosen(halve, self.best, self.now), _chosen(halve, self.best, self.before)
        self.slope = _chosen(halve, self.best_slope, self.slope)
        self.value = torch.where(halve, self.best_value, self.value)
        self.rises, self.since = torch.zeros_like(self.rises), 0


def _chosen(which: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(which[:, None, None, None], one, other)
