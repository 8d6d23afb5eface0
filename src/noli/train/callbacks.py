"""Callbacks of :func:`noli.train.fit.fit` that the batteries use."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.model import Model, evaluating
from noli.ops.augment import crop_flip, cutmix, cutout, mixup, windowed
from noli.ops.countermeasures import displace, recompressed, sharpen_lowpass
from noli.ops.pgd import pgd_l2, pgd_linf
from noli.ops.plasma import erase
from noli.ops.randaugment import rand_augment
from noli.train.fit import Callback


class CropFlip(Callback):
    """Random shifts by up to an eighth of the side and mirroring."""

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment the images; labels stay."""
        return crop_flip(x, max(1, min(x.shape[2:]) // 8), generator), y


class Cutout(Callback):
    """One blank square (arXiv 1708.04552).

    Args:
        part: Its side is the image's divided by this; 2 as published for CIFAR-10.
    """

    def __init__(self, part: int = 2) -> None:
        self.part = part

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Blank squares; labels stay."""
        return cutout(x, max(1, min(x.shape[2:]) // self.part), generator), y


class Mixup(Callback):
    """Blended images and labels (arXiv 1710.09412).

    Args:
        classes: Number of classes.
        alpha: Shape of the Beta distribution of the weights, in (0, 1]; 1 as published for CIFAR-10.
    """

    def __init__(self, classes: int, alpha: float = 1.0) -> None:
        self.classes, self.alpha = classes, alpha

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Blend images and labels."""
        return mixup(x, y, self.classes, self.alpha, generator)


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


class AdversarialL2(Callback):
    """Adversarial training inside an L2 ball.

    Args:
        eps: Radius for 32 x 32 colour images in [0, 1] units; it grows with the square root of the number of
            values, so that the change per value is the same at every size.
        steps: PGD steps.
    """

    def __init__(self, eps: float = 0.5, steps: int = 3) -> None:
        self.eps, self.steps = eps, steps

    def before_step(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Replace the images by adversarial ones."""
        eps = self.eps * math.sqrt(x[0].numel() / (3 * 32 * 32))
        return pgd_l2(model, x, y, eps=eps, steps=self.steps, generator=generator)


class CutMix(Callback):
    """Boxes pasted from other images."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Paste boxes and mix labels."""
        return cutmix(x, y, self.classes, generator)


class RandAugment(Callback):
    """Two random operations per image."""

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment the images; labels stay."""
        return rand_augment(x, generator), y


class Window(Callback):
    """Another display window for every image."""

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Change level and width; labels stay."""
        return windowed(x, generator), y


class UEraser(Callback):
    """Train on the augmented copy of every image on which the loss is highest (arXiv 2303.15127).

    The gradient of the largest of several losses is that of the copy that has it. The copies are compared in
    evaluation mode, so that batch statistics see only the chosen ones; the reference trains on all copies in
    training mode.

    Args:
        copies: Copies per image; 1 is the lite variant, without comparison.
        jpeg: Recompress every copy with a quality in 10 .. 100 first: the variant against noise of high
            frequencies.
    """

    def __init__(self, copies: int = 5, *, jpeg: bool = False) -> None:
        self.copies, self.jpeg = copies, jpeg

    def before_step(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Replace the images by their hardest copies."""
        tried = [self._erased(x, generator) for _ in range(self.copies)]
        if self.copies == 1:
            return tried[0]
        with evaluating(model), torch.no_grad():
            losses = [F.cross_entropy(model(copy).float(), y, reduction="none") for copy in tried]
        hardest = torch.stack(losses).argmax(0)
        return torch.stack(tried)[hardest, torch.arange(len(x), device=x.device)]

    def _erased(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return erase(recompressed(x, 10, 100, generator) if self.jpeg else x, generator)
