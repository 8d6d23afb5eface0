"""CUDA: convolution-based unlearnable data (Sadasivan, Soltanolkotabi, Feizi; CVPR 2023; arXiv 2303.04278).

Every class gets a secret k x k filter: taps drawn from U(0, p_b), one tap set to 1. Each image is filtered
with its class's filter (cross-correlation, the same for all channels). A network trained on the result learns
"which filter" instead of "what is shown" and fails on clean images. Labels and image sizes do not change.

Two modes. ``paper`` is the published maths: zero padding, division by the image's largest value.
``keyed`` (default, ours) draws the same kind of filters but

* puts the tap of 1 on the output pixel, so the image is not shifted, and divides by the filter's sum, so
  exposure is kept (better PSNR for the same filters); the dark edge that zero padding leaves stays, because
  it is part of the effect: ``border="reflect"`` avoids it and protects less, above all against adversarial
  training and JPEG (measured in benchmarks/leak_frontier.py);
* adds keyed random taps per image (``jitter``), so that one leaked pair of a clean and a protected image
  does not give the class's other images away;
* derives filters from the key and the class *name*, so that adding classes or images changes nothing else;
* draws taps that are either 0 or p_b: filters lie further apart than with uniform taps;
* draws again when a filter nearly equals another class's, and takes, of several sets of filters that the
  key gives, the one that :func:`noli.ops.spectra.attraction_entropy` says protects best.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1] in and out, C in {1, 3}, any H and W >= 1.

Threat model: the owner publishes only protected images, all of a class, and keeps key and originals private;
a trainer trains anything on them with the true labels. The card below says what this does not stop.
Where we differ from the authors' description: an all-black image stays black (0/0 in the formula), values
are rounded to 8 bits (not truncated), and randomness comes from a 256-bit key instead of an integer seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.dataset import Item, check_labels
from noli.core.images import Working, check_images
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.ops.filters import (
    Anchors,
    Border,
    Kernel,
    filter_batch,
    image_peaks,
    invert_batch,
    rescale_to_max,
)
from noli.ops.spectra import Vectors, attraction_entropy, nearest_distance, signature

LARGE_SIDE = 128
_ATTEMPTS = 32
_BLUR_POWER = math.log(5, 3)


class Config(MethodConfig):
    """Options of CUDA. Paper defaults: k = 3, p_b = 0.3 up to 64 px; k = 9, p_b = 0.06 at 224 px."""

    mode: Literal["keyed", "paper"] = Field("keyed", description="keyed (ours) or paper (published maths)")
    kernel: int | None = Field(
        None, ge=3, le=31, description="side k of the filters in pixels, odd; by resolution if not given"
    )
    blur: float | None = Field(
        None, gt=0, le=1, description="p_b, upper bound of the random taps; by resolution if not given"
    )
    border: Border = Field(
        "zero",
        description="zero: pixels outside are black, as published; reflect: no dark edge, protects less",
    )
    taps: Literal["uniform", "binary"] | None = Field(
        None, description="class taps from U(0, blur) or from {0, blur}; paper: uniform, keyed: binary"
    )
    jitter: float = Field(
        1.0, ge=0, le=4, description="keyed mode: random taps per image, in units of blur (paper: 0)"
    )
    separation: float = Field(
        0.1, ge=0, le=1, description="keyed mode: smallest log-spectral distance between classes' filters"
    )

    candidates: int = Field(
        16, ge=1, le=256, description="keyed mode: sets of filters to choose from (paper: 1)"
    )

    def model_post_init(self, _context: object) -> None:
        """Refuse even kernel sides."""
        if self.kernel is not None and self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")

    def shape_for(self, height: int, width: int) -> tuple[int, float]:
        """Kernel side and blur for an image of this size."""
        kernel, blur = (3, 0.3) if min(height, width) < LARGE_SIDE else (9, 0.06)
        if self.kernel is not None:
            # A power law through the paper's two settings, (3, 0.3) and (9, 0.06).
            kernel, blur = self.kernel, 0.3 * (3 / self.kernel) ** _BLUR_POWER
        return kernel, self.blur if self.blur is not None else blur

    @property
    def binary(self) -> bool:
        """Whether class taps are either 0 or the blur."""
        return self.taps == "binary" if self.taps else self.mode == "keyed"


SPEC = Spec(
    name="protect/cuda",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels"}),
    reversible=True,
    options=("mode", "jitter"),
    module=__name__,
    card=Card(
        title="CUDA: convolution-based unlearnable data",
        paper="Sadasivan, Soltanolkotabi, Feizi. CUDA: Convolution-based Unlearnable Datasets. CVPR 2023. "
        "arXiv 2303.04278",
        stops=(
            "Ordinary training of image classifiers on the protected images with their true labels.",
            "Usual augmentations and small-norm adversarial training: weaker protection, but still a loss.",
        ),
        does_not_stop=(
            "A trainer who knows filters are used: sharpening with frequency filtering (RSK+FF) and random "
            "displacement (COIN) undo them.",
            "A thief who obtains clean originals beside their protected versions.",
            "Training with other labels than yours, or on any unprotected copies of the same images.",
            "Models that were trained before, and uses other than training (viewing, copying, editing).",
        ),
        bibtex="@inproceedings{sadasivan2023cuda, title={{CUDA}: Convolution-based Unlearnable Datasets}, "
        "author={Sadasivan, Vinu Sankar and Soltanolkotabi, Mahdi and Feizi, Soheil}, booktitle={CVPR}, "
        "year={2023}}",
    ),
)


# ---------------------------------------------------------------------------------------- filters


@lru_cache(maxsize=4096)  # images arrive a few at a time; drawing again would cost as much as filtering
def class_filter(
    key: Key, label: str, draw: int, kernel: int, blur: float, binary: bool
) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
    """Draw the filter of one class.

    Args:
        key: Owner's key.
        label: Class name.
        draw: Which of the key's draws for this class.
        kernel: Side k.
        blur: Upper bound p_b of the random taps.
        binary: Taps from {0, blur} with equal chances instead of U(0, blur).

    Returns:
        The kernel ``[k, k]``, and the position (row, column) of its tap of 1.
    """
    stream = key.stream(f"protect/cuda/class/{draw}", label)
    row, column = (int(u * kernel) for u in stream.uniform(2))
    taps = stream.uniform(kernel * kernel)
    scaled = (np.where(taps < 0.5, 0.0, blur) if binary else taps * blur).reshape(kernel, kernel)
    filled = scaled.astype(np.float32)
    filled[row, column] = 1.0
    filled.setflags(write=False)
    return filled, (row, column)


@dataclass(frozen=True)
class ItemFilters:
    """Filters of N images, all of one size.

    Attributes:
        kernels: Class filters ``[N, k, k]``, scaled.
        anchors: Tap that lies on the output pixel, ``[N, 2]``.
        noise: Taps added per image ``[N, k, k]``, scaled, with an anchor of their own; None without jitter.
        noise_anchors: ``[N, 2]``.
    """

    kernels: Kernel
    anchors: Anchors
    noise: Kernel | None = None
    noise_anchors: Anchors | None = None

    def apply(self, batch: Working, border: Border) -> Working:
        """Filter working images; two small filters cost less than their sum, which is twice as wide."""
        out = filter_batch(batch, self.kernels, border, self.anchors)
        if self.noise is not None:
            out += filter_batch(batch, self.noise, border, self.noise_anchors)
        return out

    def joined(self) -> tuple[Kernel, Anchors]:
        """The same as one filter per image: kernels ``[N, m, m]`` and anchors."""
        if self.noise is None or self.noise_anchors is None:
            return self.kernels, self.anchors
        n, k, _ = self.kernels.shape
        wide = np.zeros((n, 2 * k - 1, 2 * k - 1), np.float32)
        for part, spots in ((self.kernels, self.anchors), (self.noise, self.noise_anchors)):
            for target, taps, (row, column) in zip(wide, part, (k - 1 - spots).tolist(), strict=True):
                target[row : row + k, column : column + k] += taps
        return wide, np.full((n, 2), k - 1)


def item_filters(
    state: State, items: Sequence[Item], key: Key, cfg: Config, height: int, width: int
) -> ItemFilters:
    """The filters of the items, all images being ``height x width``."""
    kernel, blur = cfg.shape_for(height, width)
    draws: dict[str, int] = state["draws"]
    labels = _labels(items, draws)
    bank = [class_filter(key, label, draws[label], kernel, blur, cfg.binary) for label in labels]
    rows = np.fromiter((labels[str(item.label)] for item in items), np.intp, len(items))
    kernels = np.stack([taps for taps, _ in bank])[rows]
    if cfg.mode == "paper":
        return ItemFilters(kernels, np.full((len(items), 2), kernel // 2))
    anchors = np.array([spot for _, spot in bank])[rows]
    total = kernels.sum(axis=(1, 2), keepdims=True)
    if not cfg.jitter:
        return ItemFilters(kernels / total, anchors)
    # The extra taps lie around the output pixel in a window that moves from image to image: taps that
    # were always in the same places would add a common blur, which one leaked pair gives away.
    raw = np.stack([key.stream("protect/cuda/item", i.id).uniform(2 + kernel**2) for i in items])
    spots = (raw[:, :2] * kernel).astype(np.int64)
    noise = (raw[:, 2:] * (cfg.jitter * blur)).reshape(kernels.shape).astype(np.float32)
    noise[np.arange(len(items)), spots[:, 0], spots[:, 1]] = 0.0
    total += noise.sum(axis=(1, 2), keepdims=True)
    return ItemFilters(kernels / total, anchors, noise / total, spots)


def _labels(items: Sequence[Item], known: dict[str, int]) -> dict[str, int]:
    """The items' class names, numbered."""
    check_labels(items, "CUDA", known)
    return {label: row for row, label in enumerate(sorted({str(item.label) for item in items}))}


# ---------------------------------------------------------------------------------------- the method


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Choose, per class name, which keyed draw to use; classes of ``previous`` keep theirs.

    A draw is rejected when its filter is closer than ``cfg.separation`` to another class's; after 32 draws
    the best one is taken. Of ``cfg.candidates`` complete sets the one with the lowest attraction entropy
    is used. Later classes join the chosen set.

    Returns:
        ``{"draws": {class: draw}, "series": chosen set, "judged": [kernel, blur]}``; not secret.
    """
    old = previous or {}
    draws: dict[str, int] = dict(old.get("draws", {}))
    fresh = [label for label in summary.classes if label not in draws]
    if cfg.mode == "paper":
        return {"draws": draws | dict.fromkeys(fresh, 0)}
    height, width, _ = max(summary.shapes, key=lambda s: (summary.shapes[s], s), default=(32, 32, 3))
    kernel, blur = old.get("judged", cfg.shape_for(height, width))

    def vector(label: str, draw: int) -> Vectors:
        return signature(class_filter(key, label, draw, kernel, blur, cfg.binary)[0][None])

    serieses = [old["series"]] if old else range(cfg.candidates)
    sets = {s: _complete(draws, fresh, s * _ATTEMPTS, vector, cfg.separation) for s in serieses}
    best = min(sets, key=lambda s: _attraction(sets[s], vector))
    return {"draws": sets[best], "series": best, "judged": [kernel, blur]}


def _complete(
    draws: dict[str, int],
    fresh: list[str],
    first: int,
    vector: Callable[[str, int], Vectors],
    separation: float,
) -> dict[str, int]:
    """Add the fresh classes, each with its first draw from ``first`` on that keeps away from the others."""
    chosen = dict(draws)
    taken = [vector(label, draw) for label, draw in chosen.items()]
    for label in fresh:
        others = np.concatenate(taken) if taken else np.empty((0, 1))
        distances = []
        for draw in range(first, first + _ATTEMPTS):
            distances.append(float(nearest_distance(vector(label, draw), others)[0]))
            if distances[-1] >= separation:
                break
        chosen[label] = first + int(np.argmax(distances))
        taken.append(vector(label, chosen[label]))
    return chosen


def _attraction(draws: dict[str, int], vector: Callable[[str, int], Vectors]) -> float:
    lengths = [np.linalg.norm(vector(label, draw)) for label, draw in draws.items()]
    return attraction_entropy(np.array(lengths)) if lengths else 0.0


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Protect working images.

    Args:
        state: Result of :func:`prepare`.
        batch: ``float32 [N, C, H, W]`` in [0, 1].
        items: The N items; ``label`` and (keyed mode) ``id`` are used.
        key: Owner's key.
        cfg: Options.

    Returns:
        ``float32 [N, C, H, W]`` in [0, 1].

    Raises:
        DataError: Bad images, or an item whose class is unknown.
    """
    check_images(batch)
    if len(batch) == 0:
        return batch
    out = item_filters(state, items, key, cfg, *batch.shape[2:]).apply(batch, cfg.border)
    if cfg.mode == "paper":
        return rescale_to_max(out)
    return np.minimum(out, np.float32(1.0), out=out)  # taps and values are never negative


def invert(
    state: State,
    batch: Working,
    items: Sequence[Item],
    key: Key,
    cfg: Config,
    extras: Sequence[dict[str, float]],
) -> Working:
    """Undo :func:`apply` with the key: least squares with the exact border (no published counterpart).

    Args:
        state: Result of :func:`prepare`.
        batch: Protected working images.
        items: The N items, with the ids of the *original* images.
        key: Owner's key.
        cfg: Options of the protection.
        extras: Per item ``{"scale": peak}`` as recorded by :func:`extras` (paper mode).

    Returns:
        ``float32 [N, C, H, W]`` in [0, 1].
    """
    check_images(batch)
    if len(batch) == 0:
        return batch
    kernels, anchors = item_filters(state, items, key, cfg, *batch.shape[2:]).joined()
    scale = np.array([extra.get("scale", 1.0) for extra in extras], np.float32)
    restored = invert_batch(
        batch * scale[:, None, None, None], kernels, cfg.border, anchors, damping=1e-4, steps=30
    )
    return np.clip(restored, 0.0, 1.0, out=restored)


def extras(
    state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config
) -> list[dict[str, float]]:
    """Per item the number :func:`invert` needs: in paper mode the value that was divided by."""
    if cfg.mode != "paper" or len(batch) == 0:
        return [{} for _ in items]
    filtered = item_filters(state, items, key, cfg, *batch.shape[2:]).apply(batch, cfg.border)
    peaks: list[float] = image_peaks(filtered).tolist()
    return [{"scale": peak if peak > 0 else 1.0} for peak in peaks]
