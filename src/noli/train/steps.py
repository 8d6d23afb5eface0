"""A training that is no classifier's: steps of any loss, seeded one by one, resumable, the same bit for bit.

Every step has a generator of its own that follows from seed, stage and number. Nothing of it has to be kept:
what a killed training needs is the weights, the optimiser's moments and the number of the next step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from noli.core.errors import RunError
from noli.train.checkpoint import Checkpoint, Tensors
from noli.train.hardware import fast_bf16
from noli.zoo.base import seeded

Tell = Callable[[int, int, str], None]
Loss = Callable[[int, torch.Generator], Tensor]


class Steps(BaseModel):
    """How long and how fast; AdamW with decoupled weight decay.

    Attributes:
        steps: Optimiser steps.
        batch: Items per step.
        lr: Peak learning rate.
        schedule: How the rate falls to nothing, or ``constant``.
        warmup: Share of the steps in which the rate rises.
        weight_decay: Of AdamW.
        clip: Largest norm of a gradient.
        average: Decay of a running mean of the weights that is kept at the end; 0 for none.
        bf16: bf16 autocast; ``auto`` uses it where the hardware makes it fast.
        seed: Of everything that is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(1000, ge=1)
    batch: int = Field(64, ge=1)
    lr: float = Field(1e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0)
    average: float = Field(0.0, ge=0, lt=1)
    bf16: Literal["auto", "off"] = "auto"
    seed: int = Field(0, ge=0)

    def rate(self, step: int) -> float:
        """Return the learning rate of step 0 .. ``steps - 1``."""
        warm = self.warmup * self.steps
        if step < warm:
            return self.lr * (step + 1) / (math.ceil(warm) + 1)
        part = (step - warm) / max(1.0, self.steps - warm)
        falls = {"cosine": (1 + math.cos(math.pi * part)) / 2, "linear": 1 - part, "constant": 1.0}
        return self.lr * falls[self.schedule]


def run_steps(
    stage: str,
    nets: Mapping[str, nn.Module],
    loss: Loss,
    how: Steps,
    *,
    trained: Sequence[nn.Parameter] | None = None,
    checkpoint: Checkpoint | None = None,
    tell: Tell | None = None,
) -> list[float]:
    """Train networks in place.

    Args:
        stage: Name of this training, for seeds, checkpoints and progress.
        nets: What is trained.
        loss: The loss of a step, ``(step, generator)``; inside autocast, modules draw from the same seed.
        how: How.
        trained: Those of their weights that change; None for all.
        checkpoint: Where it is kept against a kill; the caller has said what it depends on.
        tell: Progress, ``(done, all, what)``.

    Returns:
        The loss of every step.

    Raises:
        RunError: A loss is no longer finite.
    """
    job = _Job(stage, nets, how, trained)
    if checkpoint is not None:
        checkpoint.depends_on(stage, how.model_dump_json(), *nets)
        job.restore(checkpoint.load(stage))
    device = job.params[0].device.type
    use_bf16 = how.bf16 == "auto" and fast_bf16(device)
    for step in range(job.done, how.steps):
        seed = step_seed(how.seed, stage, step)
        with seeded(seed):
            with torch.autocast(device, torch.bfloat16, enabled=use_bf16):
                value = loss(step, torch.Generator().manual_seed(seed))
            job.update(value, step)
        if checkpoint is not None:
            checkpoint.save(stage, job.state)
        if tell is not None:
            tell(step + 1, how.steps, stage)
    job.finish()
    return job.losses


def step_seed(seed: int, stage: str, step: int) -> int:
    """Return the seed of one step, below 2^62."""
    digest = hashlib.sha256(f"{seed}|{stage}|{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 2


class _Job:
    """Weights, moments and the running mean of one training."""

    def __init__(
        self, stage: str, nets: Mapping[str, nn.Module], how: Steps, trained: Sequence[nn.Parameter] | None
    ) -> None:
        self.stage, self.nets, self.how = stage, nets, how
        every = [weight for net in nets.values() for weight in net.parameters()]
        self.params = list(trained) if trained is not None else every
        self.optimiser = torch.optim.AdamW(self.params, lr=how.lr, weight_decay=how.weight_decay)
        self.mean = [weight.detach().clone() for weight in self.params] if how.average else []
        self.losses: list[float] = []

    @property
    def done(self) -> int:
        """Number of steps that were made."""
        return len(self.losses)

    def update(self, value: Tensor, step: int) -> None:
        """Make one step down the gradient of a loss."""
        self.losses.append(float(value.detach()))
        if not math.isfinite(self.losses[-1]):
            raise RunError(
                "The training diverged: its loss is no longer finite.",
                where=f"{self.stage}, step {step}",
                fix="use a lower learning rate",
            )
        self.optimiser.param_groups[0]["lr"] = self.how.rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.params, self.how.clip)
        self.optimiser.step()
        # A running mean that begins at random weights would remember them: it grows with the steps.
        keep = min(self.how.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weight in zip(self.mean, self.params, strict=False):
                mean.lerp_(weight, 1 - keep)

    def finish(self) -> None:
        """Put the running mean of the weights in their place."""
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for mean, weight in zip(self.mean, self.params, strict=False):
                weight.copy_(mean)

    def state(self) -> Tensors:
        """Return what a checkpoint keeps."""
        found = {"losses": torch.tensor(self.losses, dtype=torch.float64)}
        for name, net in self.nets.items():
            found |= {f"net.{name}.{part}": tensor for part, tensor in net.state_dict().items()}
        for number, mean in enumerate(self.mean):
            found[f"mean.{number}"] = mean
        for number, parts in self.optimiser.state_dict()["state"].items():
            found |= {f"moment.{number}.{part}": torch.as_tensor(value) for part, value in parts.items()}
        return found

    def restore(self, found: Tensors | None) -> None:
        """Go on from what a checkpoint kept, if it kept anything."""
        if found is None:
            return
        self.losses = found["losses"].tolist()
        for name, net in self.nets.items():
            prefix = f"net.{name}."
            net.load_state_dict({k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)})
        for number, mean in enumerate(self.mean):
            mean.copy_(found[f"mean.{number}"])
        moments: dict[int, Tensors] = {}
        for name, tensor in found.items():
            if name.startswith("moment."):
                _, number_text, part = name.split(".")
                moments.setdefault(int(number_text), {})[part] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
