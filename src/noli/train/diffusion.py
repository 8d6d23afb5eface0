"""Training a small latent diffusion model, and fine-tuning one as a thief does.

First the autoencoder (squared error and a little of the KL divergence, Rombach et al., arXiv 2112.10752), and
the denoiser on its latents. Fine-tuning is the same loss on other pictures, of all weights or of low-rank
additions to the attention (LoRA, Hu et al., arXiv 2106.09685), which are merged at the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from noli.core.errors import DataError
from noli.core.images import to_float
from noli.train.checkpoint import Checkpoint
from noli.train.steps import Steps, Tell, run_steps
from noli.zoo.base import seeded
from noli.zoo.latent import LatentDiffusion
from noli.zoo.subject import Condition, LatentModel

Images = npt.NDArray[np.uint8]
CODER = Steps(steps=1500, batch=32, lr=2e-3, warmup=0.05, weight_decay=0.0)
# At this size bf16 costs more in conversions than it saves.
DENOISER = Steps(steps=4000, batch=48, lr=1e-3, warmup=0.02, average=0.998, bf16="off")
ATTACK = Steps(steps=2000, batch=16, lr=1e-4, schedule="constant", bf16="off")
_KL, _FORGET = 1e-4, 0.1
M = TypeVar("M", bound=LatentModel)
_ATTENTION = re.compile(r"\.(q|k|v|o|to_q|to_k|to_v|to_out\.0)$")


@dataclass(frozen=True)
class Captioned:
    """Pictures with a caption each.

    Attributes:
        x: ``uint8 [N, H, W, 3]``.
        captions: N captions.
    """

    x: Images
    captions: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.x) or len(self.x) != len(self.captions):
            raise DataError(
                "Every picture needs a caption.",
                why=f"there are {len(self.x)} pictures and {len(self.captions)} captions",
            )


@dataclass(frozen=True)
class Latents:
    """Latents of captioned pictures, with what the denoiser is told of each distinct caption.

    Attributes:
        z: ``[N, C, h, w]``.
        rows: Row of `told` of every latent, ``int64 [N]``.
        told: Of K captions; the last one is the empty prompt.
    """

    z: Tensor
    rows: Tensor
    told: Condition

    def pick(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw latents ``[count, C, h, w]`` and the rows of their captions."""
        chosen = torch.randint(len(self.z), (count,), generator=generator)
        return self.z[chosen.to(self.z.device)], self.rows[chosen]

    def condition(self, rows: Tensor) -> Condition:
        """Return what is told of rows."""
        return tuple(part[rows.to(part.device)] for part in self.told)


def latents_of(model: LatentModel, data: Captioned, *, mirrored: bool = False) -> Latents:
    """Encode pictures; with `mirrored`, their mirror images, too."""
    place = {caption: row for row, caption in enumerate(dict.fromkeys(data.captions))}
    rows, z = torch.tensor([place[caption] for caption in data.captions]), model.encode(data.x)
    if mirrored:
        z, rows = torch.cat([z, model.encode(data.x[:, :, ::-1])]), rows.repeat(2)
    return Latents(z, rows, model.condition([*place, ""]))


def learn_coder(
    model: LatentDiffusion,
    x: Images,
    how: Steps = CODER,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> list[float]:
    """Train the autoencoder in place, and fix the unit of its latents.

    Args:
        model: Untrained model.
        x: ``uint8 [N, S, S, 3]`` of the model's side.
        how: How.
        checkpoint: Where it is kept against a kill.
        tell: Progress.
    """
    coder, pixels = model.coder, torch.from_numpy(np.ascontiguousarray(x))
    coder.spread.fill_(1.0)

    def loss(_step: int, generator: torch.Generator) -> Tensor:
        batch = pixels[torch.randint(len(pixels), (how.batch,), generator=generator)]
        batch = batch.permute(0, 3, 1, 2).float().div(255).to(model.device)
        flip = (torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5).to(batch.device)
        batch = torch.where(flip, batch.flip(3), batch)
        mean, log_variance = (part.float() for part in coder.moments(batch))
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        made = coder.decode(mean + noise * (log_variance / 2).exp()).float()
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
        return 4 * F.mse_loss(made, batch) + _KL * divergence

    if checkpoint is not None:
        checkpoint.depends_on(x)
    losses = run_steps("coder", {"coder": coder}, loss, how, checkpoint=checkpoint, tell=tell)
    sample = torch.from_numpy(to_float(x[:2000])).to(model.device)
    with torch.no_grad():
        raw = torch.cat([coder.encode(part) for part in torch.split(sample, 256)])
    coder.spread.copy_(raw.square().mean((0, 2, 3), keepdim=True).sqrt().clamp(min=1e-3))
    return losses


def denoising_loss(
    model: LatentModel, latents: Latents, count: int, generator: torch.Generator, forget: float = 0.0
) -> Tensor:
    """Return the squared error of predictions on `count` drawn latents; some forget their caption."""
    z, rows = latents.pick(count, generator)
    rows = torch.where(torch.rand(count, generator=generator) < forget, len(latents.told[0]) - 1, rows)
    t = torch.randint(model.schedule.steps, (count,), generator=generator).to(z.device)
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    made = model.predict(model.schedule.noised(z, noise, t), t, latents.condition(rows))
    return F.mse_loss(made.float(), model.schedule.target(z, noise, t))


def learn_denoiser(
    model: LatentModel,
    data: Captioned,
    how: Steps = DENOISER,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> list[float]:
    """Train the denoiser in place; a tenth of the captions are forgotten, for guidance."""
    latents = latents_of(model, data, mirrored=True)
    if checkpoint is not None:
        checkpoint.depends_on(data.x, *data.captions)
    model.denoiser.train()
    return run_steps(
        "denoiser",
        {"denoiser": model.denoiser},
        lambda _step, generator: denoising_loss(model, latents, how.batch, generator, _FORGET),
        how,
        checkpoint=checkpoint,
        tell=tell,
    )


class _LowRank(nn.Module):
    """Weight plus a product of two thin matrices, which is nothing at first."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the product added."""
        return weight + self.up @ self.down


def finetune(model: M, data: Captioned, how: Steps = ATTACK, *, rank: int = 0, tell: Tell | None = None) -> M:
    """Return a copy that was fine-tuned on pictures, as somebody does who took the model.

    Args:
        model: Stays as it is.
        data: Pictures of the model's side, with captions.
        how: How.
        rank: Rank of additions to all projections of attention, which alone are trained; 0: all weights.
        tell: Progress.
    """
    copied, latents = model.copied(), latents_of(model, data)
    net = copied.denoiser
    trained = list(net.parameters())
    layers = [m for name, m in net.named_modules() if _ATTENTION.search(name) and isinstance(m, nn.Linear)]
    if rank:
        with seeded(how.seed):
            added = [
                _LowRank(layer.out_features, layer.in_features, rank).to(layer.weight.device)
                for layer in layers
            ]
        for layer, one in zip(layers, added, strict=True):
            parametrize.register_parametrization(layer, "weight", one)
        trained = [weight for one in added for weight in one.parameters()]
    run_steps(
        f"finetune-{rank}",
        {"denoiser": net},
        lambda _step, generator: denoising_loss(copied, latents, how.batch, generator, _FORGET),
        how,
        trained=trained,
        tell=tell,
    )
    for layer in layers if rank else ():
        parametrize.remove_parametrizations(layer, "weight")
    return copied
