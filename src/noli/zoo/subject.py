"""What a mark needs of a text-to-image model that denoises latents.

:mod:`noli.zoo.latent` has a small one of our own, :mod:`noli.zoo.pipelines` takes one of diffusers' from a
folder.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from noli.core.errors import UsageError
from noli.core.images import to_float, to_uint8
from noli.core.model import Model, evaluating
from noli.ops.diffusion import Schedule, sample

Images = npt.NDArray[np.uint8]
# What a denoiser is told of N prompts: tensors whose first dimension is N.
Condition = tuple[Tensor, ...]
_BATCH = 64


class LatentModel(ABC):
    """A text-to-image model that denoises latents.

    Attributes:
        schedule: Of its training.
        denoiser: The network that a mark goes into.
        coder: Encoder and decoder of its latents.
        shape: C, h, w of its latents.
        side: Side of its pictures in pixels.
        marked: Regular expression of the names of the denoiser's weights that carry a mark.
        limit: Largest magnitude of a latent while sampling.
    """

    schedule: Schedule
    denoiser: nn.Module
    coder: nn.Module
    shape: tuple[int, int, int]
    side: int
    marked: str
    limit: float

    @abstractmethod
    def to_latents(self, x: Tensor) -> Tensor:
        """Return latents ``[N, C, h, w]`` of pictures ``[N, 3, S, S]`` in [0, 1]: the mode, never drawn."""

    @abstractmethod
    def to_pixels(self, z: Tensor) -> Tensor:
        """Return pictures ``[N, 3, S, S]`` about [0, 1], not clamped; differentiable."""

    @abstractmethod
    def condition(self, prompts: Sequence[str]) -> Condition:
        """Return what the denoiser is told of prompts; the empty one is the unconditional one."""

    @abstractmethod
    def predict(self, z: Tensor, t: Tensor, told: Condition) -> Tensor:
        """Return the denoiser's prediction for noisy latents ``[N, C, h, w]`` at steps ``[N]``."""

    @abstractmethod
    def to(self, device: str | torch.device) -> Self:
        """Move the networks in place."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the model into a folder."""

    def copied(self) -> Self:
        """Return a model with a denoiser of its own; everything else is shared."""
        other = copy.copy(self)
        other.denoiser = copy.deepcopy(self.denoiser)
        return other

    @property
    def device(self) -> torch.device:
        """Where the denoiser lies; everything else must lie there, too."""
        return next(self.denoiser.parameters()).device

    def weight_hash(self) -> str:
        """Return the SHA-256 of the denoiser's weights."""
        return Model(self.denoiser).weight_hash()

    def coder_hash(self) -> str:
        """Return the SHA-256 of the weights that make latents of pictures."""
        return Model(self.coder).weight_hash()

    def encode(self, images: Images) -> Tensor:
        """Return latents ``[N, C, h, w]`` of stored pictures ``uint8 [N, H, W, 3]`` of any size.

        Always the mode, so that the same picture has the same latents.
        """
        parts = []
        with torch.no_grad():
            for start in range(0, len(images), _BATCH):
                fitted = _fitted(images[start : start + _BATCH], self.side)
                parts.append(self.to_latents(torch.from_numpy(to_float(fitted)).to(self.device)).float())
        return torch.cat(parts) if parts else torch.zeros(0, *self.shape, device=self.device)

    def decode(self, z: Tensor) -> Images:
        """Return stored pictures ``uint8 [N, S, S, 3]`` of latents."""
        with torch.no_grad():
            parts = [self.to_pixels(part) for part in torch.split(z, _BATCH)]
        return to_uint8(torch.cat(parts).float().cpu().numpy())

    def generate(
        self,
        prompts: Sequence[str],
        seed: int,
        steps: int = 25,
        guidance: float = 3.0,
        negative: str = "",
    ) -> Images:
        """Make a picture per prompt; the same call gives the same pictures, whatever the batch.

        Args:
            prompts: N prompts.
            seed: Picture i starts from the noise of ``seed + i``.
            steps: Sampling steps.
            guidance: Classifier-free guidance; 1 is none.
            negative: Prompt that guidance leads away from.

        Returns:
            ``uint8 [N, S, S, 3]``.
        """
        return self.decode(self.latents(prompts, seed, steps, guidance, negative))

    def latents(
        self,
        prompts: Sequence[str],
        seed: int,
        steps: int = 25,
        guidance: float = 3.0,
        negative: str = "",
    ) -> Tensor:
        """Return the latents ``[N, C, h, w]`` of which :meth:`generate` makes pictures."""
        if not prompts:
            raise UsageError("There is no prompt to make a picture of.")
        parts = []
        with evaluating(self.denoiser), torch.no_grad():
            told, free = self.condition(prompts), self.condition([negative])
            for start in range(0, len(prompts), _BATCH):
                rows = slice(start, min(start + _BATCH, len(prompts)))
                noise = torch.stack(
                    [start_noise(self.shape, seed + i) for i in range(rows.start, rows.stop)]
                ).to(self.device)
                these, none = (
                    tuple(c[rows] for c in told),
                    tuple(c.expand(len(noise), *c.shape[1:]) for c in free),
                )
                parts.append(
                    sample(
                        lambda z, t, c=these: self.predict(z, t, c),  # type: ignore[misc]
                        self.schedule,
                        noise,
                        steps=steps,
                        guidance=guidance,
                        unconditional=lambda z, t, c=none: self.predict(z, t, c),  # type: ignore[misc]
                        limit=self.limit,
                    )
                )
        return torch.cat(parts)


def start_noise(shape: tuple[int, int, int], seed: int) -> Tensor:
    """Return the noise a picture starts from, unit normal ``[C, h, w]``."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _fitted(images: Images, side: int) -> Images:
    """Squeeze stored pictures to squares of `side`."""
    if images.shape[1:3] == (side, side):
        return images
    how = cv2.INTER_AREA if min(images.shape[1:3]) > side else cv2.INTER_CUBIC
    return np.stack([cv2.resize(one, (side, side), interpolation=how) for one in images])
