"""A small latent diffusion model of our own: the subject of examples, tests and measurements.

Text conditioning is a frozen sentence encoder (:mod:`noli.zoo.text`). One safetensors file holds the networks
and what is needed to build them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from noli.core.errors import DataError, UsageError
from noli.core.model import Model
from noli.ops.diffusion import Curve, Kind, schedule
from noli.zoo.base import seeded
from noli.zoo.denoiser import Autoencoder, UNet
from noli.zoo.subject import Condition, LatentModel
from noli.zoo.text import PACKAGED, TextEncoder, load_text

ARCH, SCHEMA = "latent-diffusion", 1
WEIGHTS = "model.safetensors"


class LatentDiffusion(LatentModel):
    """A small latent diffusion model of our own: an autoencoder, a U-Net, a frozen text encoder.

    Args:
        facts: ``text`` (name of the encoder), ``kind``, ``curve``, ``side``, ``channels``, ``width`` (of the
            U-Net), ``coder`` (width of the autoencoder).
        seed: Seed of the untrained weights.
        text: The encoder, if it is loaded already.
    """

    coder: Autoencoder
    marked = r"^ups\.\d+\.attend\.(own|text|ff)\."
    limit = 6.0

    def __init__(self, facts: dict[str, Any], *, seed: int = 0, text: TextEncoder | None = None) -> None:
        # Wanted as they are also where networks are built without memory, to compare sizes with a file's.
        with torch.device("cpu"):
            self.text = text or load_text(facts["text"])
            self.schedule = schedule(facts["kind"], facts["curve"])
        self.facts = {**facts, "text": self.text.name, "text_digest": self.text.digest}
        self.side, channels = facts["side"], facts["channels"]
        if self.side % 8:
            raise UsageError("The side of the pictures must be a multiple of 8.", where=f"side={self.side}")
        self.shape = (channels, self.side // 4, self.side // 4)
        with seeded(seed):
            self.coder = Autoencoder(channels, facts["coder"])
            self.denoiser = UNet(channels, self.text.size, facts["width"])
        self._told: dict[str, Tensor] = {}

    def to(self, device: str | torch.device) -> Self:
        """Move the networks in place."""
        self.coder.to(device)
        self.denoiser.to(device)
        return self

    def to_latents(self, x: Tensor) -> Tensor:
        """Return the mode of the latents."""
        return self.coder.encode(x)

    def to_pixels(self, z: Tensor) -> Tensor:
        """Return pictures, not clamped."""
        return self.coder.decode(z)

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Return the text vectors ``([N, D],)``."""
        fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._told]
        self._told |= dict(zip(fresh, self.text(fresh), strict=True))
        return (torch.stack([self._told[prompt] for prompt in prompts]).to(self.device),)

    def predict(self, z: Tensor, t: Tensor, told: Condition) -> Tensor:
        """Return the U-Net's prediction."""
        out: Tensor = self.denoiser(z, t, told[0])
        return out

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` into a folder.

        Raises:
            RunError: The place cannot be written.
        """
        nets = nn.ModuleDict({"coder": self.coder, "denoiser": self.denoiser})
        Model(nets, arch=ARCH, arch_args={**self.facts, "schema": SCHEMA}).save(Path(folder) / WEIGHTS)

    @classmethod
    def load(cls, folder: str | Path, text: TextEncoder | None = None) -> LatentDiffusion:
        """Read a model written by :meth:`save`; no pickle is read.

        Raises:
            DataError: Missing or damaged files, another kind of model, or another text encoder.
            MissingPrerequisite: Its text encoder is not installed.
        """
        made: list[LatentDiffusion] = []

        def build(arch: str, facts: Any) -> nn.Module:
            if arch != ARCH or facts["schema"] != SCHEMA:
                raise ValueError(f"it holds {arch!r}, no latent diffusion model of this version")
            known = made[0].text if made else text
            made.append(cls({k: v for k, v in facts.items() if k != "schema"}, text=known))
            return nn.ModuleDict({"coder": made[-1].coder, "denoiser": made[-1].denoiser})

        found = Model.load(Path(folder) / WEIGHTS, build)
        if made[-1].facts["text_digest"] != found.arch_args["text_digest"]:
            raise DataError(
                "The model was trained with another text encoder of this name.",
                where=made[-1].text.name,
                fix="bring back the encoder it was trained with, or train a new model",
            )
        return made[-1]


def new_latent(
    *,
    text: str = PACKAGED,
    kind: Kind = "v",
    curve: Curve = "cosine",
    side: int = 32,
    channels: int = 8,
    width: int = 48,
    coder: int = 32,
    seed: int = 0,
) -> LatentDiffusion:
    """Make an untrained model; no global generator moves.

    Args:
        text: Text encoder (:func:`noli.zoo.text.load_text`).
        kind: What the denoiser predicts.
        curve: Its schedule.
        side: Side of the pictures in pixels, a multiple of 8.
        channels: Channels of the latents, whose side is a quarter.
        width: Channels of the U-Net, a multiple of 8.
        coder: Channels of the autoencoder, a multiple of 8.
        seed: Seed of the weights.

    Raises:
        UsageError: Sizes that do not fit.
        MissingPrerequisite: The text encoder is not installed.
    """
    sizes = {"side": side, "channels": channels, "width": width, "coder": coder}
    return LatentDiffusion({"text": text, "kind": kind, "curve": curve, **sizes}, seed=seed)
