"""Radioactive data: marks that pull the features of a class along a secret direction (ICML 2020).

Sablayrolles, Douze, Schmid, Jegou, arXiv 2002.00937; written from the paper's formulas. A marking network phi
was trained on clean images. Every class has a secret direction u, and some of its images are changed within
eps so that their features move along u: a linear head that learns from them turns towards u. The test needs
weights. A linear fit of the suspect's features by those of phi carries the suspect's head over to the space
of u, where the cosines of its rows with their directions are compared with those of random directions.

What the p-value assumes: a spherical null, and independent classes. Here both hold by construction, because
directions are uniform and drawn class by class from the key: given any suspect that does not depend on the
key, the cosines are independent and have exactly the law of :func:`tail`; a bad fit costs power alone. They
are approximations as soon as directions are made otherwise (orthogonal ones are not independent, learned ones
not uniform), or marking network, images of the fit or classes are chosen in sight of the cosines. The tests
of secret classes, beside which this one is set, need no weights, no linear head and no fit. :func:`black_box`
has no null distribution: it is a number to be set beside those of networks without marks.

Where this differs from the paper: steps follow the sign of the gradient, which moves features further in as
many steps; levels are rounded once, at the end; and lambda 2 is of this network's features, chosen by heads
retrained on them under another key than the benchmark's.

Images are stored ones, ``uint8 [N, H, W, C]``, or working ones, ``float32 [N, C, H, W]`` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.special import betainc
from scipy.stats import chi2
from torch import Tensor

from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.model import Model
from noli.ops.augment import crop_flip
from noli.ops.exact import TINY
from noli.ops.folding import folded

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Marking:
    """How changes are searched: steps against the sign of the gradient inside an L-infinity ball.

    Attributes:
        eps: Largest change of a channel, in [0, 1] units (paper: 10/255).
        steps: Steps (paper: 90).
        step: Length of a step per channel, in [0, 1] units: one level.
        near: Weight of the squared length of the change (lambda 1), lengths in [0, 1] units.
        still: Weight of the squared length of the move of the features (lambda 2).
        shift: Largest shift in pixels of the crop and flip that image and changed image are seen through.
    """

    eps: float = 10 / 255
    steps: int = 90
    step: float = 1 / 255
    near: float = 5e-4
    still: float = 0.03
    shift: int = 4


def directions(key: Key, classes: int, width: int) -> Floats:
    """Return a secret direction for every class, ``float64 [K, D]`` of length 1, uniform on the sphere."""
    drawn = np.stack([key.stream("radioactive/direction", f"{c}").normal(width) for c in range(classes)])
    found: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


def chosen(key: Key, y: Rows, share: float) -> Rows:
    """Return the sorted rows of the images to mark: the same share of every class, ``[M]``."""
    groups = enumerate(np.flatnonzero(y == c) for c in range(int(y.max()) + 1))
    mixed = (group[key.stream("radioactive/marked", f"{c}").permutation(len(group))] for c, group in groups)
    return np.sort(np.concatenate([group[: round(share * len(group))] for group in mixed]))


def mark(
    marker: Model, x: Images, along: Floats, how: Marking, generator: torch.Generator, batch: int = 250
) -> Images:
    """Change images so that their features move along directions (section 3.3 of the paper).

    Minimises ``-(phi(T(x')) - phi(T(x))).u + near |x' - x|^2 + still |phi(T(x')) - phi(T(x))|^2`` over
    changed images ``x'``, with a fresh crop and flip T in every step.

    Args:
        marker: The marking network phi; held in evaluation mode.
        x: Images ``uint8 [N, H, W, C]``.
        along: The direction of every image, ``[N, D]``.
        how: The search.
        generator: CPU generator of crops and flips.
        batch: Images per pass.

    Returns:
        Changed images, of the same shape, within `eps`.
    """
    light, device, out = folded(marker), next(marker.parameters()).device, np.empty_like(x)
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        images = torch.from_numpy(to_float(x[part])).to(device)
        aim = torch.from_numpy(along[part].astype(np.float32)).to(device)
        out[part] = to_uint8(_searched(light, images, aim, how, generator).cpu().numpy())
    return out


def _searched(light: Model, x: Tensor, aim: Tensor, how: Marking, generator: torch.Generator) -> Tensor:
    low, high = (x - how.eps).clamp_(min=0), (x + how.eps).clamp_(max=1)
    changed = x.clone()
    for _ in range(how.steps):
        changed.requires_grad_(True)
        # Beside each other as channels, so that both are seen through the same crop and flip.
        before, after = crop_flip(torch.cat([x, changed], 1), how.shift, generator).chunk(2, 1)
        with torch.no_grad():
            origin = light.features(before)
        move = light.features(after) - origin
        loss = how.near * (changed - x).square().sum() + how.still * move.square().sum() - (move * aim).sum()
        (gradient,) = torch.autograd.grad(loss, changed)
        changed = torch.clamp(changed.detach() - how.step * gradient.sign(), low, high)
    return changed.detach()


def features(model: Model, x: Images, batch: int = 500) -> Floats:
    """Return the penultimate features of images, ``float64 [N, D]``."""
    light, device = folded(model), next(model.parameters()).device
    with torch.no_grad():
        batches = (to_float(x[start : start + batch]) for start in range(0, len(x), batch))
        parts = [light.features(torch.from_numpy(one).to(device)).cpu().numpy() for one in batches]
    return np.concatenate(parts).astype(np.float64)


def alignment(suspect: Floats, marker: Floats) -> Floats:
    """Fit features by others, linearly and in least squares: ``suspect ~ marker @ M.T`` (section 3.4).

    Args:
        suspect: Features ``[N, E]`` of the suspect on clean images.
        marker: Features ``[N, D]`` of the marking network on the same images.

    Returns:
        M, ``[E, D]``.
    """
    return np.linalg.lstsq(marker, suspect, rcond=None)[0].T.astype(np.float64)


def cosines(rows: Floats, along: Floats) -> Floats:
    """Return the cosine of every row with its direction, both ``[K, D]``, as ``[K]``."""
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(along, axis=1)
    found: Floats = (rows * along).sum(1) / np.maximum(lengths, TINY)
    return found


def tail(cosine: Floats, width: int) -> Floats:
    """P[a uniform direction in `width` dimensions has at least this cosine with a fixed one], elementwise.

    ``1/2 I_{1 - c^2}((width - 1) / 2, 1/2)`` for c >= 0, with the regularised incomplete beta function I, and
    one minus that of -c for c < 0.
    """
    half = betainc((width - 1) / 2, 0.5, 1 - np.minimum(np.square(cosine), 1)) / 2
    found: Floats = np.where(cosine >= 0, half, 1 - half)
    return found


def fisher(p: Sequence[float] | Floats) -> float:
    """Combine independent p-values ``[K]`` by Fisher's method; zeros count as the smallest float."""
    return float(chi2.sf(-2 * np.log(np.maximum(p, TINY)).sum(), 2 * len(p)))


def head(model: Model) -> Floats:
    """Return the weights of the last layer, ``float64 [K, E]``."""
    return model.net.get_parameter("head.weight").detach().cpu().numpy().astype(np.float64)


def white_box(suspect: Model, marker: Floats, along: Floats, held_out: Images) -> tuple[float, Floats]:
    """Test a suspect whose weights are known (section 3.4).

    Args:
        suspect: The suspect, with a linear ``net.head``.
        marker: Features ``[N, D]`` of the marking network on `held_out`.
        along: Direction of every class, ``[K, D]``.
        held_out: Clean images ``[N, H, W, C]`` that neither of the two trained on.

    Returns:
        P-value, and the cosine of every class, ``[K]``.
    """
    found = cosines(head(suspect) @ alignment(features(suspect, held_out), marker), along)
    return fisher(tail(found, along.shape[1])), found


def black_box(suspect: Model, clean: Images, changed: Images, y: Rows) -> float:
    """Mean loss on images without marks less that on marked ones, in nats: large if it trained on these."""
    before, after = (
        F.cross_entropy(torch.from_numpy(suspect.predict(images)), torch.from_numpy(y))
        for images in (clean, changed)
    )
    return float(before - after)
