"""What happens to pictures on their way: compressed, blurred, noisy, made smaller and larger again.

The strengths are those under which SleeperMark (arXiv 2412.04852) is measured at 512 pixels; on smaller
pictures the same ones do far more harm. Working tensors ``[N, C, H, W]`` in [0, 1]; all of them let gradients
through, JPEG as if it had changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.ops.countermeasures import recompressed

QUALITY, NOISE, SIGMA, SMALLER = 50, 0.1, 4.0, 0.5
Distortion = Callable[[Tensor, torch.Generator], Tensor]


def compressed(x: Tensor, generator: torch.Generator) -> Tensor:
    """Encode and decode as JPEG of quality 50."""
    coded = recompressed(x.clamp(0, 1), QUALITY, QUALITY, generator)
    return x + (coded - x).detach()


def blurred(x: Tensor, generator: torch.Generator) -> Tensor:
    """Filter with a Gaussian of 3 x 3 pixels and standard deviation 4, which is almost a mean."""
    taps = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / (2 * SIGMA**2))
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    kernel = kernel.to(x).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])


def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of standard deviation 0.1."""
    return x + NOISE * torch.randn(x.shape, generator=generator).to(x)


def resized(x: Tensor, generator: torch.Generator) -> Tensor:
    """Halve the sides by averaging and double them again."""
    small = F.interpolate(x, scale_factor=SMALLER, mode="area")
    return F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)


DISTORTIONS: Mapping[str, Distortion] = {
    "jpeg": compressed, "blur": blurred, "noise": noisy, "resize": resized,
}  # fmt: skip


def distort(x: Tensor, generator: torch.Generator) -> Tensor:
    """Do one of the distortions, drawn for the whole batch."""
    kinds = list(DISTORTIONS.values())
    return kinds[int(torch.randint(len(kinds), (1,), generator=generator))](x, generator)
