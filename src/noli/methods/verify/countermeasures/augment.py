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


def _cutmix(classes: int, cfg: Config) -> list[Callback]:
    from noli.train.callbacks import CutMix

    return [*crop_flip(classes, cfg), CutMix(classes)]


CUTMIX = Measure("cutmix", "pastes boxes of other images", "routine", callbacks=_cutmix)


def _rand_augment(classes: int, cfg: Config) -> list[Callback]:
    from noli.train.callbacks import RandAugment

    return [*crop_flip(classes, cfg), RandAugment()]


RAND_AUGMENT = Measure(
    "randaugment",
    "two random changes of geometry, tone or detail per image",
    "routine",
    callbacks=_rand_augment,
)
