"""How a training is put into a checkpoint and taken out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from noli.train.checkpoint import Checkpoint, Tensors

if TYPE_CHECKING:
    from noli.train.fit import Callback

_STAGE = "training"


@dataclass
class Progress:
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
class Kept:
    """Everything that decides how a training goes on after a step.

    Attributes:
        checkpoint: Where it is kept; None keeps nothing.
        model: Network that is trained.
        optimiser: Its optimiser, of one group.
        generator: Draws order and augmentation.
        callbacks: Those of the training.
    """

    checkpoint: Checkpoint | None
    model: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    callbacks: Sequence[Callback]

    def restore(self) -> Progress:
        """Bring everything to where the checkpoint has it; without one it stays as it is."""
        found = None if self.checkpoint is None else self.checkpoint.load(_STAGE)
        if found is None:
            return Progress()
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
        return Progress(step, seen, seconds, losses, bool(ended), within, found["summed"], found["opened"])

    def save(self, progress: Progress, *, now: bool = False) -> None:
        """Keep it, if it is time or in any case."""
        if self.checkpoint is not None:
            self.checkpoint.save(_STAGE, lambda: self._tensors(progress), now=now)

    def _tensors(self, progress: Progress) -> Tensors:
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
