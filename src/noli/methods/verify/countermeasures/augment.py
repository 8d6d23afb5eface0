"""Augmentation in ordinary use: routine rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure, crop_flip

if TYPE_CHECKING:
    from noli.train.fit import Callback


def _cutout_mixup(classes: int, cfg: Config) -> list[Callback]:
    from noli.train.callbacks import CutoutMixup

    return [*crop_flip(classes, cfg), CutoutMixup(classes)]


CUTOUT_MIXUP = Measure(
    "cutout+mixup", "blends images, blanks squares", "routine", battery="quick", callbacks=_cutout_mixup
)
