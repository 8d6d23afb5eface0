"""Random views for contrastive learning (SimCLR, arXiv 2002.05709, appendix A; without hue and blur)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
SMALLEST_AREA = 0.25
STRENGTH = 0.4
GREY_SHARE = 0.2


def random_view(x: Tensor, generator: torch.Generator) -> Tensor:
    """Crop, mirror and recolour every image on its own.

    A square window of 25 to 100 % of the area is stretched to the whole picture, mirrored in half of the
    cases; brightness, contrast and, with three channels, saturation change by up to 40 %; one picture in five
    loses its colour.

    Args:
        x: Working images ``float32 [N, C, H, W]`` in [0, 1].
        generator: CPU generator.

    Returns:
        The same shape, in [0, 1].
    """
    return recolour(window(x, generator), generator) if len(x) else x


def window(x: Tensor, generator: torch.Generator) -> Tensor:
    """Cut a random square window out of every image and stretch it to the image's size."""
    size, across, down, mirror = torch.rand((4, len(x)), generator=generator).to(x.device)
    half = (SMALLEST_AREA + (1 - SMALLEST_AREA) * size).sqrt()
    flip = torch.where(mirror < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(half)
    rows = [
        torch.stack([half * flip, zero, (1 - half) * (2 * across - 1)], -1),
        torch.stack([zero, half, (1 - half) * (2 * down - 1)], -1),
    ]
    grid = F.affine_grid(torch.stack(rows, -2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recolour(x: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of every image at random."""
    draws = torch.rand((4, len(x), 1, 1, 1), generator=generator).to(x.device)
    brightness, contrast, saturation = 1 + STRENGTH * (2 * draws[:3] - 1)
    x = (x * brightness).clamp(0, 1)
    level = grey(x).mean((1, 2, 3), keepdim=True)
    x = (level + contrast * (x - level)).clamp(0, 1)
    if x.shape[1] == 3:
        x = grey(x) + torch.where(draws[3] < GREY_SHARE, 0.0, saturation) * (x - grey(x))
    return x.clamp(0, 1)


def grey(x: Tensor) -> Tensor:
    """Return the brightness ``[N, 1, H, W]`` of images with 1 or 3 channels."""
    if x.shape[1] == 1:
        return x
    weights = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)
