"""What reads scrambled pictures: a set of blocks, or patches at their places, becomes one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noli.zoo.base import seeded
from noli.zoo.isotropic import Attend


class TokenEncoder(nn.Module):
    """Attention over tokens, mean and maximum over all, one linear head: ``[N, T, F] -> [N, outputs]``.

    Without places the order of the tokens does not matter, as an attacker needs it where blocks are permuted
    (Deep Sets, arXiv 1703.06114).

    Args:
        features: Numbers F of a token.
        outputs: Length of the vector.
        places: Number T of tokens that are known by their place; 0: a set of any size.
        width: Features inside.
        depth: Blocks of attention.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, features: int, outputs: int, places: int = 0, width: int = 96, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, places, width)) if places else None
        self.blocks = nn.Sequential(*(Attend(width, 4) for _ in range(depth)), nn.LayerNorm(width))
        self.head = nn.Linear(2 * width, outputs)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

    def scaled(self, tokens: Tensor) -> TokenEncoder:
        """Fix centre and scale of the features by tokens ``[..., F]``, in place."""
        flat = tokens.reshape(-1, tokens.shape[-1]).float()
        self.centre.copy_(flat.mean(0))
        self.spread.copy_(flat.std(0, correction=0).clamp(min=1e-3))
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors."""
        x = self.embed(((tokens.float() - self.centre) / self.spread).clamp(-6, 6))
        if self.places is not None:
            x = x + self.places
        x = self.blocks(x)
        out: Tensor = self.head(torch.cat([x.mean(1), x.amax(1)], 1))
        return out


def token_encoder(features: int, outputs: int, places: int = 0, seed: int = 0) -> TokenEncoder:
    """Make an untrained encoder; its weights follow from the seed."""
    with seeded(seed):
        return TokenEncoder(features, outputs, places)
