"""FAB: the nearest wrong image, by linear boundaries (Croce, Hein 2020, arXiv 1907.02044); L-infinity.

The targeted form: one boundary at a time, towards each of the likeliest other classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noli.core.model import Model, evaluating
from noli.ops.adversarial.losses import runners_up
from noli.ops.folding import folded

# alpha_max, eta and beta of the paper, section 3.4.
MOST_BIAS, OVERSHOOT, BACKWARD = 0.1, 1.05, 0.9
_SMALL = 1e-12


def to_plane(x: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Return the L-infinity-smallest change that puts points on hyperplanes and stays in the box (eq. 4).

    All values move by the same t towards the plane and stop where [0, 1] ends; t solves a piecewise linear
    equation, so that no search is needed. Where the plane cannot be reached, everything moves to the end.

    Args:
        x: Points ``[N, D]`` in [0, 1].
        slope: Normals ``[N, D]``.
        offset: ``[N]``; the plane is ``slope @ z + offset = 0``.

    Returns:
        Changes ``[N, D]``.
    """
    gap = (slope * x).sum(1) + offset
    push = -torch.sign(gap)[:, None] * torch.sign(slope)
    room = torch.where(push > 0, 1 - x, x)
    room = torch.where(push == 0, torch.zeros_like(room), room)
    order = room.argsort(1)
    sorted_room, weight = room.gather(1, order), slope.abs().gather(1, order)
    # Gain when all have moved by the k-th smallest room: those before it are at their ends.
    spent = (sorted_room * weight).cumsum(1)
    left = weight.sum(1, keepdim=True) - weight.cumsum(1)
    gain = spent + sorted_room * left
    wanted = gap.abs()[:, None]
    place = (gain < wanted).sum(1, keepdim=True)
    last = place.clamp(max=x.shape[1] - 1)
    done = torch.where(place > 0, spent.gather(1, (last - 1).clamp(min=0)), torch.zeros_like(wanted))
    moving = left.gather(1, last) + weight.gather(1, last)
    t = torch.where(place < x.shape[1], (wanted - done) / moving.clamp(min=_SMALL), room.max(1, True).values)
    return push * torch.minimum(room, t.clamp(min=0))


def fab(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: int = 100,
    targets: int = 9,
    draws: int = 1,
) -> Tensor:
    """Find images that the model gets wrong as near to `x` as it can, in L-infinity distance.

    Args:
        model: Callable on working images, logits ``[N, K]``; held in evaluation mode.
        x: Working images ``[N, C, H, W]`` in [0, 1].
        y: Labels ``int64 [N]``.
        steps: Linearisations per target, at least 1.
        targets: How many other classes, likeliest first.
        draws: Gradients that are averaged per step, for models that answer at random.

    Returns:
        Images in [0, 1]: the nearest wrong ones; `x` itself where it is wrong already or none was found.
    """
    if not len(x):
        return x.clone()
    light = folded(model) if isinstance(model, Model) else model
    with evaluating(light), torch.no_grad():
        wrong = light(x).argmax(1) != y
        goals = runners_up(light, x, y, targets)
    best, distance = x.clone(), torch.where(wrong, 0.0, torch.inf)
    with evaluating(light), torch.enable_grad():
        for goal in goals:
            made, far = _towards(light, x, y, goal, steps, draws)
            nearer = far < distance
            best = torch.where(nearer[:, None, None, None], made, best)
            distance = torch.minimum(far, distance)
    return best


def _towards(
    model: nn.Module, x: Tensor, y: Tensor, goal: Tensor, steps: int, draws: int
) -> tuple[Tensor, Tensor]:
    now, flat = x.clone(), x.flatten(1)
    best, distance = x.clone(), x.new_full((len(x),), torch.inf)
    for _ in range(steps):
        gap, slope = _boundary(model, now, y, goal, draws)
        here, slope = now.flatten(1), slope.flatten(1)
        offset = gap - (slope * here).sum(1)
        near, far = to_plane(here, slope, offset), to_plane(flat, slope, offset)
        lengths = [change.abs().max(1, keepdim=True).values for change in (near, far)]
        bias = (lengths[0] / (lengths[0] + lengths[1] + _SMALL)).clamp(max=MOST_BIAS)
        after = (1 - bias) * (here + OVERSHOOT * near) + bias * (flat + OVERSHOOT * far)
        now = after.clamp(0, 1).reshape(x.shape)
        with torch.no_grad():
            wrong = model(now).argmax(1) != y
        length = (now - x).abs().flatten(1).max(1).values
        nearer = wrong & (length < distance)
        best = torch.where(nearer[:, None, None, None], now, best)
        distance = torch.where(nearer, length, distance)
        back = (1 - BACKWARD) * x + BACKWARD * now
        now = torch.where(wrong[:, None, None, None], back, now).detach()
    return best, distance


def _boundary(model: nn.Module, x: Tensor, y: Tensor, goal: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """Return the goal's logit above the label's ``[N]``, and its gradient."""
    x = x.detach().requires_grad_(True)
    values, slopes = x.new_zeros(len(x)), torch.zeros_like(x)
    for _ in range(draws):
        logits = model(x).float()
        gap = (logits.gather(1, goal[:, None]) - logits.gather(1, y[:, None]))[:, 0]
        (slope,) = torch.autograd.grad(gap.sum(), x)
        values, slopes = values + gap.detach(), slopes + slope
    return values / draws, (slopes / draws).detach()
