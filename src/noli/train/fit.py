"""The only training loop of noli."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import DataError, RunError
from noli.core.model import Model, keeping_modes
from noli.train.checkpoint import Checkpoint, Tensors
from noli.train.hardware import fast_bf16, pick_device
from noli.train.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
_STAGE = "training"


class StopTraining(Exception):
    """Raised by a callback that wants the training to end early; :func:`fit` then returns as usual."""


class Callback:
    """The only extension point of :func:`fit`; every hook does nothing unless overridden.

    Hooks draw random numbers from the generator they are given (it lives on the CPU) and from nowhere
    else, so that a training depends on its recipe alone.
    """

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Change a batch before the network sees it.

        Args:
            x: Working images ``float32 [B, C, H, W]`` in [0, 1]; a private copy.
            y: Labels ``int64 [B]``, or ``float32 [B, K]`` after an earlier callback softened them.
            generator: Private generator.

        Returns:
            Images and labels, hard or soft, or whatever else the loss compares with.
        """
        return x, y

    def before_step(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Change the images with knowledge of the model (adversarial training); inside autocast."""
        return x

    def on_epoch_end(self, model: Model, epoch: int, loss: float) -> None:
        """Look at the model after an epoch (0-based) with its mean loss."""

    def state(self) -> Tensors:
        """Return what a resumed training must know of this callback."""
        return {}

    def restore(self, state: Tensors) -> None:
        """Take back what :meth:`state` gave before the interruption."""


@dataclass(frozen=True)
class FitResult:
    """What a training cost and how it went.

    Attributes:
        losses: Mean training loss per epoch.
        steps: Optimiser steps made.
        seconds: Wall time of the loop.
        images_per_second: Training images processed per second of wall time.
        bf16: Whether bf16 autocast was used.
        device: ``cpu`` or ``cuda``.
    """

    losses: tuple[float, ...]
    steps: int
    seconds: float
    images_per_second: float
    bf16: bool
    device: str


def fit(
    model: Model,
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[Any],
    recipe: Recipe | None = None,
    callbacks: Sequence[Callback] = (),
    loss: Loss = F.cross_entropy,
    checkpoint: Checkpoint | None = None,
) -> FitResult:
    """Train a model in place; weights that need no gradient stay as they are.

    The same recipe, data and thread count give the same weights on a CPU; on a GPU they differ by what
    rounding does, because its kernels may add in another order. Global generators, the gradient mode and the
    model's train/eval modes are left as they were.

    Args:
        model: Model to train; moved to the recipe's device.
        x: Stored images ``uint8 [N, H, W, C]``, N >= 2.
        y: Labels ``[N]``, integers from 0.
        recipe: How to train; None for the default.
        callbacks: Called in order.
        loss: ``(outputs of the model in float32, labels) -> scalar``.
        checkpoint: Where finished steps are kept; a training found there is gone on with, and one that had
            ended there is not made again.

    Raises:
        DataError: Arrays of the wrong type or shape, fewer than two images.
        RunError: The loss is no longer finite.
    """
    recipe = recipe or Recipe()
    _check(x, y)
    device = pick_device(recipe.device)
    bf16 = recipe.bf16 == "on" or (recipe.bf16 == "auto" and fast_bf16(device.type))
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(recipe.seed)
    images, labels = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y.astype(np.int64))
    optimiser = _optimiser(model, recipe)
    epochs, total = recipe.epochs_for(len(x)), recipe.steps_for(len(x))
    kept = _Kept(checkpoint, model, optimiser, generator, callbacks)
    at = kept.restore()
    started = time.perf_counter() - at.seconds
    with keeping_modes(model), torch.enable_grad(), suppress(StopTraining):
        for epoch in range(len(at.losses), 0 if at.ended else epochs):
            model.train()
            order = generator
            if at.within:  # resumed in the middle: the same order once more
                order = torch.Generator()
                order.set_state(at.opened)
            else:
                at.opened, at.summed = generator.get_state(), torch.zeros(())
            at.summed = at.summed.to(device)
            parts = list(islice(_batches(len(x), recipe, order), total - at.step + at.within))
            for index in parts[at.within :]:
                # Indexing the stored layout and transposing afterwards yields channels-last for free.
                batch = images[index].to(device).permute(0, 3, 1, 2).float().div_(255)
                target = labels[index].to(device)
                lr, momentum = recipe.rates(at.step, total)
                optimiser.param_groups[0].update(lr=lr, momentum=momentum)
                value = _step(model, optimiser, batch, target, recipe, callbacks, generator, bf16, loss)
                at.summed += value * len(index)
                at.step, at.within, at.seen = at.step + 1, at.within + 1, at.seen + len(index)
                at.seconds = time.perf_counter() - started
                kept.save(at)
            at.losses.append(at.summed.item() / sum(map(len, parts)))
            at.within = 0
            if not np.isfinite(at.losses[-1]):
                fix = f"lower the learning rate (now {recipe.lr}) or set grad_clip"
                raise RunError(
                    "Training diverged: the loss is not finite.", where=f"epoch {epoch + 1}", fix=fix
                )
            for callback in callbacks:
                callback.on_epoch_end(model, epoch, at.losses[-1])
            kept.save(at)
            if at.step == total:
                break
    at.seconds, at.ended = time.perf_counter() - started, True
    kept.save(at, now=True)
    speed = at.seen / at.seconds
    return FitResult(tuple(at.losses), at.step, at.seconds, speed, bf16, device.type)


def _optimiser(model: Model, recipe: Recipe) -> torch.optim.Optimizer:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if recipe.optimiser == "adam":
        return torch.optim.AdamW(weights, recipe.lr, weight_decay=recipe.weight_decay)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(
        weights, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=nesterov
    )


def _step(
    model: Model,
    optimiser: torch.optim.Optimizer,
    batch: Tensor,
    target: Tensor,
    recipe: Recipe,
    callbacks: Sequence[Callback],
    generator: torch.Generator,
    bf16: bool,
    loss: Loss,
) -> Tensor:
    for callback in callbacks:
        batch, target = callback.prepare_batch(batch, target, generator)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    batch = batch.contiguous(memory_format=layout)
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
        for callback in callbacks:
            batch = callback.before_step(model, batch, target, generator)
        outputs = model(batch)
    # Outside autocast: the loss of soft labels needs float32.
    value = loss(outputs.float(), target)
    optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    if recipe.grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
    optimiser.step()
    return value.detach()


def _batches(items: int, recipe: Recipe, generator: torch.Generator) -> Iterator[Tensor]:
    # Equal parts instead of a short remainder: batch normalisation never meets a batch of one.
    order = torch.randperm(items, generator=generator)
    return iter(torch.tensor_split(order, recipe.batches_per_epoch(items)))


def _check(x: npt.NDArray[np.uint8], y: npt.NDArray[Any]) -> None:
    wrong = x.dtype != np.uint8 or x.ndim != 4 or y.shape != (len(x),) or y.dtype.kind not in "iu"
    if wrong or len(x) < 2 or int(y.min()) < 0:
        raise DataError(
            "Training needs two or more images uint8 [N, H, W, C] and as many integer labels from 0.",
            why=f"got {x.dtype} {x.shape} and {y.dtype} {y.shape}",
            fix="add images, or convert the arrays",
        )


@dataclass
class _Progress:
    """How far a training has come.

    Attributes:
        step: Optimiser steps made.
        seen: Training images processed.
        seconds: Wall time spent before this process.
        losses: Mean loss of every finished epoch.
        ended: Nothing is left to do.
        within: Steps made of the present epoch.
        summed: Sum of its losses so far.
        opened: State of the generator when it began, from which its order was drawn.
    """

    step: int = 0
    seen: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    ended: bool = False
    within: int = 0
    summed: Tensor = field(default_factory=lambda: torch.zeros(()))
    opened: Tensor = field(default_factory=lambda: torch.Generator().get_state())


@dataclass(frozen=True)
class _Kept:
    """Everything that decides how a training goes on after a step; the optimiser has one group."""

    checkpoint: Checkpoint | None
    model: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    callbacks: Sequence[Callback]

    def restore(self) -> _Progress:
        """Bring everything to where the checkpoint has it; without one it stays as it is."""
        found = None if self.checkpoint is None else self.checkpoint.load(_STAGE)
        if found is None:
            return _Progress()
        self.model.load_state_dict(_under("model.", found))
        self.generator.set_state(found["generator"])
        for row, weight in enumerate(self.optimiser.param_groups[0]["params"]):
            for name, value in _under(f"optimiser.{row}.", found).items():
                # In the layout of the weight, so that the same loops run over both as before.
                like = torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value
                self.optimiser.state[weight][name] = like
        for row, callback in enumerate(self.callbacks):
            callback.restore(_under(f"callback.{row}.", found))
        step, seen, ended, within = found["counts"].tolist()
        seconds, losses = found["seconds"].item(), found["losses"].tolist()
        return _Progress(step, seen, seconds, losses, bool(ended), within, found["summed"], found["opened"])

    def save(self, progress: _Progress, *, now: bool = False) -> None:
        """Keep it, if it is time or in any case."""
        if self.checkpoint is not None:
            self.checkpoint.save(_STAGE, lambda: self._tensors(progress), now=now)

    def _tensors(self, progress: _Progress) -> Tensors:
        weights = self.optimiser.param_groups[0]["params"]
        groups = {"model": self.model.state_dict()}
        groups |= {f"optimiser.{row}": self.optimiser.state[weight] for row, weight in enumerate(weights)}
        groups |= {f"callback.{row}": callback.state() for row, callback in enumerate(self.callbacks)}
        named: dict[str, Tensor] = {
            f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()
        }
        return named | {
            "generator": self.generator.get_state(),
            "opened": progress.opened,
            "summed": progress.summed,
            "counts": torch.tensor([progress.step, progress.seen, progress.ended, progress.within]),
            "seconds": torch.tensor(progress.seconds, dtype=torch.float64),
            "losses": torch.tensor(progress.losses, dtype=torch.float64),
        }


def _under(prefix: str, found: Tensors) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
