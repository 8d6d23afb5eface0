"""Recipe: everything that decides how a network is trained, in one frozen object."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Switch = Literal["auto", "on", "off"]


class Recipe(BaseModel):
    """A training recipe; the defaults train the ``small`` network of `noli.zoo` in seconds.

    Attributes:
        epochs: Passes over the data.
        min_steps: Optimiser steps made at least; small data sets get more epochs to reach them.
        max_steps: Optimiser steps made at most, in the middle of an epoch if need be; None for all epochs.
        batch: Largest number of images per step; batches are of equal size within one image.
        optimiser: ``sgd`` with Nesterov momentum, or ``adam`` with decoupled weight decay (AdamW).
        lr: Peak learning rate.
        momentum: Nesterov momentum of ``sgd``; under ``onecycle`` it moves against the learning rate from
            ``momentum + 0.05`` down to ``momentum - 0.05`` and back.
        weight_decay: L2 penalty.
        schedule: ``onecycle`` (cosine up, cosine down), ``constant``, or ``step`` (a tenth after 40 % and
            again after 80 % of the steps).
        warmup: Share of the steps in which the one-cycle rate rises.
        grad_clip: Largest gradient norm, or None.
        bf16: bf16 autocast; ``auto`` uses it where the hardware makes it fast.
        channels_last: Memory layout of images and weights.
        device: ``auto`` takes a GPU when there is one.
        seed: Seed of the private generator that draws order and augmentation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(8, ge=1)
    min_steps: int = Field(0, ge=0)
    max_steps: int | None = Field(None, ge=1)
    batch: int = Field(128, ge=2)
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=0.95)
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["onecycle", "constant", "step"] = "onecycle"
    warmup: float = Field(0.25, gt=0, lt=1)
    grad_clip: float | None = Field(5.0, gt=0)
    bf16: Switch = "auto"
    channels_last: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(0, ge=0)

    def batches_per_epoch(self, items: int) -> int:
        """Number of optimiser steps in one pass over `items` images."""
        return math.ceil(items / self.batch)

    def epochs_for(self, items: int) -> int:
        """Number of passes over `items` images: ``epochs``, or more to reach ``min_steps``."""
        return max(self.epochs, math.ceil(self.min_steps / self.batches_per_epoch(items)))

    def steps_for(self, items: int) -> int:
        """Number of optimiser steps of a training on `items` images."""
        steps = self.epochs_for(items) * self.batches_per_epoch(items)
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def rates(self, step: int, total: int) -> tuple[float, float]:
        """Return ``(learning rate, momentum)`` of step 0 .. ``total - 1``."""
        if self.schedule != "onecycle":
            drops = int(step >= 0.4 * total) + int(step >= 0.8 * total) if self.schedule == "step" else 0
            return self.lr * 0.1**drops, self.momentum
        start, end = self.lr / 25, self.lr / 250_000
        low, high = max(self.momentum - 0.05, 0.0), self.momentum + 0.05
        peak = max(self.warmup * total - 1, 1e-9)
        if step <= peak:
            part = step / peak
            return _cosine(start, self.lr, part), _cosine(high, low, part)
        part = (step - peak) / max(total - 1 - peak, 1e-9)
        return _cosine(self.lr, end, part), _cosine(low, high, part)


def _cosine(first: float, last: float, part: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(part, 1.0))) / 2
