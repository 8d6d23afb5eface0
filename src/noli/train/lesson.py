"""What a method that learns noise works on: the lesson, its configuration, a time budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from noli.core.dataset import Item
from noli.core.method import MethodConfig
from noli.core.model import Model
from noli.data.regions import read as read_regions
from noli.ops.noisestore import LEVELS, Noise, quantised
from noli.train.fit import Callback, StopTraining
from noli.train.hardware import fast_bf16
from noli.train.recipe import Recipe

_UNITS = {"s": 1, "m": 60, "h": 3600}


def _seconds(value: object) -> object:
    """Read ``90s``, ``10m`` or ``2h``; anything else is left to the validation of numbers."""
    if isinstance(value, str) and value[-1:] in _UNITS and value[:-1].replace(".", "", 1).isdigit():
        return float(value[:-1]) * _UNITS[value[-1]]
    return value


Seconds = Annotated[float | None, BeforeValidator(_seconds)]


class LearnedConfig(MethodConfig):
    """What every method has that learns noise against a surrogate network."""

    eps: float = Field(8 / 255, gt=0, le=0.5, description="largest change of a channel, in [0, 1] units")
    network: Literal["tiny", "small", "resnet9", "resnet18"] = Field(
        "small", description="surrogate network (papers: resnet18)"
    )
    size: Literal["auto"] | Annotated[int, Field(ge=8, le=256)] = Field(
        "auto", description="side in pixels at which noise is learned; auto: that of the data, 16 to 64"
    )
    batch: int = Field(128, ge=2, description="pictures per step")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the surrogate is trained")


class RobustConfig(LearnedConfig):
    """Options of REM and SEM. Papers (CIFAR-10): radius 4/255, 10 x 5 and 10 steps, 5000 surrogate steps."""

    radius: float = Field(
        4 / 255, ge=0, le=0.5, description="radius the surrogate is hardened against, in [0, 1] units"
    )
    noise_steps: int = Field(10, ge=1, description="descent steps per search, each of eps/5")
    samples: int = Field(5, ge=1, description="random transforms per descent step")
    adversary_steps: int = Field(10, ge=1, description="PGD steps of the adversary, each of radius/5")
    steps: int = Field(500, ge=1, description="surrogate steps (papers: 5000, for days on CPUs)")
    lr: float = Field(0.1, gt=0, description="learning rate of the surrogate")
    time: Seconds = Field(
        None, gt=0, description="seconds after which the surrogate is used as it is; 90s, 10m and 2h are read"
    )


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

    def regions(self, folder: str) -> npt.NDArray[np.bool_]:
        """Read the owner's regions of interest, ``bool [N, S, S]``; see :func:`noli.data.regions.read`."""
        return read_regions(folder, self.items, self.x.shape[1])

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
            level = self.noise[self.rows[part]].astype(np.float32) * np.float32(self.cfg.eps * 255 / LEVELS)
            out[part] = np.clip(self.x[part] + level + np.float32(0.5), 0, 255).astype(np.uint8)
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
    """End a training after so many seconds of wall time.

    Args:
        seconds: Budget; None never ends.
        clock: Monotonic clock.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.end = None if seconds is None else clock() + seconds

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Look at the clock before every step."""
        if self.end is not None and self.clock() >= self.end:
            raise StopTraining
        return x, y
