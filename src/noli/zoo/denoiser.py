"""Networks of a small latent diffusion model: an autoencoder, and a U-Net that is told time and text.

The shape is that of Rombach et al. (arXiv 2112.10752) at a size for processors: residual blocks that are told
the step, and transformer blocks that look at the latent itself and at tokens of the text.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 8


class ResBlock(nn.Module):
    """Normalise, activate, convolve, twice, beside a skip: ``[N, in, H, W] -> [N, out, H, W]``.

    Args:
        inputs: Channels in, a multiple of 8.
        outputs: Channels out, a multiple of 8.
        told: Length of the vector that is added in between; 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, told: int = 0) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(_GROUPS, inputs), nn.GroupNorm(_GROUPS, outputs)])
        self.convs = nn.ModuleList(
            [nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)]
        )
        self.told = nn.Linear(told, outputs) if told else None
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """Return the new features; `told` is ``[N, told]``."""
        h = self.convs[0](F.silu(self.norms[0](x)))
        if self.told is not None and told is not None:
            h = h + self.told(F.silu(told))[..., None, None]
        out: Tensor = self.skip(x) + self.convs[1](F.silu(self.norms[1](h)))
        return out


class Attention(nn.Module):
    """Multi-head attention with named projections ``q, k, v, o``.

    Args:
        width: Length of the states.
        other: Length of the tokens that are looked at.
        heads: Heads; they divide `width`.
    """

    def __init__(self, width: int, other: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = nn.Linear(other, width), nn.Linear(other, width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return ``[N, L, width]`` of states ``[N, L, width]`` and tokens ``[N, K, other]``."""
        parts = [
            made.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for made in (self.q(x), self.k(tokens), self.v(tokens))
        ]
        seen = F.scaled_dot_product_attention(*parts)
        out: Tensor = self.o(seen.transpose(1, 2).flatten(2))
        return out


class Transformer(nn.Module):
    """Self-attention, attention to the text, feed-forward: ``[N, width, H, W]`` stays of that shape.

    States are told their place: in so small a network attention does not learn from borders where it is.
    """

    def __init__(self, width: int, text: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.own, self.text = Attention(width, width), Attention(width, text)
        self.ff = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return the new features; `tokens` is ``[N, K, text]``."""
        h = x.flatten(2).transpose(1, 2) + places(x)
        seen = self.norms[0](h)
        h = h + self.own(seen, seen)
        h = h + self.text(self.norms[1](h), tokens)
        h = h + self.ff(self.norms[2](h))
        out: Tensor = h.transpose(1, 2).reshape(x.shape)
        return out


class Stage(nn.Module):
    """A residual block and a transformer block."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.block, self.attend = ResBlock(inputs, outputs, told), Transformer(outputs, told)

    def forward(self, x: Tensor, told: Tensor, tokens: Tensor) -> Tensor:
        """Return ``[N, outputs, H, W]``."""
        out: Tensor = self.attend(self.block(x, told), tokens)
        return out


class UNet(nn.Module):
    """Denoiser with one halving of the side; its ascent carries the larger part of the attention.

    What it predicts is the business of its training.

    Args:
        channels: Channels of the latents.
        text: Length of a text vector.
        width: Channels at full side, a multiple of 8; twice as many at half.
        tokens: How many tokens a text vector becomes.
    """

    def __init__(self, channels: int, text: int, width: int = 48, tokens: int = 4) -> None:
        super().__init__()
        told = 2 * width
        self.width, self.tokens = width, tokens
        self.time = nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told))
        self.pooled, self.split = nn.Linear(text, told), nn.Linear(text, tokens * told)
        self.start = nn.Conv2d(channels, width, 3, padding=1)
        self.down = ResBlock(width, width, told)
        self.halve = nn.Conv2d(width, told, 3, stride=2, padding=1)
        self.middle = Stage(told, told, told)
        self.ups = nn.ModuleList([Stage(2 * told, told, told), Stage(2 * width, width, told)])
        self.enlarge = nn.Conv2d(told, width, 3, padding=1)
        last = nn.Conv2d(width, channels, 3, padding=1)
        self.end = nn.Sequential(nn.GroupNorm(_GROUPS, width), nn.SiLU(), last)
        for weight in last.parameters():
            nn.init.zeros_(weight)

    def forward(self, z: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """Return a prediction of the shape of `z`.

        Args:
            z: Noisy latents ``[N, C, h, w]``, even sides.
            t: Steps ``[N]``.
            text: Text vectors ``[N, D]``.
        """
        told = self.time(waves(t, self.width)) + self.pooled(text)
        tokens = self.split(text).unflatten(1, (self.tokens, -1))
        full = self.down(self.start(z), told)
        half = self.halve(full)
        h = self.middle(half, told, tokens)
        h = self.ups[0](torch.cat([h, half], 1), told, tokens)
        h = self.enlarge(F.interpolate(h, scale_factor=2.0))
        out: Tensor = self.end(self.ups[1](torch.cat([h, full], 1), told, tokens))
        return out


class Autoencoder(nn.Module):
    """Pictures to latents of a quarter of the side, and back.

    Args:
        channels: Channels C of the latents.
        width: Channels at half the side, a multiple of 8; twice as many at a quarter.
    """

    spread: Tensor

    def __init__(self, channels: int = 8, width: int = 32) -> None:
        super().__init__()
        w = width
        self.encoder = nn.Sequential(
            nn.Conv2d(3, w, 4, stride=2, padding=1), ResBlock(w, w),
            nn.Conv2d(w, 2 * w, 4, stride=2, padding=1), ResBlock(2 * w, 2 * w),
            nn.GroupNorm(_GROUPS, 2 * w), nn.SiLU(), nn.Conv2d(2 * w, 2 * channels, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, 2 * w, 3, padding=1), ResBlock(2 * w, 2 * w),
            nn.Conv2d(2 * w, 4 * w, 3, padding=1), nn.PixelShuffle(2), ResBlock(w, w),
            nn.GroupNorm(_GROUPS, w), nn.SiLU(), nn.Conv2d(w, 12, 3, padding=1), nn.PixelShuffle(2),
        )  # fmt: skip
        # What one unit of a latent is, so that the denoiser sees numbers of spread 1.
        self.register_buffer("spread", torch.ones(1, channels, 1, 1))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the raw latents of pictures ``[N, 3, S, S]`` in [0, 1]."""
        mean, log_variance = self.encoder(2 * x - 1).chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents ``[N, C, S/4, S/4]``: the mode, never drawn."""
        return self.moments(x)[0] / self.spread

    def decode(self, z: Tensor) -> Tensor:
        """Return pictures ``[N, 3, S, S]``, about [0, 1] and not clamped."""
        out: Tensor = (self.decoder(z * self.spread) + 1) / 2
        return out


def waves(t: Tensor, width: int) -> Tensor:
    """Return sines and cosines of steps, ``[N, width]`` (Vaswani et al., arXiv 1706.03762)."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = t.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def places(x: Tensor) -> Tensor:
    """Return sines and cosines of row and column of ``[N, C, H, W]``, C a multiple of 4: ``[HW, C]``."""
    height, width = x.shape[2:]
    rows = waves(torch.arange(height, device=x.device), x.shape[1] // 2)
    columns = waves(torch.arange(width, device=x.device), x.shape[1] // 2)
    grid = [rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)]
    return torch.cat(grid, 2).flatten(0, 1)
