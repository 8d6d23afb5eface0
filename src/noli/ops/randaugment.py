"""Random augmentation policies: RandAugment (arXiv 1909.13719), TrivialAugment (arXiv 2103.10158).

Both draw operations per image from one small set. Operations take working images ``float32 [N, C, H, W]``
in [0, 1] and strengths ``float32 [N]`` in [-1, 1] on the images' device, and return images in [0, 1];
strength 0 changes nothing. The set is our own: ten operations, no equalise, autocontrast or colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]


def _wide(strength: Tensor) -> Tensor:
    return strength[:, None, None, None]


def _affine(x: Tensor, rows: list[list[Tensor]]) -> Tensor:
    """Look up every output pixel at ``matrix @ (x, y, 1)``, in [-1, 1] units; black outside."""
    matrix = torch.stack([torch.stack(row, -1) for row in rows], -2)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", align_corners=False)


def rotate(x: Tensor, strength: Tensor) -> Tensor:
    """Rotate about the centre by up to 30 degrees (on a square grid of units: exact for square images)."""
    angle = strength * math.pi / 6
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _affine(x, [[cosine, -sine, zero], [sine, cosine, zero]])


def shear_x(x: Tensor, strength: Tensor) -> Tensor:
    """Shear horizontally by up to 0.3."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _affine(x, [[one, 0.3 * strength, zero], [zero, one, zero]])


def shear_y(x: Tensor, strength: Tensor) -> Tensor:
    """Shear vertically by up to 0.3."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _affine(x, [[one, zero, zero], [0.3 * strength, one, zero]])


def translate_x(x: Tensor, strength: Tensor) -> Tensor:
    """Shift horizontally by up to 30 % of the width."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _affine(x, [[one, zero, 0.6 * strength], [zero, one, zero]])


def translate_y(x: Tensor, strength: Tensor) -> Tensor:
    """Shift vertically by up to 30 % of the height."""
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _affine(x, [[one, zero, zero], [zero, one, 0.6 * strength]])


def contrast(x: Tensor, strength: Tensor) -> Tensor:
    """Scale the distance from the image's mean by 0.1 to 1.9."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return (mean + (1 + 0.9 * _wide(strength)) * (x - mean)).clamp(0, 1)


def brightness(x: Tensor, strength: Tensor) -> Tensor:
    """Scale all values by 0.1 to 1.9."""
    return (x * (1 + 0.9 * _wide(strength))).clamp(0, 1)


def posterize(x: Tensor, strength: Tensor) -> Tensor:
    """Keep 8 down to 4 leading bits of every value, the fewer the larger the strength's size."""
    step = torch.pow(2.0, torch.round(4 * _wide(strength.abs())))
    cut = torch.floor(torch.round(x * 255) / step) * step / 255
    return torch.where(step == 1, x, cut)


def solarize(x: Tensor, strength: Tensor) -> Tensor:
    """Invert all values above ``1 - size of the strength``."""
    return torch.where(x > 1 - _wide(strength.abs()), 1 - x, x)


def sharpness(x: Tensor, strength: Tensor) -> Tensor:
    """Move from a 3 x 3 smoothed image (-0.9) over the image to twice its detail (0.9); edges repeated."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    smooth = (4 * x + 9 * F.avg_pool2d(padded, 3, 1)) / 13
    return (x + 0.9 * _wide(strength) * (x - smooth)).clamp(0, 1)


OPERATIONS: tuple[Operation, ...] = (
    rotate, shear_x, shear_y, translate_x, translate_y,
    contrast, brightness, posterize, solarize, sharpness,
)  # fmt: skip


def rand_augment(
    x: Tensor, generator: torch.Generator, count: int = 2, strength: float | None = 0.5
) -> Tensor:
    """Apply `count` operations to every image, drawn per image and with a random sign.

    Args:
        x: ``float32 [N, C, H, W]`` in [0, 1].
        generator: CPU generator.
        count: Operations per image, one after the other.
        strength: Of all operations, 0 .. 1; None draws it uniformly per image and operation, which with
            ``count=1`` is TrivialAugment.

    Returns:
        New images in [0, 1].
    """
    out, n = x, len(x)
    for _ in range(count):
        kind = torch.randint(0, len(OPERATIONS), (n,), generator=generator)
        size = torch.rand(n, generator=generator) if strength is None else torch.full((n,), strength)
        signed = size * (1 - 2 * torch.randint(0, 2, (n,), generator=generator))
        changed = out.clone()
        for number, operation in enumerate(OPERATIONS):
            rows = torch.nonzero(kind == number)[:, 0]
            if len(rows):
                place = rows.to(x.device)
                changed[place] = operation(out[place], signed[rows].to(x.device))
        out = changed
    return out.clamp(0, 1)
