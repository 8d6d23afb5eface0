"""What leaks from pictures that nobody brought back: whose they are, which of many, and how they look.

All of it against chance, with the Wilson interval of a share of N pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError
from noli.ops.stats import wilson

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """A share of N pictures, beside what guessing gives.

    Attributes:
        value, low, high: The share and its 95 % interval, in [0, 1].
        chance: Of guessing.
        pictures: N.
    """

    value: float
    low: float
    high: float
    chance: float
    pictures: int


def share_of(hits: npt.NDArray[np.bool_], chance: float) -> Share:
    """Return the share of hits with its interval.

    Raises:
        DataError: No pictures.
    """
    if not len(hits):
        raise DataError("There is nothing to count.", why="no pictures")
    return Share(float(hits.mean()), *wilson(int(hits.sum()), len(hits)), chance, len(hits))


def ranks(queries: Floats, gallery: Floats) -> Integers:
    """Return at which place, from 1, the picture itself comes when a gallery is sorted by likeness.

    Likeness is the cosine after the gallery's mean is taken off. Whoever is as near counts as nearer, so that
    a query that says nothing finds nothing.

    Args:
        queries: ``[N, D]``, row i about picture i.
        gallery: ``[N, D]``.

    Raises:
        DataError: Other shapes, or no rows.
    """
    if queries.shape != gallery.shape or queries.ndim != 2 or not len(queries):
        raise DataError("Queries and gallery differ.", why=f"{queries.shape} and {gallery.shape}")
    centre = gallery.mean(0)
    similar = _unit(queries - centre) @ _unit(gallery - centre).T
    own = np.diagonal(similar)[:, None]
    found: Integers = (similar >= own).sum(1).astype(np.int64)
    return found


def retrieval(queries: Floats, gallery: Floats, top: int = 1) -> Share:
    """Return how often the picture itself is among the first of the gallery; see :func:`ranks`."""
    return share_of(ranks(queries, gallery) <= top, min(1.0, top / len(gallery)))


def same_person(queries: Floats, gallery: Floats, people: Integers) -> Share:
    """Return how often the nearest other picture is of the same person.

    Args:
        queries: ``[N, D]``, row i about picture i.
        gallery: ``[N, D]`` of the plain pictures; a picture itself is left out.
        people: ``int64 [N]``.
    """
    centre = gallery.mean(0)
    similar = _unit(queries - centre) @ _unit(gallery - centre).T
    np.fill_diagonal(similar, -np.inf)
    alike = people[:, None] == people[None]
    chance = float((alike.sum(1) - 1).mean() / max(1, len(people) - 1))
    return share_of(people[similar.argmax(1)] == people, chance)


def fisher(x: Floats, people: Integers, kept: int = 60) -> tuple[Floats, Floats]:
    """Learn by which directions people differ (Belhumeur, Hespanha, Kriegman, TPAMI 1997): PCA, then LDA.

    Args:
        x: ``[N, D]``.
        people: ``int64 [N]``, two people or more.
        kept: Principal components at most.

    Returns:
        Mean ``[D]`` and projection ``[D, K]``, K one less than people: ``(x - mean) @ projection``.
    """
    mean = x.mean(0)
    _, spread, axes = np.linalg.svd(x - mean, full_matrices=False)
    names = np.unique(people)
    kept = max(1, min(kept, len(x) - len(names), int((spread > 1e-6).sum())))
    small = (x - mean) @ axes[:kept].T
    means = np.stack([small[people == one].mean(0) for one in names])
    apart = small - means[np.searchsorted(names, people)]
    within = apart.T @ apart / len(x)
    values, vectors = np.linalg.eigh(within + 1e-3 * np.trace(within) / kept * np.eye(kept))
    white = vectors / np.sqrt(np.maximum(values, 1e-12))
    _, _, found = np.linalg.svd((means - means.mean(0)) @ white, full_matrices=False)
    projection: Floats = (axes[:kept].T @ white @ found[: len(names) - 1].T).astype(np.float32)
    return mean, projection


def attributes(images: Images) -> dict[str, Floats]:
    """Measure how faces look that fill their pictures: brightness of parts, warmth, contrast.

    Args:
        images: ``uint8 [N, S, S, 3]``.

    Returns:
        ``[N]`` each: ``light`` (all), ``skin`` (middle), ``hair`` (top middle), ``background`` (upper
        corners), ``warmth`` (red less blue in the middle), ``contrast`` (spread of brightness).
    """
    x, side = images.astype(np.float32) / 255, images.shape[1]
    grey, a, b = x.mean(3), side // 4, side - side // 4
    corner = max(1, side // 6)
    middle = x[:, a:b, a:b]
    return {
        "light": grey.mean((1, 2)),
        "skin": grey[:, side // 2 : b, a:b].mean((1, 2)),
        "hair": grey[:, : max(1, side // 6), a:b].mean((1, 2)),
        "background": np.concatenate([grey[:, :a, :corner], grey[:, :a, -corner:]], axis=2).mean((1, 2)),
        "warmth": (middle[..., 0] - middle[..., 2]).mean((1, 2)),
        "contrast": grey.std((1, 2)),
    }


def attribute_shares(made: Images, truth: Images, public: Images) -> dict[str, Share]:
    """Return how often pictures that an attack made have the attributes of the originals.

    An attribute is above or below the median of public pictures; guessing always says what is more frequent.

    Args:
        made: ``uint8 [N, S, S, 3]``.
        truth: Of the same shape.
        public: ``uint8 [M, S, S, 3]``.
    """
    found, wanted, others = attributes(made), attributes(truth), attributes(public)
    shares = {}
    for name, values in wanted.items():
        middle = np.median(others[name])
        own = values > middle
        most = max(float(own.mean()), 1 - float(own.mean()))
        shares[name] = share_of((found[name] > middle) == own, most)
    return shares


def _unit(x: Floats) -> Floats:
    scaled: Floats = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return scaled
