"""Stage 1 of SleeperMark (arXiv 2412.04852): a message that shifts latents, and how it is read again.

The shift depends on the message alone. The decoder reads latents; the losses of the picture rise once bits
can be read, because a mark that costs something from the first step is never learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.model import Model
from noli.ops.distort import distort
from noli.train.checkpoint import Checkpoint
from noli.train.steps import Steps, Tell, run_steps
from noli.zoo.likeness import picture_distance, weights_digest
from noli.zoo.subject import LatentModel
from noli.zoo.watermark import LatentMark, new_mark

MARK = Steps(steps=3000, batch=32, lr=1e-3, schedule="linear")
# Shares of the steps in which the losses of the picture rise (paper: 2,000 and 4,000 of 10,000).
_RISE, _SLOW_RISE = 0.2, 0.4


@dataclass(frozen=True)
class Looks:
    """What a mark may cost in looks, and what it must survive.

    Attributes:
        image: Weight of the squared error of pictures in [-1, 1] (paper: 30).
        perceptual: Weight of 1 - SSIM, or of LPIPS (paper: 0.25, of LPIPS).
        again: Whether bits are also read from re-encoded pictures, four of five times distorted (paper: no;
            a small autoencoder does not give latents back as they were).
        lpips: File of LPIPS weights; None for SSIM.
    """

    image: float = 30.0
    perceptual: float = 0.25
    again: bool = True
    lpips: str | None = None


def learn_mark(
    model: LatentModel,
    x: npt.NDArray[np.uint8],
    bits: int,
    how: Steps = MARK,
    looks: Looks | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
    **sizes: int,
) -> Model:
    """Train encoder and decoder of messages for the latents of a model, which stays as it is (stage 1).

    Args:
        model: The subject.
        x: Pictures ``uint8 [N, H, W, 3]``.
        bits: Length of a message.
        how: How.
        looks: What it may cost.
        checkpoint: Where it is kept against a kill.
        tell: Progress.
        **sizes: Of :class:`~noli.zoo.watermark.LatentMark`.
    """
    mark, cost, latents = (
        new_mark(bits, model.shape, seed=how.seed, **sizes),
        looks or Looks(),
        model.encode(x),
    )
    net = mark.to(latents.device).net
    assert isinstance(net, LatentMark)  # noqa: S101 - just made
    distance = picture_distance(cost.lpips, cost.perceptual, latents.device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        z = latents[torch.randint(len(latents), (how.batch,), generator=generator).to(latents.device)]
        message = torch.randint(2, (how.batch, bits), generator=generator).float().to(z.device)
        marked = z + net.encoder(message)
        plain, seen = model.to_pixels(z).float(), model.to_pixels(marked).float()
        value = F.binary_cross_entropy_with_logits(net.decoder(marked).float(), message)
        if cost.again:
            served = distort(seen, generator) if step % 5 else seen
            logits = net.decoder(model.to_latents(served.clamp(0, 1)))
            value = value + F.binary_cross_entropy_with_logits(logits.float(), message)
        part = (step + 1) / how.steps
        value = value + cost.image * min(1.0, part / _RISE) * 4 * F.mse_loss(seen, plain)
        if distance is None:
            return value
        return value + cost.perceptual * min(1.0, part / _SLOW_RISE) * distance(plain, seen).mean()

    if checkpoint is not None:
        checkpoint.depends_on(repr(cost), weights_digest(cost.lpips), str(bits), x, latents.cpu().numpy())
    net.train()
    with frozen(model.coder):
        run_steps("mark", {"mark": net}, loss, how, checkpoint=checkpoint, tell=tell)
    net.eval()
    return mark


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Keep a network in evaluation mode and without gradients of its own; everything is given back."""
    needed, mode = [p.requires_grad for p in net.parameters()], net.training
    net.eval().requires_grad_(False)
    try:
        yield
    finally:
        net.train(mode)
        for weight, was in zip(net.parameters(), needed, strict=True):
            weight.requires_grad_(was)
