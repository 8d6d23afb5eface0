"""Square attack: scores only, no gradients (Andriushchenko et al. 2020, arXiv 1912.00049), L-infinity."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from noli.core.model import evaluating
from noli.ops.adversarial.losses import margin

FIRST_SHARE = 0.8
# After which of 10,000 queries the share of changed pixels is halved (appendix A.1).
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def share(query: int, queries: int) -> float:
    """Return the share of pixels that query number `query` changes, of `queries` in all."""
    at = query / queries * 10_000
    return FIRST_SHARE / float(2 ** sum(at > one for one in HALVED))


def square(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    queries: int,
    generator: torch.Generator,
) -> Tensor:
    """Change random squares by plus or minus `eps` and keep what brings the label's margin down.

    Args:
        model: Callable on working images, logits ``[N, K]``; held in evaluation mode, gives no gradients.
        x: Working images ``[N, C, H, W]`` in [0, 1].
        y: Labels ``int64 [N]``.
        eps: Radius of the ball in [0, 1] units.
        queries: Most questions per image, at least 1.
        generator: CPU generator of the squares.

    Returns:
        Images within `eps` of `x` and in [0, 1]; what is wrong is asked no more.
    """
    best = x.clone()
    if not len(x):
        return best
    with evaluating(model), torch.no_grad():
        score = margin(model(x).float(), y)
        # Vertical stripes are the best start (section 4.2).
        stripes = _signs((len(x), x.shape[1], 1, x.shape[3]), generator).to(x)
        everything = torch.arange(len(x), device=x.device)
        score = _keep(model, best, y, score, everything, (x + eps * stripes).clamp(0, 1))
        for query in range(1, queries):
            rows = (score <= 0).nonzero()[:, 0]
            if not len(rows):
                break
            side = _side(share(query, queries), x.shape[2], x.shape[3])
            tried = _squares(best[rows], x[rows], side, eps, generator)
            score = _keep(model, best, y, score, rows, tried)
    return best


def _keep(model: nn.Module, best: Tensor, y: Tensor, score: Tensor, rows: Tensor, tried: Tensor) -> Tensor:
    found = margin(model(tried).float(), y[rows])
    better = found > score[rows]
    best[rows[better]] = tried[better]
    score = score.clone()
    score[rows[better]] = found[better]
    return score


def _side(part: float, height: int, width: int) -> int:
    return min(max(1, round(math.sqrt(part * height * width))), height, width)


def _squares(now: Tensor, x: Tensor, side: int, eps: float, generator: torch.Generator) -> Tensor:
    """Set one square of every image to `x` plus or minus `eps`, a sign per channel."""
    count, channels, height, width = x.shape
    top, left = (
        torch.randint(0, most - side + 1, (count, 1, 1, 1), generator=generator).to(x.device)
        for most in (height, width)
    )
    signs = _signs((count, channels, 1, 1), generator).to(x)
    rows = torch.arange(height, device=x.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=x.device).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return torch.where(inside, (x + eps * signs).clamp(0, 1), now)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.randint(0, 2, shape, generator=generator) - 1
