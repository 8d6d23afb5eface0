"""Pick a lock: find its permutation, or do without, with few labelled pictures and the model's own weights.

Attacks on models whose key is a permutation of some values or channels (AprilPyone, Kiya, arXiv 2309.01620;
Nagamori et al., arXiv 2209.14831). The number of permutations is no measure of what they withstand: accuracy
falls slowly with the number of wrong places, so that a search gets better step by step, and a linear layer
that is trained in the permutation's place needs no key at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from noli.core.model import Model
from noli.core.theft import SCRATCH, Theft, TheftRow

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]
SEARCH, ADAPTER, TUNING = "search", "a linear layer in its place", "fine-tuning"
PASSES = 3  # over all pairs of places, of the search
DRAWS = 3  # permutations per number of wrong places


class Lock(Protocol):
    """A locked model as its attackers see it; `order` is what they look for."""

    order: Tensor

    def opened(self, order: Tensor) -> Model:
        """Return the model with a permutation ``int64 [size]`` in the key's place."""

    def adapted(self) -> Model:
        """Return the model with a dense linear map in the permutation's place, which alone is trained."""

    def loosened(self) -> Model:
        """Return the model without any permutation, all of whose weights are trained."""

    def fresh(self) -> Model:
        """Return an untrained network of the same shape."""

    def trained(self, model: Model, x: Images, y: Labels, epochs: int) -> Model:
        """Train one of them on labelled pictures."""

    def loss(self, model: Model, x: Images, y: Labels) -> float:
        """Return the mean loss on labelled pictures: what a search makes small."""

    def score(self, model: Model, x: Images, y: Labels) -> float:
        """Return accuracy or mAP on pictures, in [0, 1]."""


@dataclass(frozen=True)
class Effort:
    """What thieves are given.

    Attributes:
        labels: Labelled pictures per class, one attempt each.
        searched: Those of them with which a search is tried too.
        wrong_keys: Random permutations.
        epochs: Passes of every training.
    """

    labels: Sequence[int] = (1, 2, 5, 10, 40)
    searched: Sequence[int] = (1, 5, 10)
    wrong_keys: int = 100
    epochs: int = 40


def pick(
    lock: Lock,
    own: tuple[Images, Labels],
    held: tuple[Images, Labels],
    effort: Effort,
    *,
    matched: Tensor | None = None,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Theft:
    """Try every attack on a lock.

    Args:
        lock: The lock.
        own: The thief's labelled pictures ``uint8 [N, H, W, C]``, ``[N]``.
        held: Pictures by which everything is scored.
        effort: What thieves are given.
        matched: A permutation that was estimated from a public network.
        seed: Of the thief's draws; nothing secret.
        advance: Called after every attack.
    """
    generator = torch.Generator().manual_seed(seed)
    size = len(lock.order)

    def scored(order: Tensor) -> float:
        return lock.score(lock.opened(order), *held)

    wrong = [scored(torch.randperm(size, generator=generator)) for _ in range(effort.wrong_keys)]
    advance()
    rows = []
    for attack, labels, work in _attacks(lock, own, effort, generator):
        model, asked = work()
        found = lock.score(model, *held)
        rows.append(TheftRow(attack=attack, labels=labels, score=found, asked=asked))
        advance()
    return Theft(
        size=size,
        score=scored(lock.order),
        no_key=scored(torch.arange(size)),
        wrong_mean=float(np.mean(wrong)),
        wrong_most=max(wrong),
        wrong_keys=len(wrong),
        displaced=_displaced(lock.order, scored, generator),
        matched=None if matched is None else scored(matched),
        rows=tuple(rows),
    )


def _attacks(
    lock: Lock, own: tuple[Images, Labels], effort: Effort, generator: torch.Generator
) -> Iterator[tuple[str, int, Callable[[], tuple[Model, int]]]]:
    starts = ((ADAPTER, lock.adapted), (TUNING, lock.loosened), (SCRATCH, lock.fresh))
    for labels in effort.labels:
        few = per_class(*own, labels)
        if few is None:
            continue
        if labels in effort.searched:
            yield SEARCH, labels, partial(climbed, lock, *few, generator)
        for attack, start in starts:
            yield attack, labels, partial(_trained, lock, start, *few, effort.epochs)


def _trained(lock: Lock, start: Callable[[], Model], x: Images, y: Labels, epochs: int) -> tuple[Model, int]:
    return lock.trained(start(), x, y, epochs), epochs


def climbed(lock: Lock, x: Images, y: Labels, generator: torch.Generator) -> tuple[Model, int]:
    """Look for the permutation by exchanging two places at a time, where the loss gets smaller.

    Args:
        lock: The lock.
        x: Labelled pictures ``uint8 [N, H, W, C]``.
        y: Labels ``[N]``.
        generator: Of the start and of the order in which places are tried.

    Returns:
        The best model, and how often it was asked about all of the pictures.
    """
    size = len(lock.order)
    order = torch.randperm(size, generator=generator)
    best, asked = lock.loss(lock.opened(order), x, y), 1
    pairs = torch.triu_indices(size, size, 1).T
    for _ in range(PASSES):
        gained = False
        for one, other in pairs[torch.randperm(len(pairs), generator=generator)].tolist():
            tried = order.clone()
            tried[[one, other]] = order[[other, one]]
            loss, asked = lock.loss(lock.opened(tried), x, y), asked + 1
            if loss < best:
                order, best, gained = tried, loss, True
        if not gained:
            break
    return lock.opened(order), asked


def per_class(x: Images, y: Labels, count: int) -> tuple[Images, Labels] | None:
    """Return the first `count` pictures of every class, or None where a class has fewer."""
    rows = [np.flatnonzero(y == label)[:count] for label in np.unique(y)]
    if min(map(len, rows), default=0) < count:
        return None
    chosen = np.sort(np.concatenate(rows))
    return x[chosen], y[chosen]


def displaced(order: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return a permutation that differs from `order` at exactly `count` places, 2 or more."""
    places = torch.randperm(len(order), generator=generator)[:count]
    made = order.clone()
    # A cycle through random places moves every one of them.
    made[places] = order[places.roll(1)]
    return made


def _displaced(
    order: Tensor, scored: Callable[[Tensor], float], generator: torch.Generator
) -> dict[int, float]:
    found, count = {}, 2
    while count <= len(order):
        tries = [scored(displaced(order, count, generator)) for _ in range(DRAWS)]
        found[count] = float(np.mean(tries))
        count *= 2
    return found
