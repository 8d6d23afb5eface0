"""What makes a defence look stronger than it is: the self-checks of AutoAttack (Croce, Hein 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.model import evaluating
from noli.core.robustness import Checks


def check(model: nn.Module, x: Tensor, y: Tensor) -> Checks:
    """Look whether attacks on a model can be believed.

    Args:
        model: Callable on working images, logits ``[N, K]``.
        x: Working images ``[N, C, H, W]``, N >= 1.
        y: Labels ``int64 [N]``.

    Returns:
        Everything but the comparison with an attack without gradients.
    """
    with evaluating(model), torch.no_grad(), _counting() as calls:
        first, second = model(x).float(), model(x).float()
    with evaluating(model), torch.enable_grad():
        asked = x.detach().requires_grad_(True)
        loss = F.cross_entropy(model(asked).float(), y, reduction="sum")
        slope = torch.autograd.grad(loss, asked, allow_unused=True)[0] if loss.requires_grad else None
    slope = torch.zeros_like(x) if slope is None else slope
    sums = first.sum(1)
    return Checks(
        random=not torch.allclose(first, second, atol=1e-5, rtol=1e-4),
        probabilities=bool((first >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)),
        no_gradient=float((slope.flatten(1).abs().amax(1) == 0).float().mean()),
        optimises=bool(calls),
    )


@contextmanager
def _counting() -> Iterator[list[str]]:
    """Note every time that gradients are computed."""
    calls: list[str] = []

    def noting(real: Any, name: str) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        return noted

    grad, backward = torch.autograd.grad, torch.autograd.backward
    with (
        mock.patch.object(torch.autograd, "grad", noting(grad, "grad")),
        mock.patch.object(torch.autograd, "backward", noting(backward, "backward")),
    ):
        yield calls
