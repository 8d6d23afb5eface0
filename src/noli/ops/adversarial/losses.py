"""What attacks make large, per image: cross-entropy, differences of logits ratios, margins."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]
_SMALL = 1e-12


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy ``[N]`` of logits ``[N, K]`` for labels ``[N]``."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return how far the best other class lies above the label's, ``[N]``; positive where it is wrong."""
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.max(1).values - logits.gather(1, y[:, None])[:, 0]


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Return the difference of logits ratio (Croce, Hein 2020, arXiv 2003.01690, eq. 6), ``[N]``; K >= 3.

    Unlike cross-entropy it does not change when all logits are scaled, so that confidence hides nothing.

    Raises:
        UsageError: Fewer than three classes.
    """
    _needs(logits, 3)
    best = logits.topk(3, dim=1).values
    return margin(logits, y) / (best[:, 0] - best[:, 2] + _SMALL)


def targeted_dlr(target: Tensor) -> Loss:
    """Return the loss that is large where `target` ``[N]`` is chosen instead of the label (eq. 7); K >= 4."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        _needs(logits, 4)
        best = logits.topk(4, dim=1).values
        wanted, right = (logits.gather(1, one[:, None])[:, 0] for one in (target, y))
        return (wanted - right) / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + _SMALL)

    return loss


def runners_up(model: nn.Module, x: Tensor, y: Tensor, count: int) -> Tensor:
    """Return the `count` classes other than the label with the greatest logits, ``int64 [count, N]``."""
    with torch.no_grad():
        logits = model(x).float()
    others = logits.scatter(1, y[:, None], -torch.inf)
    found: Tensor = others.topk(min(count, logits.shape[1] - 1), dim=1).indices.T
    return found


def _needs(logits: Tensor, classes: int) -> None:
    if logits.shape[1] < classes:
        why = f"the model has {logits.shape[1]} classes"
        raise UsageError(f"This loss needs {classes} classes or more.", why=why, fix="use cross-entropy")
