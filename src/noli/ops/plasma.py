"""Smooth random fields and the augmentation of UEraser (Qin et al. 2023, arXiv 2303.15127).

Working tensors ``float32 [N, C, H, W]`` in [0, 1]; random numbers come from the CPU generator passed in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.ops.randaugment import rand_augment


def plasma(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw fractal fields: octaves of bilinearly enlarged noise, each weaker than the coarser one before.

    The ratio between octaves, the roughness, is uniform in 0.3 .. 0.7 per field, as in UEraser. UEraser's
    fields come from the diamond-square algorithm; ours have the same octaves and are drawn in batches.

    Args:
        count: N.
        height: Rows of pixels.
        width: Columns of pixels.
        generator: CPU generator.

    Returns:
        ``float32 [N, 1, H, W]``, every field scaled to [0, 1].
    """
    roughness = 0.3 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    field, cells, weight = torch.zeros(count, 1, height, width), 1, torch.ones(count, 1, 1, 1)
    while True:
        rows, columns = min(cells + 1, height), min(cells + 1, width)
        noise = torch.rand(count, 1, rows, columns, generator=generator)
        field = field + weight * F.interpolate(noise, (height, width), mode="bilinear", align_corners=True)
        if cells >= max(height, width) - 1:
            break
        cells, weight = 2 * cells, weight * roughness
    low, high = field.amin((2, 3), keepdim=True), field.amax((2, 3), keepdim=True)
    return (field - low) / (high - low).clamp(min=1e-6)


def plasma_brightness(x: Tensor, generator: torch.Generator) -> Tensor:
    """Brighten and darken smoothly by up to an intensity in 0.5 .. 1 per image."""
    n, _, height, width = x.shape
    intensity = 0.5 + 0.5 * torch.rand(n, 1, 1, 1, generator=generator)
    field = intensity * (2 * plasma(n, height, width, generator) - 1)
    return (x + field.to(x.device)).clamp(0, 1)


def plasma_contrast(x: Tensor, generator: torch.Generator) -> Tensor:
    """Scale the distance from mid grey by a smooth factor in 0 .. 4."""
    n, _, height, width = x.shape
    field = 4 * plasma(n, height, width, generator)
    return (0.5 + field.to(x.device) * (x - 0.5)).clamp(0, 1)


def shuffle_channels(x: Tensor, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Put the channels of a share of the images into a random order; grey images stay."""
    n, channels = x.shape[:2]
    order = torch.rand(n, channels, generator=generator).argsort(1)
    chosen = torch.rand(n, 1, generator=generator) < probability
    order = torch.where(chosen, order, torch.arange(channels)).to(x.device)
    return torch.gather(x, 1, order[:, :, None, None].expand_as(x))


def erase(x: Tensor, generator: torch.Generator) -> Tensor:
    """One augmentation of UEraser: plasma brightness or contrast, channel shuffle, TrivialAugment.

    Every image gets brightness and contrast with probability 1/2 each, so both or neither at times.
    Images are ``float32 [N, C, H, W]`` in [0, 1].
    """
    for change in (plasma_brightness, plasma_contrast):
        chosen = (torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5).to(x.device)
        x = torch.where(chosen, change(x, generator), x)
    return rand_augment(shuffle_channels(x, generator), generator, count=1, strength=None)
