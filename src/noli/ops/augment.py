"""Batched training augmentation on working tensors ``float32 [N, C, H, W]``.

Random numbers come from the CPU generator that is passed in; the images may live on any device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_flip(x: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Shift every image by up to `pad` pixels (black border) and mirror half of them.

    Args:
        x: ``[N, C, H, W]``.
        pad: Largest shift in pixels, at least 0.
        generator: CPU generator.

    Returns:
        New tensor of the same shape, channels-last in memory.
    """
    n, channels, height, width = x.shape
    top = torch.randint(0, 2 * pad + 1, (n,), generator=generator)
    left = torch.randint(0, 2 * pad + 1, (n,), generator=generator)
    flipped = torch.rand(n, generator=generator) < 0.5
    columns = torch.arange(width).expand(n, width)
    columns = torch.where(flipped[:, None], width - 1 - columns, columns) + left[:, None]
    rows = torch.arange(height) + top[:, None]
    padded = F.pad(x, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    # One flat index per pixel: rows of `channels` values are copied whole.
    stride = width + 2 * pad
    start = torch.arange(n) * (height + 2 * pad) * stride
    index = (start[:, None, None] + rows[:, :, None] * stride + columns[:, None, :]).reshape(-1)
    picked = padded.reshape(-1, channels).index_select(0, index.to(x.device))
    return picked.view(n, height, width, channels).permute(0, 3, 1, 2)


def windowed(x: Tensor, generator: torch.Generator) -> Tensor:
    """Show every image in a display window of its own: what lies outside becomes black or white.

    The window's lower end is uniform in 0 .. 0.25, its upper end in 0.75 .. 1, as a reader changes level and
    width. Images are ``[N, C, H, W]`` in [0, 1].
    """
    low, high = torch.rand((2, len(x), 1, 1, 1), generator=generator).to(x) * 0.25
    shown: Tensor = ((x - low) / (1 - high - low)).clamp(0, 1)
    return shown


def cutout(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Blank one square per image to mid grey (DeVries and Taylor 2017, arXiv 1708.04552).

    Args:
        x: ``[N, C, H, W]``.
        side: Side of the square in pixels; its centre is uniform over the image, so it may be cut off.
        generator: CPU generator.
    """
    n, _, height, width = x.shape
    top = torch.randint(0, height, (n, 1), generator=generator) - side // 2
    left = torch.randint(0, width, (n, 1), generator=generator) - side // 2
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top) & (rows < top + side)
    inside_columns = (columns >= left) & (columns < left + side)
    hole = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None].to(x.device)
    return x.masked_fill(hole, 0.5)


def mixup(
    x: Tensor, y: Tensor, classes: int, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Blend every image and its label with another of the batch (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        x: ``[N, C, H, W]``.
        y: Labels ``int64 [N]`` or soft labels ``float32 [N, K]``.
        classes: K.
        alpha: Shape of the symmetric Beta distribution of the weights, in (0, 1].
        generator: CPU generator.

    Returns:
        Blended images and soft labels ``float32 [N, K]``.
    """
    soft = F.one_hot(y, classes).float() if y.ndim == 1 else y
    other = torch.randperm(len(x), generator=generator).to(x.device)
    weight = symmetric_beta(len(x), alpha, generator).to(x.device)
    mixed = torch.lerp(x[other], x, weight[:, None, None, None])
    return mixed, torch.lerp(soft[other], soft, weight[:, None])


def symmetric_beta(count: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Draw ``float32 [count]`` from Beta(alpha, alpha), 0 < alpha <= 1, by Johnk's rejection method.

    torch's own Beta only draws from the global generator.
    """
    drawn = torch.empty(0)
    while len(drawn) < count:
        u, v = torch.rand(2, 2 * count + 8, generator=generator, dtype=torch.float64).pow_(1 / alpha)
        accepted = (u + v <= 1) & (u + v > 0)
        drawn = torch.cat([drawn, (u / (u + v))[accepted].float()])
    return drawn[:count]


def cutmix(
    x: Tensor, y: Tensor, classes: int, generator: torch.Generator, probability: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Paste a box of another image of the batch and mix the labels by area (Yun et al., arXiv 1905.04899).

    Every image has a box of its own: its area is uniform (Beta(1, 1)), its centre uniform over the image, so
    that it may be cut off. Labels are mixed by what the box really covers.

    Args:
        x: ``[N, C, H, W]``.
        y: Labels ``int64 [N]`` or soft labels ``float32 [N, K]``.
        classes: K.
        generator: CPU generator.
        probability: Share of images that get a box.

    Returns:
        Images and soft labels ``float32 [N, K]``.
    """
    n, _, height, width = x.shape
    soft = F.one_hot(y, classes).float() if y.ndim == 1 else y
    other = torch.randperm(n, generator=generator).to(x.device)
    side, used, row, column = torch.rand(4, n, 1, generator=generator)
    side = side.sqrt() * (used < probability)
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows + 0.5 - row * height).abs() < side * height / 2
    inside_columns = (columns + 0.5 - column * width).abs() < side * width / 2
    box = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None].to(x.device)
    share = box.float().mean((1, 2, 3))[:, None]
    return torch.where(box, x[other], x), torch.lerp(soft, soft[other], share)
