"""What a trainer does to protected images: squeezing, sharpening and filtering, displacing.

Functions on whole data sets take and return ``uint8 [N, H, W, C]``; functions that draw fresh randomness
for every batch take and return working tensors ``float32 [N, C, H, W]``. torch is imported on first use.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from noli.core.images import to_float, to_uint8

if TYPE_CHECKING:
    import torch

Images = npt.NDArray[np.uint8]


def grayscale(x: Images) -> Images:
    """Replace colour by luma (ITU-R 601), keeping the number of channels; grey images pass through."""
    if x.shape[3] == 1:
        return x
    luma = x.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat((luma + 0.5).astype(np.uint8)[..., None], 3, axis=3)


def jpeg(x: Images, quality: int) -> Images:
    """Encode and decode every image as JPEG (4:2:0 for colour).

    Args:
        x: ``uint8 [N, H, W, C]``.
        quality: 1 .. 100.
    """
    import cv2

    mode = cv2.IMREAD_GRAYSCALE if x.shape[3] == 1 else cv2.IMREAD_COLOR
    out = np.empty_like(x)
    for i, image in enumerate(x):
        # OpenCV wants blue first.
        blue_first = np.ascontiguousarray(image[..., ::-1])
        _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out[i] = np.asarray(cv2.imdecode(data, mode), np.uint8).reshape(image.shape)[..., ::-1]
    return out


def recompressed(x: torch.Tensor, low: int, high: int, generator: torch.Generator) -> torch.Tensor:
    """Encode and decode every image as JPEG, its quality uniform in `low` .. `high` (within 1 .. 100).

    Images are ``[N, C, H, W]`` in [0, 1]; what comes back is of the same shape, device and type.
    """
    import torch

    qualities = torch.randint(low, high + 1, (len(x),), generator=generator).tolist()
    stored = to_uint8(x.detach().float().cpu().numpy())
    made = [jpeg(stored[i : i + 1], quality) for i, quality in enumerate(qualities)]
    return torch.from_numpy(to_float(np.concatenate([stored[:0], *made]))).to(x)


def sharpen_lowpass(x: torch.Tensor, generator: torch.Generator | None, *, keep: float = 0.3) -> torch.Tensor:
    """Random sharpening kernels, then a frequency filter: RSK+FF (Kim and Sandoval-Segura, arXiv 2411.01742).

    Every image gets its own 3 x 3 kernel: centre c ~ N(2.5, 0.1), each of the four neighbours
    ``-N((c - 1) / 4, 0.1)``, corners 0. Then only the lowest `keep` of the rows and columns of its
    two-dimensional DCT stay.

    Args:
        x: ``[N, C, H, W]`` in [0, 1].
        generator: CPU generator; None uses the mean kernel for all images (for test images).
        keep: Share of frequencies kept per axis, in (0, 1].

    Returns:
        Filtered images; values may leave [0, 1], which a trainer has no reason to mind.
    """
    import torch
    import torch.nn.functional as F

    n, _, height, width = x.shape
    centre, sides = torch.full((n,), 2.5), torch.full((4, n), 1.5 / 4)
    if generator is not None:
        centre = centre + 0.1 * torch.randn(n, generator=generator)
        sides = (centre - 1) / 4 + 0.1 * torch.randn(4, n, generator=generator)
    centre, sides = centre.to(x.device)[:, None, None, None], sides.to(x.device)[:, :, None, None, None]
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    sharp = centre * x
    for weight, (dy, dx) in zip(sides, ((0, 1), (2, 1), (1, 0), (1, 2)), strict=True):
        sharp = sharp - weight * p[:, :, dy : dy + height, dx : dx + width]
    rows = torch.from_numpy(lowpass_matrix(height, keep)).to(x.device)
    columns = torch.from_numpy(lowpass_matrix(width, keep)).to(x.device)
    return rows @ sharp @ columns


@cache
def lowpass_matrix(size: int, keep: float) -> npt.NDArray[np.float32]:
    """Symmetric ``float32 [size, size]`` projection onto the lowest ``ceil(keep * size)`` DCT-II vectors."""
    count = min(size, math.ceil(keep * size))
    k, i = np.arange(count)[:, None], np.arange(size)[None]
    basis = np.cos(np.pi * k * (2 * i + 1) / (2 * size)) * np.sqrt(np.where(k == 0, 1, 2) / size)
    projection: npt.NDArray[np.float32] = (basis.T @ basis).astype(np.float32)
    return projection


def displace(x: torch.Tensor, reach: float, generator: torch.Generator) -> torch.Tensor:
    """Move every pixel at random: COIN (Li et al., arXiv 2311.18403).

    Output pixel (i, j) is the bilinear value of the image at ``(i + dy, j + dx)`` with dy and dx from
    U(-reach, reach), wrapping around the border; all channels move together.

    Args:
        x: ``[N, C, H, W]``.
        reach: Largest displacement in pixels.
        generator: CPU generator.
    """
    import torch
    import torch.nn.functional as F

    n, _, height, width = x.shape
    shift = (torch.rand(n, height, width, 2, generator=generator) * 2 - 1) * reach
    pad = math.ceil(reach) + 1
    # Explicit wrapped indices, because circular padding refuses to pad by more than the image.
    rows, columns = torch.arange(-pad, height + pad) % height, torch.arange(-pad, width + pad) % width
    wrapped = x[:, :, rows.to(x.device)][:, :, :, columns.to(x.device)]
    target_x = torch.arange(width) + pad + shift[..., 0]
    target_y = torch.arange(height)[:, None] + pad + shift[..., 1]
    # grid_sample addresses the first and last pixel centres as -1 and 1.
    grid = torch.stack(
        (target_x * 2 / (width + 2 * pad - 1) - 1, target_y * 2 / (height + 2 * pad - 1) - 1), dim=-1
    )
    return F.grid_sample(wrapped, grid.to(x.device), mode="bilinear", align_corners=True)
