"""OPS: one-pixel shortcut (Wu, Chen, Xie, Huang; ICLR 2023; arXiv 2205.12141).

Every class gets one position and one extreme colour, and every image of the class gets that pixel set: the
pair that differs most, and most evenly, from what the class's images have there (mean over the images of the
distance to the colour, divided by its variance), at a position no other class uses. A network learns the
pixel. No surrogate, no bound: the pixel is plainly visible.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1], C in {1, 3}. Positions are searched on squares of
``size`` pixels and hold for pictures of any size, where the pixel is a block of about 1/size of each side.

Threat model: a trainer who trains on all protected images with your labels; adversarially as well according
to the paper, but not in noli's own measurement. It does not stop greyscale, cutout, cutmix, JPEG, median
filters, RSK+FF, COIN or orthogonal projection; a detector is trivial: a pixel that is constant over a class.
Averaging a class shows it, and so does a leaked pair. Where ours differs: covariances instead of one pass per
candidate (same result), images of mixed sizes (classes keep apart on all of them), classes of a later run
keep away from earlier positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.dataset import Item, check_labels
from noli.core.errors import DataError, UsageError
from noli.core.images import Working, check_images
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State

_FLAT = 1e-4
_CHUNK = 512
_SMALLEST = 8


class Config(MethodConfig):
    """Options of OPS. Paper: one pixel, variance."""

    pixels: int = Field(1, ge=1, le=64, description="pixels per class")
    spread: Literal["variance", "deviation"] = Field(
        "variance",
        description="what the mean distance is divided by (paper: variance; authors' code: deviation)",
    )
    size: Literal["auto"] | Annotated[int, Field(ge=8, le=256)] = Field(
        "auto",
        description="side in pixels at which positions are searched; auto: that of the data, at most 64",
    )


SPEC = Spec(
    name="protect/ops",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"labels", "data"}),
    options=("pixels",),
    module=__name__,
    card=Card(
        title="OPS: one-pixel shortcut",
        paper="Wu, Chen, Xie, Huang. One-Pixel Shortcut: on the Learning Preference of Deep Neural Networks. "
        "ICLR 2023. arXiv 2205.12141",
        stops=(
            "Ordinary training from scratch on the protected images with their true labels, on 10,000 small "
            "pictures (benchmarks/leaderboard.py); in the effect test on photographs nothing was lost.",
        ),
        does_not_stop=(
            "Greyscale copies, cutout, cutmix, JPEG, median filtering and orthogonal projection.",
            "Sharpening with frequency filtering (RSK+FF) and random displacement (COIN).",
            "Adversarial training, against the paper: on the leaderboard it learned as from clean images.",
            "Anybody who looks: a pixel that is the same in all pictures of a class is easily found, also by "
            "averaging or from clean originals beside protected pictures, and painted over.",
            "Training with other labels, on unprotected copies, or from pre-trained weights, and "
            "self-supervised learning.",
        ),
        bibtex="@inproceedings{wu2023one, title={One-Pixel Shortcut: on the Learning Preference of Deep "
        "Neural Networks}, author={Wu, Shutong and Chen, Sizhe and Xie, Cihang and Huang, Xiaolin}, "
        "booktitle={ICLR}, year={2023}}",
    ),
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Search positions and colours; classes of ``previous`` keep theirs.

    Returns:
        ``{"side": s, "pixels": {class: [[row, column, [colour per channel]], ...]}}``; not secret.

    Raises:
        DataError: More classes than positions.
    """
    study, old = summary.study, previous or {}
    if study is None:
        raise UsageError("This method learns from the data: it needs it in `prepare`.", where="protect/ops")
    side = old.get("side") or _side(cfg, summary)
    found: dict[str, list[list[object]]] = dict(old.get("pixels", {}))
    fresh = [label for label in summary.classes if label not in found]
    labels = np.array([str(item.label) for item in study.items])
    images = study.images(side) if fresh else np.zeros((0, side, side, 3), np.uint8)
    taken = _near((spot for spots in found.values() for spot in spots), side, summary.shapes)
    for label in fresh:
        members = np.flatnonzero(labels == label)
        found[label] = best_pixels(images, members, cfg, taken) if len(members) else []  # type: ignore[assignment]
        taken |= _near(found[label], side, summary.shapes)
    return {"side": side, "pixels": {label: found[label] for label in found if found[label]}}


def _near(
    spots: Iterable[Sequence[object]], side: int, shapes: Iterable[tuple[int, ...]]
) -> npt.NDArray[np.bool_]:
    """Return the positions ``[side, side]`` that are among `spots`, or fall on one in pictures of some shape.

    Pictures of less than 8 pixels have no room for all classes, and do not count.
    """
    known: list[tuple[int, ...]] = [(side, side), *(s for s in shapes if _SMALLEST <= min(s[:2]) < side)]
    near = np.zeros((side, side), bool)
    for row, column, *_ in spots:
        for height, width, *_ in known:
            near |= np.outer(_meets(row, side, height), _meets(column, side, width))
    return near


def _meets(place: Any, side: int, length: int) -> list[bool]:
    """Which cells of an axis share a pixel with cell `place`."""
    own = _block(place, side, length)
    blocks = (_block(other, side, length) for other in range(side))
    return [block.start < own.stop and own.start < block.stop for block in blocks]


def best_pixels(
    images: npt.NDArray[np.uint8],
    members: npt.NDArray[np.int64],
    cfg: Config,
    taken: npt.NDArray[np.bool_],
) -> list[tuple[int, int, list[float]]]:
    """Return the best free positions of one class with their colours.

    The distance to an extreme colour is linear in the pixel, ``mean_c(x_c or 1 - x_c)``, so its mean and
    variance over the images follow from the pixel's mean and covariance.

    Args:
        images: ``uint8 [N, S, S, C]``.
        members: Rows of the class.
        cfg: Options.
        taken: ``bool [S, S]``, positions that are not free because of other classes.
    """
    mean, covariance = _moments(images, members)
    side, channels = mean.shape[0], mean.shape[2]
    colours = np.array(list(product((0.0, 1.0), repeat=channels)))
    signs = np.where(colours == 0, 1.0, -1.0) / channels
    distance = np.einsum("ijc,kc->ijk", mean, signs) + colours.mean(1)
    variance = np.einsum("kc,ijcd,kd->ijk", signs, covariance, signs).clip(min=0)
    spread = variance if cfg.spread == "variance" else np.sqrt(variance)
    score = distance / (spread + _FLAT)
    score[taken] = -np.inf
    if np.isfinite(score).all(axis=2).sum() < cfg.pixels:
        raise DataError(
            "There are fewer free positions than classes need.",
            why=f"{side} x {side} positions, {taken.sum()} taken",
            fix="give a larger --set size, or fewer pixels",
        )
    best = score.max(axis=2)
    order = np.argsort(-best, axis=None, kind="stable")[: cfg.pixels]
    spots = zip(*np.unravel_index(order, best.shape), strict=True)
    return [(int(row), int(column), colours[score[row, column].argmax()].tolist()) for row, column in spots]


def _moments(
    images: npt.NDArray[np.uint8], members: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean ``[S, S, C]`` and covariance ``[S, S, C, C]`` over the members, a few images at a time."""
    _, side, _, channels = images.shape
    total = np.zeros((side, side, channels))
    for start in range(0, len(members), _CHUNK):
        total += (images[members[start : start + _CHUNK]] / 255.0).sum(0)
    mean = total / len(members)
    covariance = np.zeros((side, side, channels, channels))
    for start in range(0, len(members), _CHUNK):
        gap = images[members[start : start + _CHUNK]] / 255.0 - mean
        covariance += np.einsum("nijc,nijd->ijcd", gap, gap)
    return mean, covariance / len(members)


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Set the pixels of every item's class; ``float32 [N, C, H, W]`` in [0, 1] in and out."""
    check_images(batch)
    out = batch.copy()
    side, known = state["side"], state["pixels"]
    check_labels(items, "OPS", known)
    _, channels, height, width = batch.shape
    for image, item in zip(out, items, strict=True):
        for row, column, colour in known[item.label]:
            value = np.array(colour if len(colour) == channels else [np.mean(colour)] * channels, np.float32)
            rows, columns = _block(row, side, height), _block(column, side, width)
            image[:, rows, columns] = value[:, None, None]
    return out


def _block(place: int, side: int, length: int) -> slice:
    """Where cell `place` of `side` lies on an axis of `length` pixels; at least one pixel."""
    first = place * length // side
    return slice(first, max(first + 1, (place + 1) * length // side))


def _side(cfg: Config, summary: DataSummary) -> int:
    if cfg.size != "auto":
        return cfg.size
    shapes = summary.shapes or {(32, 32, 3): 1}
    return min(max(_SMALLEST, min(max(shapes, key=lambda shape: (shapes[shape], shape))[:2])), 64)
