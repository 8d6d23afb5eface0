"""Training detectors of one shot through :func:`noli.train.fit.fit`: targets, augmentation, loss.

Boxes of a batch are one tensor ``float32 [B, M, 5]``: class, left, top, right, bottom in pixels; rows of
class -1 fill up. Focal loss over all cells (Lin et al., arXiv 1708.02002) and, in cells that are responsible
for a box, one minus the overlap (UnitBox, arXiv 1608.01471). The published locks were tried on SSD, with hard
negatives 3 : 1 and smooth L1; here focal loss takes the place of the first, overlap that of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.errors import UsageError
from noli.core.model import Model
from noli.ops.boxes import Marked, Precision, mean_precision
from noli.train.checkpoint import Checkpoint
from noli.train.fit import Callback, FitResult, fit
from noli.train.recipe import Recipe
from noli.zoo.detector import Detector, SmallDetector

RECIPE = Recipe(epochs=60, batch=16, optimiser="adam", lr=3e-3, weight_decay=0.01, warmup=0.1)
# Half the side of the middle part of a box, in cells; and how often a box may be larger than the picture.
_MIDDLE, _ALPHA, _GAMMA = 1.5, 0.25, 2.0
COUNTED, SEARCHED = 0.001, 2000  # of this score or more, so many of a picture, in a mean precision
_SHIFT = 8  # a picture is shifted by up to this part of its side


def packed(boxes: Sequence[npt.NDArray[Any]], labels: Sequence[npt.NDArray[Any]]) -> Tensor:
    """Return boxes of N pictures as one tensor ``float32 [N, M, 5]``; M is at least 1."""
    most = max([1, *map(len, labels)])
    made = torch.full((len(boxes), most, 5), -1.0)
    for row, (own, names) in enumerate(zip(boxes, labels, strict=True)):
        made[row, : len(own), 0] = torch.from_numpy(np.asarray(names, np.float32))
        made[row, : len(own), 1:] = torch.from_numpy(np.asarray(own, np.float32).reshape(-1, 4))
    return made


def unpacked(y: Tensor) -> list[Marked]:
    """Return the true boxes of every picture of ``[N, M, 5]``."""
    found = []
    for rows in y.cpu().numpy():
        there = rows[rows[:, 0] >= 0]
        found.append(Marked(there[:, 1:], there[:, 0].astype(np.int64)))
    return found


class BoxTargets(Callback):
    """Puts boxes where the loop has numbers of pictures, and mirrors and shifts pictures with their boxes.

    Args:
        boxes: ``float32 [N, M, 5]``; the loop's labels are ``arange(N)``.
    """

    def __init__(self, boxes: Tensor) -> None:
        self.boxes = boxes

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return moved pictures and their boxes ``[B, M, 5]``; what is shifted in repeats the border."""
        side, target = x.shape[-1], self.boxes[y.cpu()].clone()
        reach = x.shape[-1] // _SHIFT
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        moves = torch.randint(-reach, reach + 1, (len(x), 2), generator=generator)
        sides = target[mirrored]
        target[mirrored] = torch.stack(
            [sides[..., 0], side - sides[..., 3], sides[..., 2], side - sides[..., 1], sides[..., 4]], -1
        )
        wide = F.pad(x, (reach,) * 4, mode="replicate")
        wide[mirrored] = wide[mirrored].flip(-1)
        moved = torch.stack([
            image[:, reach - dy :, reach - dx :][:, : x.shape[2], :side]
            for image, (dx, dy) in zip(wide, moves.tolist(), strict=True)
        ])  # fmt: skip
        target[..., 1:] += torch.cat([moves, moves], 1)[:, None]
        limit = target.new_tensor([side, x.shape[2]]).repeat(2)
        target[..., 1:] = torch.minimum(target[..., 1:].clamp(min=0), limit)
        gone = (target[..., 3:] <= target[..., 1:3]).any(-1)
        target[..., 0] = target[..., 0].masked_fill(gone, -1)
        return moved, target.to(x.device)


def detection_loss(net: SmallDetector) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a small detector: ``(raw output [B, K + 4, h, w], boxes [B, M, 5]) -> scalar``."""

    def loss(raw: Tensor, y: Tensor) -> Tensor:
        logits, sides = net.parts(raw)
        centre = net.centres(raw.shape[-2:], raw.device)
        box = assigned(centre, y, net.stride)
        there = box >= 0
        count = there.sum().clamp(min=1)
        own = y.gather(1, box.clamp(min=0)[..., None].expand(-1, -1, 5))
        wanted = torch.zeros_like(logits)
        wanted[there] = F.one_hot(own[there][:, 0].long(), net.classes).to(logits.dtype)
        focal = _focal(logits, wanted).sum() / count
        # Boxes of a cell share its middle, so that overlap is a matter of distances.
        middle = centre.expand(len(raw), -1, -1)
        true = torch.cat([middle - own[..., 1:3], own[..., 3:] - middle], -1)[there]
        return focal + (1 - _shared(sides[there], true)).sum() / count

    return loss


def assigned(centre: Tensor, y: Tensor, stride: int) -> Tensor:
    """Return for which box every cell is responsible, ``int64 [B, cells]``; -1 for none.

    A cell is responsible for the smallest box in whose middle part it lies: no further than a cell and a half
    from the middle, and inside of the box. Of equally small ones it takes the first.

    Args:
        centre: ``[cells, 2]``.
        y: ``[B, M, 5]``.
        stride: Pixels of a cell.
    """
    low, high = y[:, None, :, 1:3], y[:, None, :, 3:]
    place, middle = centre[None, :, None], (low + high) / 2
    inside = ((place > low) & (place < high)).all(-1)
    near = ((place - middle).abs() <= _MIDDLE * stride).all(-1)
    size = (y[..., 3:] - y[..., 1:3]).prod(-1)[:, None].expand(-1, len(centre), -1)
    usable = inside & near & (y[:, None, :, 0] >= 0)
    smallest, box = size.masked_fill(~usable, float("inf")).min(-1)
    return box.masked_fill(smallest.isinf(), -1)


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    plain = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    right = torch.where(wanted > 0, logits, -logits).sigmoid()
    return torch.where(wanted > 0, _ALPHA, 1 - _ALPHA) * (1 - right) ** _GAMMA * plain


def _shared(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes given as distances ``[n, 4]`` from one point each, which lies in both."""
    least = torch.minimum(a, b)
    shared = (least[:, 0] + least[:, 2]) * (least[:, 1] + least[:, 3])
    sizes = [(one[:, 0] + one[:, 2]) * (one[:, 1] + one[:, 3]) for one in (a, b)]
    return shared / (sizes[0] + sizes[1] - shared).clamp(min=1e-6)


def train_detector(
    model: Detector,
    x: npt.NDArray[np.uint8],
    boxes: Tensor,
    recipe: Recipe = RECIPE,
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoint | None = None,
) -> FitResult:
    """Train a small detector in place.

    Args:
        model: With a :class:`SmallDetector`.
        x: ``uint8 [N, side, side, C]``.
        boxes: ``float32 [N, M, 5]``.
        recipe: How to train.
        callbacks: Further ones; they see pictures that were moved already, and boxes instead of labels.
        checkpoint: Where finished steps are kept.

    Raises:
        UsageError: Another network.
        DataError, RunError: See :func:`noli.train.fit.fit`.
    """
    if not isinstance(model.net, SmallDetector):
        fix = "lock this one as it is (exact folding), or train a small detector"
        raise UsageError("Only small detectors are trained here.", why=f"got {model.arch!r}", fix=fix)
    loss = detection_loss(model.net)
    numbers = np.arange(len(x))
    return fit(model, x, numbers, recipe, [BoxTargets(boxes), *callbacks], loss=loss, checkpoint=checkpoint)


def precision(model: Model, x: npt.NDArray[Any], boxes: Tensor, classes: int) -> Precision:
    """Return how well a detector finds the boxes ``[N, M, 5]`` of pictures; see :mod:`noli.ops.boxes`.

    The surest hundred of nearly all findings count, as usual for mean precisions: whoever has a detector
    chooses what is sure enough for him.
    """
    found = cast(Detector, model).detect(x, least=COUNTED, looked_at=SEARCHED)
    return mean_precision(found, unpacked(boxes), classes)
