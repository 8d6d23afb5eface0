"""Learning noise that is the same for many pictures, against a frozen encoder.

Tensors are working images ``float32 [N, C, H, W]`` in [0, 1]; noise lies in [-eps, eps] of the same units.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.model import Model
from noli.ops.augment import crop_flip
from noli.train.fit import Callback, Loss
from noli.zoo.base import Frozen, seeded
from noli.zoo.generator import generator

Maker = Literal["generator", "direct"]


class Noise(nn.Module):
    """Pictures of noise that can be trained: free values, or what a generator makes of random pictures.

    Args:
        start: Random pictures ``[M, C, S, S]`` in [0, 1].
        eps: Bound in [0, 1] units.
        maker: ``generator`` (UC, arXiv 2301.01217) or ``direct``.
        width: Channels of the generator's first layer.
        seed: Seed of the generator's weights.
    """

    start: Tensor

    def __init__(self, start: Tensor, eps: float, maker: Maker, *, width: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.eps, self.side = eps, start.shape[-1]
        self.net: nn.Module | None = None
        if maker == "generator":
            grown = F.pad(start, (0, -self.side % 4, 0, -self.side % 4), mode="replicate")
            self.register_buffer("start", grown)
            with seeded(seed):
                self.net = generator(start.shape[1], width)
        else:
            self.start = nn.Parameter((start - 0.5) * 0.2)

    def forward(self) -> Tensor:
        """Return the noise ``[M, C, S, S]`` in [-eps, eps].

        tanh is scaled to the bound, not clipped to it: clipping leaves most pixels without a gradient. The
        batch is always all M pictures, so its statistics are the same in training and afterwards.
        """
        values: Tensor = torch.tanh(self.start) if self.net is None else self.net(self.start)
        return self.eps * values[..., : self.side, : self.side]


class Carrier(nn.Module):
    """What `fit` trains: the noise; its output is what the frozen encoder sees."""

    def __init__(self, noise: Noise, encoder: Frozen) -> None:
        super().__init__()
        self.noise, self.encoder = noise, encoder

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``[N, D]`` of images that carry their noise already."""
        found: Tensor = self.encoder(x)
        return found


class AddNoise(Callback):
    """Puts the M pictures of noise on every batch in turn, then shifts it by up to `shift` pixels (ours)."""

    def __init__(self, noise: Noise, shift: int = 0) -> None:
        self.noise, self.shift = noise, shift

    def before_step(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return what the encoder sees."""
        noise = self.noise()
        x = (x + noise[torch.arange(len(x), device=x.device) % len(noise)]).clamp(0, 1)
        return crop_flip(x, self.shift, generator) if self.shift else x


def towards(centre: Tensor) -> Loss:
    """Return UC's loss, ``KL(centre || features)`` of the softmax of a centre ``[D]`` and of features."""
    wanted = F.softmax(centre, dim=0)

    def loss(features: Tensor, _: Tensor) -> Tensor:
        logs = F.log_softmax(features, dim=1)
        return F.kl_div(logs, wanted.to(logs).expand_as(logs), reduction="batchmean")

    return loss
