"""From scrambled pictures to an embedding, and from it to pictures (arXiv 2303.05036, a reconstruction).

The paper's observation is that scrambled and plain pictures stay near each other for a suitable encoder, and
that what leaks so guides a strong generator, a StyleGAN or a latent diffusion model. Its body could not be
read. Here a bridge learns to say of a scrambled picture what a frozen encoder says of the plain one (cosine
and InfoNCE); how often that finds the picture in a gallery is measured before anything is generated. Both
generators learn from plain pictures only, so that they serve every scheme: a network from embeddings to
styles, and a latent diffusion model that is told embeddings where others are told texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.model import evaluating
from noli.ops.decipher.invariants import Tokens
from noli.ops.matching import ssim_distance
from noli.train.checkpoint import Checkpoint
from noli.train.contrastive import info_nce
from noli.train.diffusion import Captioned
from noli.train.steps import Steps, Tell, run_steps
from noli.train.stylised import (
    DEVIATION,
    IDENTITY,
    Eye,
    Shown,
    batch_of,
    likeness,
    rows_of,
    styled,
)
from noli.zoo.base import seeded
from noli.zoo.latent import LatentDiffusion
from noli.zoo.likeness import Distance
from noli.zoo.style import StyleGenerator
from noli.zoo.text import TextEncoder
from noli.zoo.tokens import TokenEncoder, token_encoder

Images = npt.NDArray[np.uint8]
BRIDGE = Steps(steps=400, batch=64, lr=1e-3, warmup=0.05, weight_decay=0.01)
MAPPER = Steps(steps=300, batch=32, lr=2e-3, warmup=0.05, weight_decay=0.0)
CODER = Steps(steps=300, batch=32, lr=2e-3, warmup=0.05, weight_decay=0.0)
DENOISER = Steps(steps=2500, batch=48, lr=1e-3, warmup=0.02, average=0.995, bf16="off")
TEMPERATURE = 0.07
SIZES = {"kind": "v", "curve": "cosine", "channels": 8, "width": 48, "coder": 32}
_BATCH = 128


def bridge_of(tokens: Tokens, eye: Eye, seed: int = 0) -> TokenEncoder:
    """Return an untrained bridge from such tokens to the embeddings of an eye."""
    values = tokens.values
    net = token_encoder(values.shape[2], eye.size, values.shape[1] if tokens.placed else 0, seed)
    return net.scaled(torch.from_numpy(values[:500]))


def learn_bridge(
    bridge: nn.Module,
    shown: Shown,
    eye: Eye,
    how: Steps = BRIDGE,
    *,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> list[float]:
    """Train a bridge in place: what it says of a scrambled picture is what the eye sees in the plain one.

    The loss is 1 - cosine, and InfoNCE over the batch with a temperature of 0.07.
    """
    known = eye.of(shown.x)

    def loss(_step: int, draws: torch.Generator) -> Tensor:
        rows = rows_of(len(known), how.batch, draws)
        said = F.normalize(bridge(shown.tokens(rows, 1.0, draws)).float(), dim=1)
        # A picture that was drawn twice matches itself twice.
        return 1 - (said * known[rows]).sum(1).mean() + info_nce(said, known[rows], rows, TEMPERATURE)

    return run_steps("bridge", {"bridge": bridge}, loss, how, checkpoint=checkpoint, tell=tell)


def embedded(bridge: nn.Module, tokens: Tokens) -> Tensor:
    """Return what a bridge says of pictures, ``[N, D]`` of length 1."""
    with torch.no_grad():
        parts = [bridge(part).float() for part in torch.split(torch.from_numpy(tokens.values), _BATCH)]
        return F.normalize(torch.cat(parts), dim=1)


def mapper_of(eye: Eye, generator: StyleGenerator, seed: int = 0) -> nn.Module:
    """Return an untrained network of two layers from embeddings to W+; it begins at the mean style."""
    with seeded(seed):
        last = nn.Linear(256, generator.layers * generator.style)
        net = nn.Sequential(nn.Linear(eye.size, 256), nn.GELU(), last)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return net


def learn_mapper(
    mapper: nn.Module,
    x: Images,
    generator: StyleGenerator,
    eye: Eye,
    how: Steps = MAPPER,
    *,
    perception: Distance = ssim_distance,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> list[float]:
    """Train a network from embeddings of plain pictures to the styles of a frozen generator, in place."""
    pixels, known = torch.from_numpy(np.ascontiguousarray(x)), eye.of(x)
    generator.requires_grad_(False)

    def loss(_step: int, draws: torch.Generator) -> Tensor:
        rows = rows_of(len(known), how.batch, draws)
        away = mapper(known[rows]).float()
        made, target = styled(generator, away).float(), batch_of(pixels, rows)
        unlike = 1 - (eye(made) * known[rows]).sum(1).mean()
        value = likeness(made, target, perception) + IDENTITY * unlike + DEVIATION * away.square().mean()
        return torch.as_tensor(value)

    try:
        return run_steps("mapper", {"mapper": mapper}, loss, how, checkpoint=checkpoint, tell=tell)
    finally:
        generator.requires_grad_(True)


@dataclass(frozen=True)
class Told:
    """Embeddings under names, which a latent diffusion model takes for texts.

    Attributes:
        size: Length of an embedding.
        known: Embeddings ``[D]`` by name; any other name, as the empty one, is told nothing.
    """

    size: int
    known: dict[str, Tensor]

    def add(self, kind: str, rows: Tensor) -> list[str]:
        """Add embeddings ``[N, D]`` and return their names, none of which was used before.

        A diffusion model remembers what it was told under a name.
        """
        names = [f"{kind} {len(self.known) + number}" for number in range(len(rows))]
        self.known.update(zip(names, rows, strict=True))
        return names

    def encoder(self) -> TextEncoder:
        """Return what stands in the place of a text encoder."""
        nothing = torch.zeros(self.size)
        return TextEncoder(
            "embeddings",
            self.size,
            "",
            lambda names: torch.stack([self.known.get(n, nothing) for n in names]),
        )


def guided_model(eye: Eye, side: int, seed: int = 0) -> tuple[LatentDiffusion, Told]:
    """Return an untrained diffusion model that is told embeddings, and where to put them."""
    told = Told(eye.size, {})
    facts = {**SIZES, "text": "embeddings", "side": side}
    return LatentDiffusion(facts, seed=seed, text=told.encoder()), told


def captioned(x: Images, told: Told, eye: Eye) -> Captioned:
    """Return pictures whose captions are the names of their embeddings."""
    return Captioned(x, told.add("public", eye.of(x)))


def best_of(
    model: LatentDiffusion,
    told: Told,
    said: Tensor,
    eye: Eye,
    *,
    samples: int = 4,
    steps: int = 12,
    guidance: float = 2.0,
    seed: int = 0,
) -> Images:
    """Return the picture of each embedding that the eye finds most like it, of several.

    Args:
        model: Trained.
        told: Where its embeddings are.
        said: ``[N, D]``.
        eye: Judges.
        samples: Pictures per embedding.
        steps: Sampling steps.
        guidance: Classifier-free guidance.
        seed: Of the noise they start from.

    Returns:
        ``uint8 [N, S, S, 3]``.
    """
    names = told.add("asked", said)
    tried = []
    with evaluating(model.coder):
        for number in range(samples):
            tried.append(model.generate(names, seed + number * len(names), steps, guidance))
    scores = torch.stack([(eye.of(one) * said).sum(1) for one in tried])
    best = scores.argmax(0).numpy()
    return np.stack([tried[int(which)][row] for row, which in enumerate(best)])


def nearest(said: Tensor, known: Tensor, pictures: Images) -> Images:
    """Return, for each embedding, the public picture whose own is nearest: what needs no generator."""
    found: Images = pictures[(said @ known.T).argmax(1).numpy()]
    return found


def pictures_of(generator: StyleGenerator, aways: Tensor) -> Images:
    """Return stored pictures ``uint8 [N, S, S, 3]`` of what is added to the mean style."""
    with torch.no_grad():
        made = [styled(generator, part) for part in torch.split(aways, _BATCH)]
    pixels = torch.cat(made).clamp(0, 1).mul(255).round().byte()
    found: Images = pixels.permute(0, 2, 3, 1).numpy()
    return found
