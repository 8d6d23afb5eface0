"""Boxes: overlap, suppression of doubles, and mean average precision as VOC and COCO measure it.

Boxes are ``float [N, 4]``: left, top, right, bottom in pixels, right and bottom exclusive; what is not wider
and higher than nothing overlaps with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
# COCO's ten overlaps: 0.50, 0.55 ... 0.95.
OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class Marked:
    """Boxes of one picture.

    Attributes:
        boxes: ``float [N, 4]``.
        labels: ``int [N]``, places in the list of classes.
        scores: ``float [N]``, higher is surer; empty where the boxes are true.
    """

    boxes: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Precision:
    """How well boxes were found.

    Attributes:
        at_half: Mean average precision at an overlap of 0.5.
        coco: Mean over the overlaps of 0.50, 0.55 ... 0.95.
        of_class: Average precision at 0.5 by class; NaN for a class without a true box.
    """

    at_half: float
    coco: float
    of_class: tuple[float, ...]


def overlap(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Boxes:
    """Return intersection over union of every box of ``a [N, 4]`` with every one of ``b [M, 4]``: ``[N, M]``.

    0 where one of the two is empty.
    """
    a, b = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (a, b))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    sizes = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (a, b)]
    union = sizes[0][:, None] + sizes[1][None] - shared
    shares: Boxes = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return shares


def suppressed(
    boxes: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    most: float = 0.5,
    limit: int | None = None,
) -> npt.NDArray[np.int64]:
    """Return which boxes stay when of two of a class that overlap by more than `most` only the surer does.

    Args:
        boxes: ``[N, 4]``.
        scores: ``[N]``; of equal ones the earlier counts as surer.
        labels: ``[N]``; boxes of different classes leave each other alone.
        most: In [0, 1].
        limit: So many are enough; None: all.

    Returns:
        Places in `boxes`, surest first.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    boxes, labels = boxes[order], labels[order]
    left, kept = np.ones(len(order), bool), list[int]()
    for place in range(len(order)):
        if len(kept) == limit:
            break
        if left[place]:
            kept.append(place)
            doubles = overlap(boxes[place : place + 1], boxes[place + 1 :])[0] > most
            left[place + 1 :] &= ~(doubles & (labels[place + 1 :] == labels[place]))
    return order[kept]


def average_precision(hits: npt.NDArray[np.bool_], truths: int) -> float:
    """Return the area under the precision-recall curve, with every point and the envelope from the right.

    Args:
        hits: ``[N]``, surest first: whether a finding is right.
        truths: How many true boxes there are; NaN is returned where there are none.
    """
    if truths == 0:
        return float("nan")
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / truths)


def mean_precision(found: Sequence[Marked], true: Sequence[Marked], classes: int) -> Precision:
    """Return mean average precision over the classes that have true boxes.

    The surest finding chooses first, over all pictures, and takes the free true box of its class and picture
    that it overlaps most; of equally sure ones the earlier, of equally good boxes the first. At most one
    finding is right per true box. "Difficult" boxes and crowds are boxes like any other.

    Args:
        found: Per picture, with scores.
        true: Per picture.
        classes: How many classes there are.

    Returns:
        All NaN where there is no true box at all.
    """
    by_class = np.full((classes, len(OVERLAPS)), np.nan)
    for label in range(classes):
        pairs = [
            (one.scores[one.labels == label], overlap(_of(one, label), _of(other, label)))
            for one, other in zip(found, true, strict=True)
        ]
        truths = sum(shared.shape[1] for _, shared in pairs)
        scores = np.concatenate([sure for sure, _ in pairs]) if pairs else np.zeros(0)
        order = np.argsort(-scores, kind="stable")
        for column, least in enumerate(OVERLAPS):
            hits = [_hits(sure, shared, least) for sure, shared in pairs]
            flat = np.concatenate(hits) if hits else np.zeros(0, bool)
            by_class[label, column] = average_precision(flat[order], truths)
    there = ~np.isnan(by_class[:, 0])
    if not there.any():
        return Precision(float("nan"), float("nan"), tuple(by_class[:, 0].tolist()))
    means = by_class[there].mean(0)
    return Precision(float(means[0]), float(means.mean()), tuple(by_class[:, 0].tolist()))


def _of(marked: Marked, label: int) -> npt.NDArray[Any]:
    boxes: npt.NDArray[Any] = np.asarray(marked.boxes).reshape(-1, 4)[np.asarray(marked.labels) == label]
    return boxes


def _hits(scores: npt.NDArray[Any], shared: Boxes, least: float) -> npt.NDArray[np.bool_]:
    """Return which findings of one picture and class are right; pictures do not interfere with each other."""
    hits, free = np.zeros(len(scores), bool), np.ones(shared.shape[1], bool)
    for place in np.argsort(-np.asarray(scores, np.float64), kind="stable"):
        if not free.any():
            break
        good = np.where(free, shared[place], -1.0)
        best = int(good.argmax())
        if good[best] >= least:
            hits[place], free[best] = True, False
    return hits
