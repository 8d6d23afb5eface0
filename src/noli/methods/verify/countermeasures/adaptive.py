"""What was published to undo protections: adaptive rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure, crop_flip
from noli.methods.verify.subject import Images
from noli.ops.countermeasures import jpeg, sharpen_lowpass

if TYPE_CHECKING:
    from noli.train.fit import Callback

_VIEWED = 500


def _sharpen(classes: int, cfg: Config) -> list[Callback]:
    from noli.train.callbacks import SharpenLowpass

    return [*crop_flip(classes, cfg), SharpenLowpass()]


def _sharpened(x: Images) -> npt.NDArray[np.float32]:
    import torch

    from noli.core.images import to_float

    parts = (torch.from_numpy(to_float(x[i : i + _VIEWED])) for i in range(0, len(x), _VIEWED))
    return np.concatenate([sharpen_lowpass(part, None).numpy() for part in parts])


# RSK+FF, arXiv 2411.01742.
SHARPEN = Measure(
    "rsk+ff",
    "random sharpening, then a frequency filter",
    "adaptive",
    battery="quick",
    view=_sharpened,
    callbacks=_sharpen,
)


def displace(classes: int, cfg: Config) -> list[Callback]:
    """Return crop and flip, then COIN (arXiv 2311.18403) of the configured reach."""
    from noli.train.callbacks import Displace

    return [*crop_flip(classes, cfg), Displace(cfg.coin_reach)]


DISPLACE = Measure("coin", "moves every pixel at random", "adaptive", battery="quick", callbacks=displace)


def _ueraser(copies: int) -> Callable[[int, Config], list[Callback]]:
    def callbacks(classes: int, cfg: Config) -> list[Callback]:
        from noli.train.callbacks import UEraser

        return [*crop_flip(classes, cfg), UEraser(copies)]

    return callbacks


# Its paper names five copies; the lite variant has one and compares nothing (arXiv 2303.15127).
UERASER = Measure(
    "ueraser", "trains on the hardest of five distorted copies", "adaptive", callbacks=_ueraser(5)
)
UERASER_LITE = Measure(
    "ueraser-lite", "trains on strongly distorted copies", "adaptive", callbacks=_ueraser(1)
)

_jpeg_75 = partial(jpeg, quality=75)
JPEG_DISPLACE = Measure(
    "jpeg-75+coin",
    "recompresses at JPEG quality 75, then moves every pixel at random",
    "adaptive",
    squeeze=_jpeg_75,
    view=_jpeg_75,
    callbacks=displace,
)
