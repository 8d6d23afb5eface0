"""Callbacks of :func:`noli.train.fit.fit` that the batteries use."""

from __future__ import annotations

import torch
from torch import Tensor

from noli.core.model import Model
from noli.ops.augment import crop_flip, cutout, mixup
from noli.ops.countermeasures import displace, sharpen_lowpass
from noli.ops.pgd import pgd_linf
from noli.train.fit import Callback


class CropFlip(Callback):
    """Random shifts by up to an eighth of the side and mirroring."""

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment the images; labels stay."""
        return crop_flip(x, max(1, min(x.shape[2:]) // 8), generator), y


class CutoutMixup(Callback):
    """Mixup, then one blank square of a quarter of the side.

    Args:
        classes: Number of classes.
        alpha: Shape of mixup's Beta distribution, in (0, 1].
    """

    def __init__(self, classes: int, alpha: float = 0.4) -> None:
        self.classes, self.alpha = classes, alpha

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Blend images and labels, then blank squares."""
        x, y = mixup(x, y, self.classes, self.alpha, generator)
        return cutout(x, max(1, min(x.shape[2:]) // 4), generator), y


class SharpenLowpass(Callback):
    """RSK+FF with fresh kernels in every batch."""

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sharpen and low-pass the images; labels stay."""
        return sharpen_lowpass(x, generator), y


class Displace(Callback):
    """COIN with fresh displacements in every batch.

    Args:
        reach: Largest displacement in pixels.
    """

    def __init__(self, reach: float = 2.0) -> None:
        self.reach = reach

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Displace the pixels; labels stay."""
        return displace(x, self.reach, generator), y


class Adversarial(Callback):
    """Adversarial training: every step sees images found by PGD.

    Args:
        eps: Radius of the L-infinity ball in [0, 1] units.
        steps: PGD steps; a training costs about ``1 + 0.7 * steps`` times the plain one.
    """

    def __init__(self, eps: float = 4 / 255, steps: int = 3) -> None:
        self.eps, self.steps = eps, steps

    def before_step(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Replace the images by adversarial ones."""
        return pgd_linf(model, x, y, eps=self.eps, steps=self.steps, generator=generator)
