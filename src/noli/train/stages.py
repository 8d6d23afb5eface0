"""Trainings that follow each other: what is finished is kept, so that a kill costs the present one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from noli.train.checkpoint import Checkpoint

_DONE = "finished"
Part = str | npt.NDArray[np.generic]


class Stages:
    """Trained networks by name, in a folder of their own each.

    Args:
        folder: Where they are kept; None: nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._made: list[Checkpoint] = []

    def run(
        self,
        name: str,
        nets: Mapping[str, nn.Module],
        parts: tuple[Part, ...],
        train: Callable[[Checkpoint | None], object],
    ) -> None:
        """Train networks in place, or take the weights of the finished training.

        Args:
            name: Of the training.
            nets: What it changes.
            parts: What it depends on: with other parts it is made again.
            train: Does it; is given where to keep its steps.
        """
        if self.folder is None:
            train(None)
            return
        done, going = (Checkpoint(self.folder / name) for _ in range(2))
        for one in (done, going):
            one.depends_on(name, *parts)
        self._made += [done, going]
        found = done.load(_DONE)
        if found is not None:
            for which, net in nets.items():
                start = f"{which}."
                net.load_state_dict(
                    {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}
                )
            return
        train(going)
        state = {f"{which}.{k}": v for which, net in nets.items() for k, v in net.state_dict().items()}
        done.save(_DONE, lambda: state, now=True)

    def clear(self) -> None:
        """Remove everything that was kept: all of it is done."""
        for one in self._made:
            one.clear()
        if self.folder is not None:
            with suppress(OSError):
                self.folder.rmdir()
