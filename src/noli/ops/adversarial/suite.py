"""The standard set of attacks, as pictures that are made on one model and tried on another."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from noli.core.attacks import APGD_CE, APGD_DLR, APGD_T, FAB_T, among
from noli.core.model import evaluating
from noli.ops.adversarial.apgd import apgd, apgd_targeted
from noli.ops.adversarial.fab import fab
from noli.ops.adversarial.losses import dlr


@dataclass(frozen=True)
class Strength:
    """How much work attacks are given; AutoAttack's own: 100 steps, 9 targets, 5,000 queries.

    Attributes:
        eps: Radius of the L-infinity ball in [0, 1] units.
        steps: Gradient steps of every attack.
        targets: Other classes that targeted attacks try.
        queries: Questions per picture of attacks without gradients.
    """

    eps: float
    steps: int = 100
    targets: int = 9
    queries: int = 5000


def by_gradient(
    source: nn.Module,
    x: Tensor,
    y: Tensor,
    how: Strength,
    *,
    draws: int = 1,
    seed: int = 0,
    wanted: Collection[str] = (),
) -> Iterator[tuple[str, Tensor]]:
    """Make pictures on `source` by each of the attacks that use gradients.

    FAB looks for the nearest wrong picture, which is wrong for `source` only by a hair; for another model its
    change is stretched to the whole radius, or it would never carry over.

    Args:
        source: Callable on working images, logits ``[N, K]``.
        x: Working images ``[N, C, H, W]`` in [0, 1].
        y: Labels ``int64 [N]``.
        how: How much work.
        draws: Gradients that are averaged, for a source that answers at random.
        seed: Of the random starts; an attacker's, so that it need not be secret.
        wanted: Names of the attacks that are made, from :mod:`noli.core.attacks`; none: all. Each makes the
            same pictures as among all.

    Yields:
        Name of the attack, and images within the radius.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        classes = source(x[:1]).shape[1] if len(x) else 0
    rest = {"eps": how.eps, "steps": how.steps, "draws": draws, "generator": generator}
    if among(APGD_CE, wanted):
        yield APGD_CE.name, apgd(source, x, y, **rest)  # type: ignore[arg-type]
    elif len(x):
        torch.rand(x.shape, generator=generator)  # its random start: the next one is the same without it
    if classes >= 4 and among(APGD_T, wanted):
        yield APGD_T.name, apgd_targeted(source, x, y, targets=how.targets, **rest)  # type: ignore[arg-type]
    elif classes == 3 and among(APGD_DLR, wanted):
        yield APGD_DLR.name, apgd(source, x, y, loss=dlr, **rest)  # type: ignore[arg-type]
    if among(FAB_T, wanted):
        made = fab(source, x, y, steps=how.steps, targets=how.targets, draws=draws)
        yield FAB_T.name, stretched(x, made, how.eps)


def stretched(x: Tensor, made: Tensor, eps: float) -> Tensor:
    """Return `made` with every change scaled to the L-infinity length `eps`, clipped to [0, 1]."""
    change = made - x
    length = change.abs().flatten(1).amax(1).clamp(min=1e-12)[:, None, None, None]
    return torch.clamp(x + change * (eps / length), 0, 1)


def standing(model: nn.Module, x: Tensor, y: Tensor, how: Strength) -> float:
    """Return the share of pictures that a model gets right after every attack by gradients on itself.

    Args:
        model: Callable on working images, logits ``[N, K]``.
        x: Working images ``[N, C, H, W]``, N >= 1.
        y: Labels ``int64 [N]``.
        how: How much work.
    """
    right = right_on(model, x, y)
    rows = right.nonzero()[:, 0]
    for _, made in by_gradient(model, x[rows], y[rows], how):
        right[rows] &= right_on(model, made, y[rows])
    return float(right.float().mean())


def right_on(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which working images ``[N, C, H, W]`` get their label ``[N]``; one answer per image."""
    if not len(x):
        return torch.zeros(0, dtype=torch.bool)
    with evaluating(model), torch.no_grad():
        right: Tensor = model(x).argmax(1) == y
    return right
