"""Detectors of one shot: a network gives scores and boxes for every cell of a grid, without anchors.

Ours is a stack of convolutions with two heads. A cell is responsible for boxes in whose middle part it lies
and says how far their sides are from it, as in FCOS (Tian et al., ICCV 2019, arXiv 1904.01355) with one grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from noli.core.errors import DataError, UsageError
from noli.core.model import Model
from noli.ops.boxes import Marked, suppressed
from noli.zoo.base import conv_block, seeded
from noli.zoo.fastestdet import COCO, COUNTER, FastestDet, fastestdet_weights

MEAN, STD = 0.47, 0.25
# What is less sure is no finding; of a picture so many may be looked through, and so many stay.
LEAST, LOOKED_AT, KEPT = 0.05, 300, 100


class DetectorNet(Protocol):
    """What a network must have beside ``forward(x) -> [N, C, h, w]``."""

    def located(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores in [0, 1] ``[N, cells, K]`` and boxes in pixels ``[N, cells, 4]``."""


class SmallDetector(nn.Module):
    """Six convolutions and two heads.

    Layers whose output can be locked: ``body.0`` ... ``body.5``. The last is read by both heads.

    Args:
        classes: Number of classes K.
        channels: 1 or 3.
        width: Channels of the feature maps.
        stride: Pixels per cell, 8 or 16.
    """

    def __init__(self, classes: int, channels: int = 3, width: int = 64, stride: int = 8) -> None:
        super().__init__()
        if stride not in (8, 16) or classes < 1 or channels not in (1, 3):
            why = f"got {classes} classes, {channels} channels, stride {stride}"
            raise UsageError("A detector needs classes, 1 or 3 channels and a stride of 8 or 16.", why=why)
        self.stride, self.classes = stride, classes
        self.body = nn.Sequential(
            conv_block(channels, width // 2, kernel=2, stride=2),
            conv_block(width // 2, width, stride=2),
            conv_block(width, width, stride=2),
            conv_block(width, width, stride=stride // 8),
            _wide_block(width, 2),
            _wide_block(width, 4),
        )
        self.sorts = nn.Conv2d(width, classes, 1)
        self.sides = nn.Conv2d(width, 4, 1)
        # Nearly every cell is empty: begin with a score of 0.01, as focal loss wants it.
        nn.init.constant_(self.sorts.bias, -4.6)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``[N, C, H, W]`` to ``[N, K + 4, h, w]``: class logits, log distances."""
        seen = self.body(x)
        return torch.cat([self.sorts(seen), self.sides(seen)], 1)

    def located(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores ``[N, h w, K]`` and boxes ``[N, h w, 4]``."""
        logits, sides = self.parts(raw)
        return logits.sigmoid(), self.boxes(sides, raw.shape[-2:])

    def parts(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits ``[N, h w, K]`` and distances of left, top, right, bottom ``[N, h w, 4]``."""
        flat = raw.flatten(2).transpose(1, 2)
        # Bounded, so that no box grows without end: e^6 strides.
        return flat[..., : self.classes], flat[..., self.classes :].clamp(-6, 6).exp() * self.stride

    def boxes(self, sides: Tensor, grid: Sequence[int]) -> Tensor:
        """Return boxes from distances; see :meth:`parts`."""
        centre = self.centres(grid, sides.device)
        return torch.cat([centre - sides[..., :2], centre + sides[..., 2:]], -1)

    def centres(self, grid: Sequence[int], device: torch.device) -> Tensor:
        """Return the middle of every cell in pixels, ``[h w, 2]``: x and y."""
        rows, columns = (torch.arange(n, device=device) for n in grid)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return (torch.stack([x.flatten(), y.flatten()], 1) + 0.5) * self.stride


def _wide_block(width: int, dilation: int) -> nn.Sequential:
    """A block that sees further: objects are larger than what six plain convolutions look at."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


DETECTORS: Mapping[str, Callable[..., nn.Module]] = {
    "small-detector": SmallDetector,
    "fastestdet": FastestDet,
}


class Detector(Model):
    """A detector on working images; carries its normalisation and class names like every Model.

    Args are those of :class:`noli.core.model.Model`; `net` is one of ``DETECTORS`` or has ``located`` as they
    have it (:class:`DetectorNet`).
    """

    def located(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores ``[N, cells, K]`` and boxes ``[N, cells, 4]`` for working images ``[N, C, H, W]``."""
        return cast(DetectorNet, self.net).located(self(x).float())

    def detect(
        self, images: npt.NDArray[Any], batch: int = 50, least: float = LEAST, looked_at: int = LOOKED_AT
    ) -> list[Marked]:
        """Find objects; doubles are suppressed within a class, at most 100 stay per picture.

        Args:
            images: Stored images ``uint8 [N, H, W, C]`` or working images ``float32 [N, C, H, W]``.
            batch: Images per forward pass.
            least: Score from which something counts as found.
            looked_at: So many of a picture, the surest, are searched for doubles.

        Returns:
            Per picture boxes in its pixels, surest first.
        """
        net, found = cast(DetectorNet, self.net), list[Marked]()
        for start in range(0, len(images), batch):
            raw = self.predict(images[start : start + batch], batch)
            with torch.no_grad():
                scores, boxes = net.located(torch.from_numpy(raw))
            pairs = zip(scores.numpy(), boxes.numpy(), strict=True)
            found += [_picked(*one, least, looked_at) for one in pairs]
        return found


def _picked(scores: npt.NDArray[Any], boxes: npt.NDArray[Any], least: float, looked_at: int) -> Marked:
    cells, labels = np.nonzero(scores >= least)
    sure = scores[cells, labels]
    order = np.argsort(-sure, kind="stable")[:looked_at]
    cells, labels, sure = cells[order], labels[order], sure[order]
    kept = suppressed(boxes[cells], sure, labels, limit=KEPT)
    return Marked(boxes[cells[kept]], labels[kept], sure[kept])


def build_detector(arch: str, args: Mapping[str, Any]) -> nn.Module:
    """Make an untrained network of ``DETECTORS``; a `UsageError` names them."""
    if arch not in DETECTORS:
        raise UsageError(f"There is no detector {arch!r}.", fix=f"use one of {', '.join(DETECTORS)}")
    return DETECTORS[arch](**args)


def detector(classes: Sequence[str], *, seed: int = 0, **options: Any) -> Detector:
    """Make an untrained small detector; the weights depend on `seed` only and no global generator moves.

    Args:
        classes: Their names, at least one.
        seed: Of the initial weights.
        **options: Of :class:`SmallDetector`: ``width``, ``stride``, ``channels``.

    Raises:
        UsageError: Sizes that cannot be.
    """
    args = {"classes": len(classes), **options}
    with seeded(seed):
        net = build_detector("small-detector", args)
    return Detector(net, mean=(MEAN,), std=(STD,), class_names=classes, arch="small-detector", arch_args=args)


def import_fastestdet(checkpoint: str | Path) -> Detector:
    """Return FastestDet with published weights, to be saved with :meth:`Detector.save` once and for all.

    The checkpoint is a pickle; torch's reader for tensors only (``weights_only``) opens it, and this is the
    only place in noli that reads one.

    Args:
        checkpoint: State dict with the published names, 352 x 352 pixels, COCO's 80 classes.

    Raises:
        DataError: It is no such file, or its tensors do not fit.
    """
    weights = fastestdet_weights(checkpoint)
    with seeded(0):
        net = FastestDet()
    try:
        told = net.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise DataError("The tensors do not fit FastestDet.", where=str(checkpoint), why=why) from error
    if told.unexpected_keys or any(not name.endswith(COUNTER) for name in told.missing_keys):
        why = f"{len(told.unexpected_keys)} tensors too many, {len(told.missing_keys)} missing"
        raise DataError("The tensors are not those of FastestDet.", where=str(checkpoint), why=why)
    args = {"classes": len(COCO)}
    return Detector(net.eval(), mean=(0.0,), std=(1.0,), class_names=COCO, arch="fastestdet", arch_args=args)


def load_detector(path: str | Path) -> Detector:
    """Read a detector that was saved with :meth:`Model.save`; errors are those of :meth:`Model.load`."""
    return cast(Detector, Detector.load(path, build_detector))
