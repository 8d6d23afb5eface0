"""Random changes of pictures, of the kinds that protections are made of, for whoever learns to undo them.

Nothing here belongs to any method: filters, patterns of colour, noise and replaced pixels of random kind and
strength. Working tensors ``float32 [N, C, H, W]`` in [0, 1]; random numbers come from the CPU generator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SHARE = 0.35
TAPS, GRID, NOISE, PIXELS = 0.3, 24 / 255, 16 / 255, 0.02
_SIDES = (3, 5)
_CELLS = (2, 4, 8)
Change = Callable[[Tensor, torch.Generator], Tensor]


def filtered(x: Tensor, generator: torch.Generator) -> Tensor:
    """Filter every picture with taps of its own: 1 in the centre, U(0, 0.3) elsewhere, then sum 1."""
    n, channels, height, width = x.shape
    side = _SIDES[int(torch.randint(len(_SIDES), (1,), generator=generator))]
    taps = TAPS * torch.rand(n, side * side, generator=generator)
    taps[:, side * side // 2] = 1
    kernel = (taps / taps.sum(1, keepdim=True)).repeat_interleave(channels, 0).view(-1, 1, side, side)
    pad = side // 2
    grown = F.pad(x, (pad, pad, pad, pad), mode="replicate").reshape(1, -1, height + 2 * pad, width + 2 * pad)
    return F.conv2d(grown, kernel.to(x.device), groups=n * channels).view_as(x)


def patterned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Add a coarse pattern of up to 24/255 per channel: 2, 4 or 8 cells a side, hard or soft edges."""
    n, channels, height, width = x.shape
    cells = _CELLS[int(torch.randint(len(_CELLS), (1,), generator=generator))]
    strength = GRID * torch.rand(n, 1, 1, 1, generator=generator)
    values = strength * (2 * torch.rand(n, channels, cells, cells, generator=generator) - 1)
    mode = "nearest" if torch.rand(1, generator=generator) < 0.5 else "bilinear"
    return x + F.interpolate(values.to(x.device), (height, width), mode=mode)


def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
    """Add independent noise of a standard deviation up to 16/255, Gaussian or of two values."""
    strength = NOISE * torch.rand(len(x), 1, 1, 1, generator=generator)
    noise = torch.randn(x.shape, generator=generator)
    two_valued = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    return x + (strength * torch.where(two_valued, noise.sign(), noise)).to(x.device)


def pixelated(x: Tensor, generator: torch.Generator) -> Tensor:
    """Replace up to 2 % of the pixels by random colours."""
    n, channels, height, width = x.shape
    share = PIXELS * torch.rand(n, 1, 1, 1, generator=generator)
    hit = torch.rand(n, 1, height, width, generator=generator) < share
    colours = torch.rand(n, channels, height, width, generator=generator)
    return torch.where(hit.to(x.device), colours.to(x.device), x)


CHANGES: tuple[Change, ...] = (filtered, patterned, noisy, pixelated)


def corrupt(x: Tensor, generator: torch.Generator) -> Tensor:
    """Apply every kind of change to about a third of the pictures, in the order of ``CHANGES``.

    A sixth of the pictures stay as they are, so that whoever learns from this also learns to do nothing.

    Args:
        x: ``float32 [N, C, H, W]`` in [0, 1].
        generator: CPU generator.

    Returns:
        The same shape, rounded to 256 levels in [0, 1] as a file would.
    """
    for change in CHANGES if len(x) else ():
        chosen = (torch.rand(len(x), 1, 1, 1, generator=generator) < SHARE).to(x.device)
        x = torch.where(chosen, change(x, generator), x)
    return x.mul(255).round_().clamp_(0, 255).div_(255)
