"""From scrambled pictures into the styles of a generator (after arXiv 2209.07953: a reconstruction).

The paper trains an encoder from block-scrambled faces into the latent space of a StyleGAN, on plain and
encrypted pictures, and reads from what comes out how a person looks. Its body could not be read: losses are
those of encoders of its kind (pixels, perception, identity, distance from the mean style: Richardson et al.,
arXiv 2008.00951), and its strategy is taken to be that plain pictures come first and ever more encrypted ones
join them. The generator is a decoder here, trained with an encoder of plain pictures on squared error and
SSIM instead of against a discriminator, which takes minutes of one processor core instead of days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli import zoo
from noli.core.errors import DataError
from noli.core.images import to_float
from noli.core.model import Model, evaluating
from noli.ops.decipher.invariants import Tokens
from noli.ops.matching import ssim_distance
from noli.train.checkpoint import Checkpoint
from noli.train.contrastive import PROJECTION, learn_encoder
from noli.train.recipe import Recipe
from noli.train.steps import Steps, Tell, run_steps
from noli.zoo.likeness import Distance
from noli.zoo.style import StyleGenerator, inverter
from noli.zoo.tokens import TokenEncoder, token_encoder

Images = npt.NDArray[np.uint8]
GENERATOR = Steps(steps=900, batch=32, lr=3e-3, warmup=0.05, weight_decay=0.0)
ENCODER = Steps(steps=350, batch=32, lr=1e-3, warmup=0.05, weight_decay=0.01)
EYE = Recipe(epochs=1, min_steps=250, optimiser="adam", lr=2e-3, weight_decay=1e-4)
# Shares of the loss; the first one is of squared error.
PERCEPTION, IDENTITY, DEVIATION = 0.8, 0.1, 0.005
# Squared errors of pictures in [0, 1] are small beside distances.
_SQUARES, _MOMENT = 8.0, 0.02
_BATCH = 128


@dataclass(frozen=True)
class Shown:
    """What an encoder learns from.

    Attributes:
        x: ``uint8 [N, S, S, 3]``: what is to come out.
        scrambled: Tokens of the same pictures, each under keys of its own.
        plain: Tokens of the same pictures in plain, of the same size; None for training without them.
    """

    x: Images
    scrambled: tuple[Tokens, ...]
    plain: Tokens | None = None

    def __post_init__(self) -> None:
        shapes = {one.values.shape for one in (*self.scrambled, self.plain) if one is not None}
        if len(shapes) != 1 or next(iter(shapes))[0] != len(self.x) or not len(self.x):
            raise DataError("Pictures and tokens do not belong together.", why=f"{len(self.x)}, {shapes}")

    def tokens(self, rows: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Return tokens ``[B, T, F]`` of pictures, a share of them scrambled under one of their keys."""
        which = torch.randint(len(self.scrambled), (1,), generator=generator)
        found = torch.from_numpy(self.scrambled[int(which)].values[rows.numpy()])
        hidden = torch.rand(len(rows), 1, 1, generator=generator) < share
        if self.plain is None or bool(hidden.all()):
            return found
        return torch.where(hidden, found, torch.from_numpy(self.plain.values[rows.numpy()]))


class Eye(nn.Module):
    """A frozen encoder of pictures whose features are centred, scaled and of length 1.

    Args:
        model: Its ``features`` are taken.
        x: ``uint8 [N, S, S, C]`` by which they are centred.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, model: Model, x: Images) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.register_buffer("centre", torch.zeros(1))
        self.register_buffer("spread", torch.ones(1))
        raw = torch.cat([self.model.features(part).detach() for part in torch.split(working(x), _BATCH)])
        self.centre, self.spread = raw.mean(0), raw.std(0).clamp(min=1e-3)

    @property
    def size(self) -> int:
        """Length of a vector."""
        return len(self.centre)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[N, D]`` of working images ``[N, C, S, S]``; gradients reach the images."""
        seen: Tensor = F.normalize((self.model.features(x) - self.centre) / self.spread, dim=1)
        return seen

    def of(self, images: Images) -> Tensor:
        """Return ``[N, D]`` of stored images, without gradients."""
        with torch.no_grad():
            return torch.cat([self(part) for part in torch.split(working(images), _BATCH)])


def working(images: Images) -> Tensor:
    """Return stored images ``uint8 [N, H, W, C]`` as working ones ``[N, C, H, W]``."""
    return torch.from_numpy(to_float(images))


def learn_eye(x: Images, recipe: Recipe = EYE, checkpoint: Checkpoint | None = None) -> Model:
    """Train an encoder of pictures without labels (SimCLR); see :class:`Eye`."""
    return learn_encoder(x, "tiny", recipe, seed=recipe.seed, checkpoint=checkpoint)


def untrained_eye(x: Images) -> Model:
    """Return the network of :func:`learn_eye` before it is trained."""
    return zoo.network("tiny", PROJECTION, x.shape[3], size=x.shape[1])


def plain_encoder(generator: StyleGenerator, seed: int = 0) -> Model:
    """Return an untrained network from pictures of the generator's side to its latents."""
    return Model(inverter(generator, seed))


def learn_generator(
    generator: StyleGenerator,
    encoder: Model,
    x: Images,
    how: Steps = GENERATOR,
    *,
    frozen: bool = False,
    perception: Distance = ssim_distance,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> list[float]:
    """Train a generator, and the encoder of plain pictures into its latents, in place.

    Args:
        generator: Becomes the decoder of `encoder`.
        encoder: See :func:`plain_encoder`; what it reaches bounds any encoder of scrambled pictures.
        x: ``uint8 [N, S, S, 3]`` of the generator's side.
        how: How.
        frozen: Leave the generator as it is: its weights were given.
        perception: Distance of pictures beside the squared error.
        checkpoint: Where it is kept against a kill.
        tell: Progress.

    Returns:
        The loss of every step.

    Raises:
        DataError: Pictures of another side.
    """
    if x.shape[1:] != (generator.side, generator.side, 3):
        why = f"{x.shape[1:]} instead of {(generator.side, generator.side, 3)}"
        raise DataError("The pictures do not fit the generator.", why=why)
    pixels = torch.from_numpy(np.ascontiguousarray(x))

    def loss(_step: int, draws: torch.Generator) -> Tensor:
        target = batch_of(pixels, rows_of(len(x), how.batch, draws))
        mirrored = torch.rand(len(target), 1, 1, 1, generator=draws) < 0.5
        target = torch.where(mirrored, target.flip(3), target)
        z = encoder(target).float()
        made = generator(z).float()
        moments = z.mean(0).square().mean() + (z.var(0, correction=0) - 1).square().mean()
        value: Tensor = likeness(made, target, perception) + _MOMENT * moments
        return value

    encoder.train()
    trained = list(encoder.parameters()) if frozen else [*generator.parameters(), *encoder.parameters()]
    losses = run_steps(
        "generator", {"generator": generator, "encoder": encoder}, loss, how, trained=trained,
        checkpoint=checkpoint, tell=tell,
    )  # fmt: skip
    encoder.eval()
    generator.eval()
    if not frozen:
        z = latents(encoder, x[:2000])
        with torch.no_grad():
            generator.mean.copy_(z.mean(0))
            generator.spread.copy_(z.std(0, correction=0))
            generator.style_mean.copy_(generator.mapping(z).mean(0))
    return losses


def latents(encoder: Model, x: Images) -> Tensor:
    """Return the latents ``[N, latent]`` that a plain encoder gives stored pictures."""
    with torch.no_grad(), evaluating(encoder):
        return torch.cat([encoder(part) for part in torch.split(working(x), _BATCH)])


def learn_styles(
    encoder: nn.Module,
    shown: Shown,
    generator: StyleGenerator,
    eye: Eye,
    how: Steps = ENCODER,
    *,
    curriculum: bool = False,
    perception: Distance = ssim_distance,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> list[float]:
    """Train an encoder of scrambled pictures into the styles of a frozen generator, in place.

    Args:
        encoder: Tokens to what is added to the mean style, ``[N, L * style]`` (W+).
        shown: What it learns from.
        generator: Stays as it is.
        eye: By which the identity of pictures is compared.
        how: How.
        curriculum: Begin with plain pictures; their share falls to a tenth at the middle of the training.
        perception: Distance of pictures beside the squared error.
        checkpoint: Where it is kept against a kill.
        tell: Progress.
    """
    pixels, known = torch.from_numpy(np.ascontiguousarray(shown.x)), eye.of(shown.x)
    generator.requires_grad_(False)

    def loss(step: int, draws: torch.Generator) -> Tensor:
        rows = rows_of(len(pixels), how.batch, draws)
        share = min(0.9, 2 * step / how.steps) if curriculum else 1.0
        away = encoder(shown.tokens(rows, share, draws)).float()
        made, target = styled(generator, away).float(), batch_of(pixels, rows)
        unlike = 1 - (eye(made) * known[rows]).sum(1).mean()
        value = likeness(made, target, perception) + IDENTITY * unlike + DEVIATION * away.square().mean()
        return torch.as_tensor(value)

    try:
        return run_steps("styles", {"encoder": encoder}, loss, how, checkpoint=checkpoint, tell=tell)
    finally:
        generator.requires_grad_(True)


def style_encoder(tokens: Tokens, generator: StyleGenerator, seed: int = 0) -> TokenEncoder:
    """Return an untrained encoder of such tokens into W+; it begins at the mean style."""
    values = tokens.values
    outputs = generator.layers * generator.style
    net = token_encoder(values.shape[2], outputs, values.shape[1] if tokens.placed else 0, seed)
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    return net.scaled(torch.from_numpy(values[:500]))


def styled(generator: StyleGenerator, away: Tensor) -> Tensor:
    """Return pictures of what is added to the mean style of every layer, ``[N, L * style]``."""
    return generator.synthesis(generator.style_mean + away.reshape(len(away), generator.layers, -1))


def rows_of(items: int, count: int, draws: torch.Generator) -> Tensor:
    """Return `count` drawn numbers below `items`."""
    return torch.randint(items, (count,), generator=draws)


def batch_of(pixels: Tensor, rows: Tensor) -> Tensor:
    """Return rows of stored images as working ones."""
    return pixels[rows].permute(0, 3, 1, 2).float().div(255)


def likeness(made: Tensor, target: Tensor, perception: Distance) -> Tensor:
    """Return how far pictures are from what they should be: squared error, and a distance of pictures."""
    distance: Tensor = _SQUARES * F.mse_loss(made, target) + PERCEPTION * perception(made, target).mean()
    return distance
