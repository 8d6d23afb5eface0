"""The mark of SleeperMark in latents: bits become a shift that is the same for every picture, and are read.

Wang et al., arXiv 2412.04852, section 2.1 of stage 1. Where ours differs: any side that is a power of two and
any number of bits; below a side of 32 the shift is drawn at full side and in all channels, because a quarter
of so few numbers cannot hold a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from noli.core.errors import UsageError
from noli.core.model import Model
from noli.zoo.base import seeded

ARCH = "latent-mark"
_COARSE = 32


class MessageEncoder(nn.Module):
    """Bits to a shift of latents, which does not depend on the picture.

    Args:
        bits: Length B of a message.
        shape: C, h, w of the latents.
        width: Width of the hidden layers (paper: 1024).
    """

    def __init__(self, bits: int, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        channels, height, side = shape
        coarse = height >= _COARSE
        self.grid = (1, height // 2, side // 2) if coarse else shape
        size = self.grid[0] * self.grid[1] * self.grid[2]
        self.body = nn.Sequential(
            nn.Linear(bits, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, size)
        )
        self.spread = nn.Upsample(scale_factor=2.0) if coarse else nn.Identity()
        self.repeat = channels if coarse else 1
        self.end = nn.Conv2d(channels, channels, 3, padding=1)
        # No mark at first: the pictures are right from the start.
        for weight in self.end.parameters():
            nn.init.zeros_(weight)

    def forward(self, message: Tensor) -> Tensor:
        """Return the shift ``[N, C, h, w]`` of messages ``[N, B]`` of 0 and 1."""
        drawn = self.body(2 * message - 1).unflatten(1, self.grid)
        out: Tensor = self.end(self.spread(drawn.repeat(1, self.repeat, 1, 1)))
        return out


class MessageDecoder(nn.Module):
    """Latents to one logit per bit: convolutions that halve the side down to 4, then three wide layers.

    Args:
        bits: Length B of a message.
        shape: C, h, w of the latents; a power of two, at least 4.
        width: Channels of the first layers, doubled with every halving (paper: 64).
        hidden: Width of the wide layers (paper: 2048).
    """

    def __init__(self, bits: int, shape: tuple[int, int, int], width: int, hidden: int) -> None:
        super().__init__()
        channels, side, other = shape
        if side != other or side < 4 or side & (side - 1):
            why = f"they are {side} x {other}"
            raise UsageError("Latents must be squares whose side is a power of two from 4.", why=why)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.SELU()]
        while side > 4:
            side //= 2
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.SELU()]
            width *= 2
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.SELU()]
        sizes = [width * side * side, hidden, hidden, hidden]
        layers.append(nn.Flatten())
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.SELU()]
        self.body = nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(hidden, bits))
        for layer in self.body:
            # SELU keeps mean and variance only from here (Klambauer et al., arXiv 1706.02515).
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, z: Tensor) -> Tensor:
        """Return logits ``[N, B]`` of latents ``[N, C, h, w]``."""
        out: Tensor = self.body(z)
        return out


class LatentMark(nn.Module):
    """Encoder and decoder of messages, which are trained together."""

    def __init__(
        self, bits: int, shape: tuple[int, int, int], width: int = 64, hidden: int = 512, embed: int = 256
    ) -> None:
        super().__init__()
        self.encoder = MessageEncoder(bits, shape, embed)
        self.decoder = MessageDecoder(bits, shape, width, hidden)

    def forward(self, z: Tensor) -> Tensor:
        """Return logits ``[N, B]`` of latents ``[N, C, h, w]``."""
        out: Tensor = self.decoder(z)
        return out


def new_mark(bits: int, shape: tuple[int, int, int], *, seed: int = 0, **sizes: int) -> Model:
    """Make an untrained mark as a Model; no global generator moves.

    Args:
        bits: Length of a message.
        shape: C, h, w of the latents.
        seed: Seed of the weights.
        **sizes: ``width``, ``hidden``, ``embed`` of :class:`LatentMark`.
    """
    facts = {"bits": bits, "shape": list(shape), **sizes}
    with seeded(seed):
        return Model(build(ARCH, facts), mean=(0,), std=(1,), arch=ARCH, arch_args=facts)


def build(arch: str, facts: Mapping[str, Any]) -> LatentMark:
    """Make an untrained mark from what its file says.

    Raises:
        UsageError: Another kind of network, or sizes that do not fit.
    """
    if arch != ARCH:
        raise UsageError("This is no mark for latents.", where=arch)
    sizes = {name: value for name, value in facts.items() if name not in ("bits", "shape")}
    channels, height, width = facts["shape"]
    return LatentMark(facts["bits"], (channels, height, width), **sizes)


def shift_of(mark: Model, message: Tensor) -> Tensor:
    """Return the shift ``[N, C, h, w]`` of messages ``[N, B]`` of 0 and 1, without gradients."""
    with torch.no_grad():
        net = mark.net
        if not isinstance(net, LatentMark):
            raise UsageError("This is no mark for latents.", where=mark.arch)
        out: Tensor = net.encoder(message)
    return out
