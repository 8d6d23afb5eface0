"""A small style-based generator: a latent becomes a style, and a style scales the channels of every layer.

Mapping network, modulated convolutions with demodulation, noise inputs and sums of layers' colours are those
of StyleGAN2 (Karras et al., arXiv 1912.04958, section 2 and figure 7c) at a size for processors. Where ours
differs: what is enlarged first is linear in the style of the first layer instead of constant, without which
a decoder learns slowly; enlarging is bilinear; weights have no run-time scale; and nothing here is trained
against a discriminator (:mod:`noli.train.stylised` says how), so that its pictures are softer than a GAN's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import UsageError
from noli.core.model import Model
from noli.zoo.base import conv_block, seeded

ARCH = "style-generator"
SIDES = (16, 32, 64, 128)
_LEAK, _GAIN, _TINY = 0.2, math.sqrt(2), 1e-8
# Channels of layers at 4 pixels; at every doubling of the side after 8 pixels they are halved.
WIDTH, _LEAST = 96, 24


class ModulatedConv(nn.Module):
    """A convolution whose input channels a style scales, ``[N, in, H, W] -> [N, out, H, W]``.

    The scaled weights have unit norm per output channel again (demodulation, equations 1 and 3). Scaling
    inputs and outputs instead of weights is the same and needs no convolution of its own per picture.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        style: Length of a style.
        kernel: Side of the kernel, odd.
        demodulate: Whether the norm is restored; layers that make colours do without.
    """

    def __init__(
        self, inputs: int, outputs: int, style: int, kernel: int = 3, *, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) / (inputs * kernel**2) ** 0.5)
        self.scale, self.demodulate = nn.Linear(style, inputs), demodulate
        nn.init.ones_(self.scale.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the new features; `w` is ``[N, style]``."""
        s = self.scale(w)
        out = F.conv2d(x * s[..., None, None], self.weight, padding=self.weight.shape[2] // 2)
        if self.demodulate:
            norms = (s * s) @ (self.weight * self.weight).sum((2, 3)).T
            out = out * torch.rsqrt(norms + _TINY)[..., None, None]
        return out


class StyleLayer(nn.Module):
    """A modulated convolution, noise with a learned strength, a bias, a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, style)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor, w: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return the new features; without a generator there is no noise."""
        out = self.conv(x, w)
        if noise is not None:
            one = torch.randn(len(x), 1, *x.shape[2:], generator=noise)
            out = out + self.strength * one.to(out.device)
        active: Tensor = F.leaky_relu(out + self.bias, _LEAK) * _GAIN
        return active


class StyleGenerator(nn.Module):
    """Mapping and synthesis.

    Args:
        side: Side of the pictures in pixels: 16, 32, 64 or 128.
        latent: Length of a latent z.
        style: Length of a style w.
        width: Channels at 4 and 8 pixels, halved at every doubling of the side after that.
        depth: Layers of the mapping network.
    """

    mean: Tensor
    spread: Tensor
    style_mean: Tensor

    def __init__(
        self, side: int = 32, latent: int = 64, style: int = 96, width: int = WIDTH, depth: int = 2
    ) -> None:
        super().__init__()
        if side not in SIDES:
            fix = f"take one of {', '.join(map(str, SIDES))}"
            raise UsageError(f"The generator makes no pictures of {side} pixels.", fix=fix)
        self.side, self.latent, self.style = side, latent, style
        lengths = [latent] + [style] * depth
        self.mapping = nn.Sequential(
            *(
                layer
                for one, other in pairwise(lengths)
                for layer in (nn.Linear(one, other), nn.LeakyReLU(_LEAK))
            )
        )
        steps = side.bit_length() - 2
        widths = [width if step < 2 else max(_LEAST, width >> step - 1) for step in range(steps)]
        self.start = nn.Linear(style, widths[0] * 16)
        with torch.no_grad():
            self.start.bias.normal_()
        befores = [widths[0], *widths]
        self.stages = nn.ModuleList(
            nn.ModuleList(StyleLayer(one, own, style) for one in ([before] if step == 0 else [before, own]))
            for step, (before, own) in enumerate(zip(befores, widths, strict=False))
        )
        self.colours = nn.ModuleList(ModulatedConv(own, 3, style, 1, demodulate=False) for own in widths)
        # Where latents lie and what their mean style is: known once it is trained.
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("spread", torch.ones(latent))
        self.register_buffer("style_mean", torch.zeros(style))

    @property
    def layers(self) -> int:
        """Number L of styles of one picture: those of the layers; colours have that of the last before."""
        return 2 * len(self.stages) - 1

    def synthesis(self, w: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return pictures ``[N, 3, S, S]``, about [0, 1] and not clamped.

        Args:
            w: Styles, ``[N, style]`` (W) or one per layer ``[N, L, style]`` (W+).
            noise: Draws the noise inputs; None for none.
        """
        listed = (w if w.ndim == 3 else w[:, None].expand(-1, self.layers, -1)).unbind(1)
        x: Tensor = self.start(listed[0]).unflatten(1, (-1, 4, 4))
        styles = iter(listed)
        picture: Tensor | float = 0.0
        for stage, colour in zip(self.stages, self.colours, strict=True):
            if isinstance(picture, Tensor):
                x, picture = _twice(x), _twice(picture)
            for layer in stage:  # type: ignore[attr-defined]
                told = next(styles)
                x = layer(x, told, noise)
            picture = picture + colour(x, told)
        # Small at first, around mid-grey.
        return torch.as_tensor(0.5 + 0.1 * picture)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures ``[N, 3, S, S]`` of latents ``[N, latent]``."""
        w: Tensor = self.mapping(z)
        return self.synthesis(w)

    def sample(self, count: int, seed: int) -> Tensor:
        """Return pictures ``[count, 3, S, S]`` of latents drawn where those of known pictures lie."""
        z = torch.randn(count, self.latent, generator=torch.Generator().manual_seed(seed))
        made: Tensor = self(self.mean + self.spread * z.to(self.mean.device))
        return made


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def style_generator(seed: int = 0, **sizes: int) -> StyleGenerator:
    """Make an untrained generator; its weights follow from the seed."""
    with seeded(seed):
        return StyleGenerator(**sizes)


def inverter(generator: StyleGenerator, seed: int = 0) -> nn.Sequential:
    """Make an untrained network from pictures ``[N, 3, S, S]`` of a generator's side to its latents.

    It halves the side down to 4 pixels and keeps what lies where, unlike a classifier.
    """
    halvings = generator.side.bit_length() - 3
    widths = [3, *(min(96, 32 << step) for step in range(halvings))]
    with seeded(seed):
        return nn.Sequential(
            *(conv_block(one, other, stride=2) for one, other in pairwise(widths)),
            nn.Flatten(),
            nn.Linear(widths[-1] * 16, generator.latent),
        )


def save_generator(generator: StyleGenerator, path: str | Path) -> None:
    """Write a generator to one safetensors file, with what is needed to build it again."""
    first = generator.mapping[0]
    sizes = {
        "side": generator.side,
        "latent": generator.latent,
        "style": generator.style,
        "width": generator.start.out_features // 16,
        "depth": sum(isinstance(layer, nn.Linear) for layer in generator.mapping),
    }
    assert isinstance(first, nn.Linear)  # noqa: S101 - what the mapping begins with
    Model(generator, mean=(0.0,), std=(1.0,), arch=ARCH, arch_args=sizes).save(path)


def load_generator(path: str | Path) -> StyleGenerator:
    """Read a generator that :func:`save_generator` wrote; no pickle is read.

    Files of StyleGAN2 itself are not read: their layers filter while they enlarge and scale weights as they
    run, so that a converter would have to bring another network.

    Raises:
        DataError: Missing or damaged file, or one of another kind.
    """

    def build(arch: str, sizes: Mapping[str, Any]) -> nn.Module:
        if arch != ARCH:
            raise ValueError(f"it holds {arch!r}, no style-based generator of noli")
        return StyleGenerator(**sizes)

    net = Model.load(path, build).net
    assert isinstance(net, StyleGenerator)  # noqa: S101 - build makes nothing else
    return net.eval()
