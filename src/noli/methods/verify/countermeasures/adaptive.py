"""What was published to undo protections: adaptive rows."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from noli.methods.verify.measure import Measure, trained_with
from noli.methods.verify.subject import Images
from noli.ops.countermeasures import grayscale, jpeg, sharpen_lowpass
from noli.ops.squeeze import masked_median

_VIEWED = 500


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
    callbacks=trained_with(lambda known, classes, cfg: known.SharpenLowpass()),
)


# COIN, arXiv 2311.18403.
_displace = trained_with(lambda known, classes, cfg: known.Displace(cfg.coin_reach))
DISPLACE = Measure("coin", "moves every pixel at random", "adaptive", battery="quick", callbacks=_displace)

# Its paper names five copies; the lite variant has one and compares nothing (arXiv 2303.15127).
UERASER = Measure(
    "ueraser",
    "trains on the hardest of five distorted copies",
    "adaptive",
    callbacks=trained_with(lambda known, classes, cfg: known.UEraser(5)),
)
UERASER_JPEG = Measure(
    "ueraser-jpeg",
    "trains on the hardest of five copies, each recompressed and distorted",
    "adaptive",
    callbacks=trained_with(lambda known, classes, cfg: known.UEraser(5, jpeg=True)),
)
UERASER_LITE = Measure(
    "ueraser-lite",
    "trains on strongly distorted copies",
    "adaptive",
    callbacks=trained_with(lambda known, classes, cfg: known.UEraser(1)),
)

# Against noise on few pixels, such as SALM's: where it lies gives it away.
MASKED_MEDIAN = Measure(
    "masked-median",
    "takes the median of 3 x 3 pixels where a quarter differs most from it",
    "adaptive",
    squeeze=masked_median,
    view=masked_median,
)

_jpeg_75 = partial(jpeg, quality=75)
GREY_DISPLACE = Measure(
    "grayscale+coin",
    "drops colour, then moves every pixel at random",
    "adaptive",
    squeeze=grayscale,
    view=grayscale,
    callbacks=_displace,
)
JPEG_DISPLACE = Measure(
    "jpeg-75+coin",
    "recompresses at JPEG quality 75, then moves every pixel at random",
    "adaptive",
    squeeze=_jpeg_75,
    view=_jpeg_75,
    callbacks=_displace,
)
