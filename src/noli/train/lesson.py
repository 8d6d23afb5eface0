"""What a method that learns noise works on: the lesson, and a time budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from noli.core.dataset import Item
from noli.core.model import Model
from noli.data.regions import read as read_regions
from noli.ops.noisestore import LEVELS, Noise, published, quantised
from noli.train.checkpoint import Checkpoint, Tensors
from noli.train.fit import Callback, StopTraining
from noli.train.hardware import fast_bf16
from noli.train.recipe import Recipe

_MODEL = "model."


@dataclass
class Lesson:
    """All that a method learns from; it fills `noise` in place.

    Attributes:
        model: Surrogate; already trained when `trained`.
        x: Images ``uint8 [N, S, S, C]``.
        y: Labels ``int64 [N]``.
        noise: ``int8 [N, S, S, C]``, or one row per class where noise is class-wise.
        rows: Row of `noise` of every image, ``int64 [N]``.
        open: Which rows of `noise` may change, ``bool``.
        trained: The surrogate comes from an earlier run and is used as it is.
        cfg: The method's configuration.
        generator: Seeded by the key.
        tell: Progress, ``(done, total, what)``.
        items: What the images are.
        shapes: Height, width and channels of every image before it was squeezed.
        checkpoint: Where the work is kept against a kill; None keeps nothing.
        memory: What else a resumed method must know; it is kept with the rest.
    """

    model: Model
    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64]
    noise: Noise
    rows: npt.NDArray[np.int64]
    open: npt.NDArray[np.bool_]
    trained: bool
    cfg: Any
    generator: torch.Generator
    tell: Callable[[int, int, str], None]
    items: Sequence[Item] = ()
    shapes: Sequence[tuple[int, int, int]] = ()
    checkpoint: Checkpoint | None = None
    memory: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def resume(self, stage: str) -> int:
        """Return how much of a stage was done before a kill, with everything as it was then; or 0."""
        found = None if self.checkpoint is None else self.checkpoint.load(stage)
        if found is None:
            return 0
        done = int(found.pop("done"))
        self.generator.set_state(found.pop("generator"))
        self.noise[...] = found.pop("noise").numpy()
        weights = {name: found.pop(name) for name in list(found) if name.startswith(_MODEL)}
        self.model.load_state_dict({name.removeprefix(_MODEL): value for name, value in weights.items()})
        self.memory.update({name: value.numpy() for name, value in found.items()})
        return done

    def save(self, stage: str, done: int) -> None:
        """Keep the work against a kill, if it is time."""
        if self.checkpoint is not None:
            self.checkpoint.save(stage, lambda: self._tensors(done))

    def _tensors(self, done: int) -> Tensors:
        named = {_MODEL + name: value for name, value in self.model.state_dict().items()}
        named |= {name: torch.from_numpy(value) for name, value in self.memory.items()}
        noise, generator = torch.from_numpy(self.noise), self.generator.get_state()
        return named | {"noise": noise, "generator": generator, "done": torch.tensor(done)}

    def regions(self, folder: str) -> npt.NDArray[np.bool_]:
        """Read the owner's regions of interest, ``bool [N, S, S]``; see :func:`noli.data.regions.read`."""
        found = read_regions(folder, self.items, self.shapes, self.x.shape[1])
        if self.checkpoint is not None:
            self.checkpoint.depends_on(found)
        return found

    def images(self, part: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return working images and labels of some items, on the surrogate's device."""
        device = next(self.model.parameters()).device
        x = torch.from_numpy(self.x[part]).to(device).permute(0, 3, 1, 2).float().div_(255)
        return x, torch.from_numpy(self.y[part]).to(device)

    def noise_of(self, part: npt.NDArray[np.int64]) -> Tensor:
        """Return the present noise of some items in [0, 1] units."""
        device = next(self.model.parameters()).device
        values = torch.from_numpy(self.noise[self.rows[part]]).to(device).permute(0, 3, 1, 2).float()
        return values.mul_(self.cfg.eps / LEVELS)

    def keep(self, rows: npt.NDArray[np.int64], noise: Tensor) -> None:
        """Store noise ``[n, C, S, S]`` in rows of the table."""
        self.noise[rows] = quantised(noise.permute(0, 2, 3, 1).cpu().numpy(), self.cfg.eps)

    def noisy(self) -> npt.NDArray[np.uint8]:
        """Return the images with their present noise as they would be published, ``uint8``."""
        out = np.empty_like(self.x)
        for part in self.parts(np.arange(len(self.x))):
            out[part] = published(self.x[part], self.noise[self.rows[part]], self.cfg.eps)
        return out

    def parts(self, items: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Cut items into batches; none is dropped."""
        return np.array_split(items, -(-len(items) // self.cfg.batch)) if len(items) else []

    def error(self) -> float:
        """Share of published images that the surrogate gets wrong."""
        return 1.0 - float(np.mean(self.model.predict(self.noisy()).argmax(1) == self.y))

    def recipe(self, **fields: Any) -> Recipe:
        """Return a training recipe of the surrogate, seeded by the key."""
        seed = int(torch.randint(0, 2**62, (1,), generator=self.generator))
        return Recipe(batch=self.cfg.batch, device=self.cfg.device, seed=seed, **fields)

    def autocast(self) -> torch.autocast:
        """Return the context in which noise is searched: bf16 where the hardware makes it fast."""
        kind = next(self.model.parameters()).device.type
        return torch.autocast(kind, torch.bfloat16, enabled=fast_bf16(kind))


class TimeBudget(Callback):
    """End a training after so many seconds of wall time, but not before its first step.

    Args:
        seconds: Budget, which begins with the first step; None never ends.
        clock: Monotonic clock.

    Attributes:
        over: The budget has ended a training.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        self.clock, self.over = clock, False
        self.left = torch.inf if seconds is None else seconds
        self.end: float | None = None

    def state(self) -> Tensors:
        """Return what is left of the budget."""
        left = self.left if self.end is None else self.end - self.clock()
        return {"left": torch.tensor(left, dtype=torch.float64), "over": torch.tensor(self.over)}

    def restore(self, state: Tensors) -> None:
        """Go on with what was left."""
        self.left, self.end, self.over = state["left"].item(), None, bool(state["over"])

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Look at the clock before every step."""
        if self.end is None:
            self.end = self.clock() + self.left
        elif self.clock() >= self.end:
            self.over = True
            raise StopTraining
        return x, y


class Told(Callback):
    """Reports every step as progress ``(done, total, what)``, after `done` steps that were made before."""

    def __init__(self, tell: Callable[[int, int, str], None], total: int, what: str, done: int = 0) -> None:
        self.tell, self.total, self.what, self.done = tell, total, what, done

    def state(self) -> Tensors:
        """Return the steps made."""
        return {"done": torch.tensor(self.done)}

    def restore(self, state: Tensors) -> None:
        """Go on counting."""
        self.done = int(state["done"])

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Count the step."""
        self.done += 1
        self.tell(self.done, self.total, self.what)
        return x, y
