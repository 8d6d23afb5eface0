"""LSP: linearly separable perturbations (Yu, Zhang, Chen, Yin, Liu; KDD 2022; arXiv 2111.00898).

The paper ("Availability Attacks Create Shortcuts") finds that the noise of many unlearnable examples can be
told apart by a linear classifier, so it draws such noise directly, without any model. Every class is a
Gaussian cluster in a space of 4 x 4 x 3 values: its centre is a corner of a cube, its spread a random linear
map of unit noise. Each image adds one draw of its class's cluster, blown up so that every value fills a patch
of the image (8 x 8 px at 32 px). A network learns the patches, which tell the class at once, and little else.

Shapes: working images ``float32 [N, C, H, W]`` in and out, C in {1, 3}, any H and W >= 1. Ranges: values in
[0, 1]; the noise has L2 norm ``rms * sqrt(C H W)`` before values are clipped to [0, 1] and rounded.

Threat model: the owner publishes only protected images, all of a class, and keeps key and originals private;
a trainer trains anything on them with the true labels. What it does not stop is on the card below: the noise
is a strong, simple pattern, and simple countermeasures remove it. It is here as a fast baseline.

Where ours differs from the authors' description, and why:

* a class's cluster comes from the key and the class *name*, an image's draw from the key and the item's id:
  more classes or images change nothing old, and classes may be of any size (the script draws equally many
  per class from one generator);
* the grid of patches is laid over images of any size: a patch's side is a quarter of the image's side,
  rounded per patch where that is odd. Grey images use the first of the three channels;
* corners of different classes are drawn independently, so two classes could share one: of 2^48, or of 2^16
  for grey images, where two of 100 classes coincide with a chance of 7 %;
* values are rounded to 8 bits (not truncated).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from pydantic import Field

from noli.core.dataset import Item, check_labels
from noli.core.images import Working
from noli.core.key import Key
from noli.core.keystream import Floats
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.ops.noise import additive, keyed_normals, scale_l2


class Config(MethodConfig):
    """Options of LSP. Paper: 4 x 4 patches at 32 px, separation 10, strength 6/255."""

    rms: float = Field(
        6 / 255, gt=0, le=0.5, description="root mean square of the noise, in [0, 1] units (paper: 6/255)"
    )
    patches: int = Field(4, ge=1, le=8, description="patches per side of the image (paper: 4)")
    separation: float = Field(
        10.0, ge=0, le=1000, description="distance of class centres from 0 along every axis (paper: 10)"
    )


SPEC = Spec(
    name="protect/lsp",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels"}),
    reversible=True,
    options=("rms", "patches"),
    module=__name__,
    card=Card(
        title="LSP: linearly separable synthetic perturbations",
        paper="Yu, Zhang, Chen, Yin, Liu. Availability Attacks Create Shortcuts. KDD 2022. arXiv 2111.00898",
        stops=(
            "Training of image classifiers without augmentation, on the protected images with their true "
            "labels, as long as nobody looks for the noise.",
        ),
        does_not_stop=(
            "Averaging the images of a class, which shows its pattern, and subtracting it.",
            "Training on grey versions of colour images, and orthogonal projection, which removes what a "
            "linear classifier finds: both restore most of the accuracy.",
            "JPEG compression, strong augmentation and adversarial training, which restore most of it too.",
            "A thief who obtains clean originals beside their protected versions.",
            "Training with other labels than yours, or on any unprotected copies of the same images.",
            "Short trainings on images with strong contrast: in noli's effect test, 100 steps on small "
            "photographs with equalised histograms, nothing was lost.",
            "All of ordinary training: with crop and flip, in noli's leaderboard, half of what clean images "
            "teach a small network was left.",
            "Large images: published results at 224 px are weaker than at 32 px.",
            "Models that were trained before, and uses other than training (viewing, copying, editing).",
        ),
        bibtex="@inproceedings{yu2022availability, title={Availability Attacks Create Shortcuts}, "
        "author={Yu, Da and Zhang, Huishuai and Chen, Wei and Yin, Jian and Liu, Tie-Yan}, "
        "booktitle={KDD}, year={2022}}",
    ),
)


@lru_cache(maxsize=256)
def cluster(key: Key, label: str, features: int) -> tuple[Floats, Floats]:
    """Draw the cluster of one class in F dimensions.

    Returns:
        The centre ``[F]`` of -1 and 1, and the map ``[F, F]`` from unit noise to the class's spread.
    """
    stream = key.stream("protect/lsp/class", label)
    centre = np.where(stream.uniform(features) < 0.5, -1.0, 1.0)
    spread = stream.uniform(features * features, -1.0, 1.0).reshape(features, features)
    centre.setflags(write=False)
    spread.setflags(write=False)
    return centre, spread


def noise(
    state: State, items: Sequence[Item], key: Key, cfg: Config, channels: int, height: int, width: int
) -> Working:
    """Noise of N images of one size, ``float32 [N, C, H, W]``.

    Raises:
        DataError: An item has no label.
    """
    check_labels(items, "LSP")
    n, p = len(items), cfg.patches
    features = 3 * p * p
    unit = keyed_normals(key, "protect/lsp/item", items, features)
    points = np.empty((n, features))
    for point, draw, item in zip(points, unit, items, strict=True):
        centre, spread = cluster(key, str(item.label), features)
        # Row after row instead of a matrix product: the same bits on every machine.
        point[:] = (draw[:, None] * spread).sum(axis=0) + cfg.separation * centre
    grid = points.reshape(n, p, p, 3)[..., :channels]
    rows, columns = np.arange(height) * p // height, np.arange(width) * p // width
    patches = grid.take(rows, axis=1).take(columns, axis=2).transpose(0, 3, 1, 2)
    return scale_l2(patches, cfg.rms * float(np.sqrt(channels * height * width)))


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Nothing to prepare: clusters follow from the key and the class names alone."""
    return {}


apply, invert = additive(noise)
