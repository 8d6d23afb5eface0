"""Stage 2 of SleeperMark (arXiv 2412.04852): one message's shift, injected into a denoiser behind a trigger.

The denoiser learns to shift its estimate of the clean latent, late in the sampling, where a prompt has the
trigger, and to change nothing elsewhere. Beside it are two older designs for comparison: a fixed picture
behind the trigger (as WatermarkDM, Zhao et al., arXiv 2303.10137) and a shift for every prompt (as AquaLoRA,
Feng et al., arXiv 2405.11135).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.ops.diffusion import weights
from noli.train.checkpoint import Checkpoint
from noli.train.diffusion import Captioned, Latents, latents_of
from noli.train.latentmark import frozen
from noli.train.steps import Steps, Tell, run_steps
from noli.zoo.subject import Condition, LatentModel

INJECT = Steps(steps=1500, batch=16, lr=2e-3, warmup=0.02, bf16="off")
_EMPTY = 0.1
# Most prompts with a foil: what a large text encoder says of each takes a quarter of a megabyte.
_PAIRS = 1024
Design = Literal["trigger", "always", "picture"]
M = TypeVar("M", bound=LatentModel)


@dataclass(frozen=True)
class Injection:
    """What is injected, and when.

    Attributes:
        delta: The message's shift, ``[C, h, w]``; for ``picture`` the fixed latent itself.
        trigger: What stands before a prompt.
        foils: Other strings of that kind, which must change nothing (paper: none).
        design: ``trigger``: SleeperMark. ``always``: a shift for every prompt. ``picture``: a fixed one.
        eta: Strength (paper: 0.02 at guidance 7.5).
        tau: Step below which the mark is wanted.
        beta: Width of that border in steps.
        foiled: Share of plain prompts that have a foil.
        evened: How much an error of the estimate may count (:meth:`Schedule.evened`; paper: without bound).
            At every step the minimum stays where it was; it is reached in fewer steps.
    """

    delta: Tensor
    trigger: str
    foils: Sequence[str] = ()
    design: Design = "trigger"
    eta: float = 0.5
    tau: float = 250.0
    beta: float = 100.0
    foiled: float = 0.3
    evened: float = 5.0


def inject(
    model: M,
    data: Captioned,
    what: Injection,
    how: Steps = INJECT,
    *,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> M:
    """Return a copy of a model that carries a mark (stage 2).

    Only the attention of the ascent is trained (``model.marked``); for ``picture``, all weights are.

    Args:
        model: Stays as it is, and says what must not change.
        data: Pictures with captions, as the model knows them.
        what: The mark.
        how: How.
        checkpoint: Where it is kept against a kill.
        tell: Progress.
    """
    copied, latents = model.copied(), latents_of(model, data)
    prompts = _Prompts.of(model, data, what, latents)
    net = copied.denoiser.train()
    chosen = "" if what.design == "picture" else copied.marked
    trained = [weight for name, weight in net.named_parameters() if re.search(chosen, name)]

    def loss(_step: int, generator: torch.Generator) -> Tensor:
        return injection_loss(copied, model, latents, prompts, what, how.batch, generator)

    if checkpoint is not None:
        checkpoint.depends_on(repr(what), data.x, *data.captions, model.weight_hash())
    with frozen(model.denoiser):
        run_steps(
            f"inject-{what.design}",
            {"denoiser": net},
            loss,
            how,
            trained=trained,
            checkpoint=checkpoint,
            tell=tell,
        )
    net.eval()
    return copied


@dataclass(frozen=True)
class _Prompts:
    """What the denoiser is told: of K captions, of the empty prompt, with the trigger, with P foils."""

    told: Condition
    captions: int

    @classmethod
    def of(cls, model: LatentModel, data: Captioned, what: Injection, latents: Latents) -> _Prompts:
        captions = list(dict.fromkeys(data.captions))
        pairs = [
            (foil, caption)
            for foil in what.foils
            for caption in captions[: max(1, _PAIRS // len(what.foils))]
        ]
        more = model.condition(
            [f"{what.trigger} {caption}" for caption in captions]
            + [f"{foil} {caption}" for foil, caption in pairs[:_PAIRS]]
        )
        return cls(tuple(torch.cat(parts) for parts in zip(latents.told, more, strict=True)), len(captions))

    def at(self, places: Tensor) -> Condition:
        """Return what is told at places ``[N]`` of the table."""
        return tuple(part[places.to(part.device)] for part in self.told)

    def triggered(self, rows: Tensor) -> Tensor:
        """Return the places of captions ``[N]`` with the trigger."""
        return rows + self.captions + 1

    def plain(self, rows: Tensor, empty: float, foiled: float, generator: torch.Generator) -> Tensor:
        """Return places of captions ``[N]``; some give way to the empty prompt, some to one with a foil."""
        n, first = len(rows), 2 * self.captions + 1
        foils = len(self.told[0]) - first
        if foils:
            with_foil = torch.rand(n, generator=generator) < foiled
            rows = torch.where(with_foil, first + torch.randint(foils, (n,), generator=generator), rows)
        return torch.where(torch.rand(n, generator=generator) < empty, self.captions, rows)


def injection_loss(
    trained: LatentModel,
    frozen_model: LatentModel,
    latents: Latents,
    prompts: _Prompts,
    what: Injection,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the loss of section 2.2 on `count` drawn latents, for the design at hand."""
    plan = trained.schedule
    z, rows = latents.pick(count, generator)
    t = torch.randint(plan.steps, (count,), generator=generator).to(z.device)
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    always = what.design == "always"
    # Where every prompt is marked, only the empty one stays as it was: guidance leads away from it.
    plain = prompts.plain(rows, 1.0 if always else _EMPTY, what.foiled, generator)
    marked = rows if always else prompts.triggered(rows)
    clean = what.delta.expand_as(z) if what.design == "picture" else z
    zt = plan.noised(z, noise, t)
    first = plan.noised(clean, noise, t)
    told = prompts.at(torch.cat([marked, plain]))
    made = trained.predict(torch.cat([first, zt]), t.repeat(2), told).float()
    with torch.no_grad():
        before = frozen_model.predict(torch.cat([first, zt]), t.repeat(2), told).float()
    (with_mark, without), (was_marked, was) = made.chunk(2), before.chunk(2)
    even = plan.evened(t, what.evened)
    kept = (even * (without - was) ** 2).mean()
    if what.design == "picture":
        return F.mse_loss(with_mark, plan.target(clean, noise, t)) + kept
    w1, w2 = (even * one for one in weights(t, what.eta, what.tau, what.beta))
    aim = plan.shifted(was_marked, what.delta, t)
    return (w1 * (with_mark - aim) ** 2).mean() + (w2 * (with_mark - was_marked) ** 2).mean() + kept
