"""AR: autoregressive perturbations (Sandoval-Segura et al.; NeurIPS 2022; arXiv 2206.03693).

Every class has a secret autoregressive process per channel: a pixel of the noise is a weighted sum of its 8
neighbours above and to the left within a 3 x 3 window, weights summing to 1. Each image gets noise of its
class's process from a random start, so no two images share a pattern, yet one layer of convolutions tells
the classes apart: the filter that belongs to a process answers it with 0. No model is needed.

Shapes: working images ``float32 [N, C, H, W]`` in and out, C in {1, 3}, any H and W >= 1. Ranges: values in
[0, 1]; the noise has the L2 norm ``l2 * sqrt(C H W / 3072)``, which is the paper's 1.0 on CIFAR-10 and 3.0
on STL-10, or the largest magnitude ``linf``, before values are clipped to [0, 1] and rounded.

Threat model: the owner publishes only protected images, all of a class, and keeps key and originals private;
a trainer trains anything on them with the true labels. What it does not stop is on the card below.

Where ours differs from the authors' description, and why:

* weights come from the key and the class *name*, starts from the key and the item's id. Of 64 keyed
  processes per class and channel the first is taken that is stable and far from those in use; with
  ``previous``, older classes keep theirs, so more classes or images change nothing old;
* far means: each filter answers the other's noise with at least ``separation`` of that noise's root mean
  square, in every channel, so that grey images (first channel only) are covered. Two processes that copy the
  pixel to the left or above count as in use: pictures are smooth themselves;
* a process that is stable on 32 px can explode on larger images. Stability is tested at 48 px, and images
  with a longer side are covered by equal tiles of at most 48 px, each with a start of its own and of equal
  strength, so the weights do not depend on the image size. Over a seam a filter's answer is not 0;
* only the edge of a start is drawn: nothing else enters the recurrence. Values are rounded to 8 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field

from noli.core.dataset import Item, check_labels
from noli.core.images import Working
from noli.core.key import Key
from noli.core.keystream import Floats
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.ops.autoregress import COPIES, edge_size, lay_tiles, sweep, tiles, try_out
from noli.ops.noise import additive, keyed_normals, scale_l2, scale_linf

LARGEST = 48  # side of a tile, pixels
_WARM = 4  # rows and columns of the start that are cut off, as in the authors' description
_POOL = 64
_TRIALS = 3
_TAME = 0.9  # largest root mean square from a start of 1: norm 50 at 32 px, as in that description
_PAPER_VALUES = 3 * 32 * 32


class Config(MethodConfig):
    """Options of AR. Paper: L2 norm 1.0 at 32 px (or 8/255 per value)."""

    norm: Literal["l2", "linf"] = Field(
        "l2", description="bound on the noise: l2, its norm, or linf, its largest value (paper: l2)"
    )
    l2: float = Field(
        1.0, gt=0, le=10, description="L2 norm at 32 px in colour; other sizes sqrt(values / 3072) of it"
    )
    linf: float = Field(
        8 / 255, gt=0, le=0.5, description="with norm=linf: largest value of the noise, in [0, 1] units"
    )
    separation: float = Field(
        0.2, ge=0, le=1, description="smallest answer of a class's filters to another's noise, relative"
    )


SPEC = Spec(
    name="protect/ar",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels"}),
    reversible=True,
    options=("norm", "l2", "linf"),
    module=__name__,
    card=Card(
        title="AR: autoregressive perturbations",
        paper="Sandoval-Segura, Singla, Geiping, Goldblum, Goldstein, Jacobs. Autoregressive Perturbations "
        "for Data Poisoning. NeurIPS 2022. arXiv 2206.03693",
        stops=(
            "Long training of image classifiers without augmentation, on the images with their true labels.",
        ),
        does_not_stop=(
            "Averaging: the noise is the same kind for a whole class, so its statistics show it.",
            "JPEG compression, blurring, resizing and strong augmentation: the noise is fine and faint, and "
            "most of the accuracy comes back.",
            "Crop and flip, with a small network: in noli's leaderboard most of the accuracy came back.",
            "Training on greyscale copies, sharpening with frequency filtering (RSK+FF), random displacement "
            "(COIN) and orthogonal projection: there, too, most of it came back.",
            "Adversarial training, and short trainings, because the noise is learned late: in noli's effect "
            "test, 100 steps on small photographs, nothing was lost.",
            "Fitting filters to the images of a class, which shows its process.",
            "A thief who obtains clean originals beside their protected versions.",
            "Training with other labels than yours, or on any unprotected copies of the same images.",
            "Models that were trained before, and uses other than training (viewing, copying, editing).",
        ),
        bibtex="@inproceedings{sandovalsegura2022autoregressive, title={Autoregressive Perturbations for "
        "Data Poisoning}, author={Sandoval-Segura, Pedro and Singla, Vasu and Geiping, Jonas and "
        "Goldblum, Micah and Goldstein, Tom and Jacobs, David}, booktitle={NeurIPS}, year={2022}}",
    ),
)


@lru_cache(maxsize=4096)
def candidates(key: Key, label: str, channel: int) -> Floats:
    """The processes that one channel of a class may take: weights ``[8, 64]``, each of them summing to 1."""
    drawn = key.stream(f"protect/ar/class/{channel}", label).normal(8 * _POOL).reshape(_POOL, 8)
    weights: Floats = (drawn / drawn.sum(axis=1, keepdims=True)).T
    weights.setflags(write=False)
    return weights


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Choose, per class name and channel, which keyed process to use; classes of ``previous`` keep theirs.

    The first stable candidate that is ``cfg.separation`` away from the processes in use is taken, or the
    farthest stable one where none is.

    Returns:
        ``{"draws": {class: [candidate of each channel]}}``; not secret.
    """
    old: dict[str, list[int]] = (previous or {}).get("draws", {})
    fresh = [label for label in summary.classes if label not in old]
    draws: dict[str, list[int]] = {label: [] for label in fresh}
    side = LARGEST + _WARM
    starts = key.stream("protect/ar/trial", "").normal(_TRIALS * edge_size(side, side)).reshape(-1, _TRIALS)
    for channel in range(3) if fresh else ():
        known = [candidates(key, label, channel)[:, draw[channel]] for label, draw in old.items()]
        in_use = np.concatenate([COPIES, np.reshape(known, (-1, 8)).T], axis=1)
        _, taken = try_out(in_use, starts, side, _WARM)
        for label in fresh:
            places, tried = try_out(candidates(key, label, channel), starts, side, _WARM, _TAME)
            distances = tried.distance(taken)
            apart = np.flatnonzero(distances >= cfg.separation)
            best = int(apart[0] if len(apart) else np.argmax(distances))
            draws[label].append(places[best])
            taken = taken.join(tried, best)
    return {"draws": old | draws}


def noise(
    state: State, items: Sequence[Item], key: Key, cfg: Config, channels: int, height: int, width: int
) -> Working:
    """Noise of N images of one size, ``float32 [N, C, H, W]``."""
    draws = state["draws"]
    check_labels(items, "AR", draws)
    n, (down, h), (across, w) = len(items), tiles(height, LARGEST), tiles(width, LARGEST)
    picked = [
        [candidates(key, str(i.label), c)[:, draws[i.label][c]] for c in range(channels)] for i in items
    ]
    weights = np.broadcast_to(np.array(picked)[:, None], (n, down * across, channels, 8)).reshape(-1, 8).T
    size = edge_size(h + _WARM, w + _WARM)
    edges = keyed_normals(key, "protect/ar/item", items, down * across * channels * size).reshape(-1, size).T
    made = sweep(weights.copy(), edges.copy(), h + _WARM, w + _WARM)[_WARM:, _WARM:]
    whole = lay_tiles(made.reshape(h, w, n, down, across, channels))[:, :, :height, :width]
    if cfg.norm == "linf":
        return scale_linf(whole, cfg.linf)
    return scale_l2(whole, cfg.l2 * math.sqrt(channels * height * width / _PAPER_VALUES))


apply, invert = additive(noise)
