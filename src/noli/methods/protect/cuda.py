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

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from noli.core.dataset import Item
from noli.core.images import Working, check_images
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.ops.classfilters import (
    ItemFilters,
    choose_draws,
    class_filter,
    class_numbers,
    kernel_for,
    keyed_filters,
)
from noli.ops.filters import Border, image_peaks, invert_batch, rescale_to_max

__all__ = ["SPEC", "Config", "apply", "class_filter", "extras", "invert", "item_filters", "prepare"]


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
        return kernel_for(height, width, self.kernel, self.blur)

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
            "The same on greyscale copies, and with usual augmentations (cutout, mixup), though less.",
        ),
        does_not_stop=(
            "Adversarial training, also with a small norm: it left 46.1 %, where clean images teach it "
            "50.4 % and up to 36.3 % would count as protected (benchmarks/leaderboard.py, three keys).",
            "JPEG of quality 10 (three keys), resizing, blur, median filters and two bits per value (one key "
            "each): 39.0 to 47.6 % were left.",
            "Adapting the trained network to unlabelled pictures, training from pre-trained weights, and "
            "self-supervised learning: 41.0 to 45.5 % were left (one key each).",
            "A trainer who knows filters are used: sharpening with frequency filtering (RSK+FF) and random "
            "displacement (COIN) undo them.",
            "A thief who obtains clean originals beside their protected versions, or averages over a class: "
            "what all its pictures have in common gives its filter away.",
            "Training with other labels than yours, or on any unprotected copies of the same images.",
            "Models that were trained before, and uses other than training (viewing, copying, editing).",
        ),
        bibtex="@inproceedings{sadasivan2023cuda, title={{CUDA}: Convolution-based Unlearnable Datasets}, "
        "author={Sadasivan, Vinu Sankar and Soltanolkotabi, Mahdi and Feizi, Soheil}, booktitle={CVPR}, "
        "year={2023}}",
    ),
)


def item_filters(
    state: State, items: Sequence[Item], key: Key, cfg: Config, height: int, width: int
) -> ItemFilters:
    """The filters of the items, all images being ``height x width``."""
    if cfg.mode == "keyed":
        return keyed_filters(state, items, key, cfg, height, width, SPEC.name)
    kernel, blur = cfg.shape_for(height, width)
    draws: dict[str, int] = state["draws"]
    labels = class_numbers(items, draws)
    bank = np.stack([class_filter(key, n, draws[n], kernel, blur, cfg.binary)[0] for n in labels])
    rows = np.fromiter((labels[str(item.label)] for item in items), np.intp, len(items))
    return ItemFilters(bank[rows], np.full((len(items), 2), kernel // 2))


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Choose, per class name, which keyed draw to use; classes of ``previous`` keep theirs.

    Returns:
        See :func:`noli.ops.classfilters.choose_draws`; in paper mode ``{"draws": {class: 0}}``.
    """
    if cfg.mode == "paper":
        known = previous["draws"] if previous else {}
        return {"draws": known | dict.fromkeys((c for c in summary.classes if c not in known), 0)}
    return choose_draws(summary, key, cfg, previous, SPEC.name)


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
    parts = item_filters(state, items, key, cfg, *batch.shape[2:]).parts()
    scale = np.array([extra.get("scale", 1.0) for extra in extras], np.float32)
    seen = batch * scale[:, None, None, None]
    restored = invert_batch(seen, parts, cfg.border, damping=1e-4, steps=30)
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
