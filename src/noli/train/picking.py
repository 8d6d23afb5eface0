"""Pick a lock: find its permutation, or do without, with few labelled pictures and the model's own weights.

Attacks on models whose key decides places and signs of some values or channels (AprilPyone, Kiya, arXiv
2309.01620; Nagamori et al., arXiv 2209.14831). The number of settings is no measure of what they withstand:
accuracy falls slowly with the number of wrong places, so that a search gets better step by step, and a linear
layer that is trained in the key's place needs no key at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from noli.core import attacks
from noli.core.attacks import Named, among
from noli.core.model import Model
from noli.core.theft import PER_CLASS, SCRATCH, Keyless, Theft, TheftRow
from noli.zoo.turns import Turn

Images = npt.NDArray[np.uint8]
Labels = Any  # classes ``[N]``, or boxes
Setting = tuple[Turn, ...]
SEARCH, ADAPTER, TUNING = "search", "a linear layer in its place", "fine-tuning"
PASSES = 3  # over all pairs of places, of the search
DRAWS = 3  # settings per number of wrong places


class Lock(Protocol):
    """A locked model as its attackers see it.

    Attributes:
        right: What they look for: a turn per locked layer.
        placed: Whether the key decides places.
        signed: Whether it decides signs.
    """

    right: Setting
    placed: bool
    signed: bool

    def opened(self, setting: Setting) -> Model:
        """Return the model with other turns in the key's place."""

    def asked(self, setting: Setting) -> Model:
        """Return the same to be asked only, before another is: it may share weights."""

    def adapted(self) -> Model:
        """Return the model with dense linear maps in the turns' places, which alone are trained."""

    def loosened(self) -> Model:
        """Return the model without any turn, all of whose weights are trained."""

    def fresh(self) -> Model:
        """Return an untrained network of the same shape."""

    def few(self, x: Images, y: Labels, count: int) -> tuple[Images, Labels] | None:
        """Return so many labelled pictures (of every class), or None where there are fewer."""

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
        labels: Labelled pictures (per class), one attempt each.
        searched: Those of them with which a search is tried too.
        wrong_keys: Random permutations.
        epochs: Passes of every training.
        wanted: Names of the attacks that are made, from :mod:`noli.core.attacks`; none: all. The figures of
            each are the same as among all.
    """

    labels: Sequence[int] = (1, 2, 5, 10, 40)
    searched: Sequence[int] = (1, 5, 10)
    wrong_keys: int = 100
    epochs: int = 40
    wanted: Collection[str] = ()


def pick(
    lock: Lock,
    own: tuple[Images, Labels],
    held: tuple[Images, Labels],
    effort: Effort,
    *,
    matched: Setting | None = None,
    keyless: Keyless | None = None,
    unit: str = PER_CLASS,
    public: float | None = None,
    chance: float = 0.0,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Theft:
    """Try every attack on a lock.

    Args:
        lock: The lock.
        own: The thief's labelled pictures ``uint8 [N, H, W, C]``, ``[N]``.
        held: Pictures by which everything is scored.
        effort: What thieves are given.
        matched: Turns that were estimated from a public network.
        keyless: What the model gives without its key, where that was measured already; None: settings are
            drawn for it here.
        unit: What is counted.
        public: Score of the public network.
        chance: Score of guessing.
        seed: Of the thief's draws; nothing secret.
        advance: Called after every attack.
    """
    generator = torch.Generator().manual_seed(seed)

    def scored(setting: Setting) -> float:
        return lock.score(lock.opened(setting), *held)

    def wanted(attack: Named[str]) -> bool:
        return among(attack, effort.wanted)

    # Drawn in any case: a search starts where these draws end.
    guesses = [guessed(lock, generator) for _ in range(effort.wrong_keys)]
    if keyless is None:
        wrong = [scored(one) for one in guesses if wanted(attacks.WRONG_KEYS)]
        keyless = Keyless.of(scored(natural(lock.right)), wrong)
    advance()
    rows = []
    for attack, labels, work in _attacks(lock, own, effort, generator):
        model, asked = work()
        found = lock.score(model, *held)
        rows.append(TheftRow(attack=attack, labels=labels, score=found, asked=asked))
        advance()
    return Theft(
        unit=unit,
        size=sum(turn.size for turn in lock.right),
        score=scored(lock.right),
        **keyless._asdict(),
        displaced=by_displacement(lock.right, scored, seed) if wanted(attacks.DISPLACED) else {},
        matched=scored(matched) if matched is not None and wanted(attacks.MATCHING) else None,
        public=public,
        chance=chance,
        rows=tuple(rows),
    )


def _attacks(
    lock: Lock, own: tuple[Images, Labels], effort: Effort, generator: torch.Generator
) -> Iterator[tuple[str, int, Callable[[], tuple[Model, int]]]]:
    starts = (
        (attacks.ADAPTER, ADAPTER, lock.adapted),
        (attacks.TUNING, TUNING, lock.loosened),
        (attacks.SCRATCH, SCRATCH, lock.fresh),
    )
    for labels in effort.labels:
        few = lock.few(*own, labels)
        if few is None:
            continue
        if labels in effort.searched and among(attacks.SEARCH, effort.wanted):
            yield SEARCH, labels, partial(climbed, lock, *few, generator)
        for attack, row, start in starts:
            if among(attack, effort.wanted):
                yield row, labels, partial(_trained, lock, start, *few, effort.epochs)


def _trained(lock: Lock, start: Callable[[], Model], x: Images, y: Labels, epochs: int) -> tuple[Model, int]:
    return lock.trained(start(), x, y, epochs), epochs


def climbed(lock: Lock, x: Images, y: Labels, generator: torch.Generator) -> tuple[Model, int]:
    """Look for the turns by exchanging two places, or changing a sign, wherever the loss gets smaller.

    Args:
        lock: The lock.
        x: Labelled pictures ``uint8 [N, H, W, C]``.
        y: Their labels.
        generator: Of the start and of the order in which moves are tried.

    Returns:
        The best model, and how often it was asked about all of the pictures.
    """
    setting = guessed(lock, generator)
    best, asked = lock.loss(lock.asked(setting), x, y), 1
    moves = _moves(lock)
    for _ in range(PASSES):
        gained = False
        for number in torch.randperm(len(moves), generator=generator).tolist():
            tried = _moved(setting, *moves[number])
            loss, asked = lock.loss(lock.asked(tried), x, y), asked + 1
            if loss < best:
                setting, best, gained = tried, loss, True
        if not gained:
            break
    return lock.opened(setting), asked


def guessed(lock: Lock, generator: torch.Generator) -> Setting:
    """Return turns at random, of the lock's sizes."""
    return tuple(
        Turn(
            torch.randperm(turn.size, generator=generator) if lock.placed else torch.arange(turn.size),
            2.0 * torch.randint(0, 2, (turn.size,), generator=generator) - 1
            if lock.signed
            else torch.ones(turn.size),
        )
        for turn in lock.right
    )


def natural(setting: Setting) -> Setting:
    """Return turns of the same sizes that change nothing."""
    return tuple(Turn(torch.arange(turn.size), torch.ones(turn.size)) for turn in setting)


def _moves(lock: Lock) -> list[tuple[int, int, int]]:
    """Return what a search may change: two places of a layer exchanged, or, where they are one, a sign."""
    found = []
    for layer, turn in enumerate(lock.right):
        if lock.placed:
            found += [(layer, *pair) for pair in combinations(range(turn.size), 2)]
        if lock.signed:
            found += [(layer, place, place) for place in range(turn.size)]
    return found


def _moved(setting: Setting, layer: int, one: int, other: int) -> Setting:
    order, sign = setting[layer].order.clone(), setting[layer].sign.clone()
    if one == other:
        sign[one] = -sign[one]
    else:
        order[[one, other]] = order[[other, one]]
    return (*setting[:layer], Turn(order, sign), *setting[layer + 1 :])


def per_class(x: Images, y: Labels, count: int) -> tuple[Images, Labels] | None:
    """Return the first `count` pictures of every class, or None where a class has fewer."""
    rows = [np.flatnonzero(y == label)[:count] for label in np.unique(y)]
    if min(map(len, rows), default=0) < count:
        return None
    chosen = np.sort(np.concatenate(rows))
    return x[chosen], y[chosen]


def by_displacement(right: Setting, scored: Callable[[Setting], float], seed: int = 0) -> dict[int, float]:
    """Return scores by the number of wrong places in every layer (2, 4, 8, ...), mean of three draws."""
    generator = np.random.default_rng(seed)
    found, count = {}, 2
    while count <= min(turn.size for turn in right):
        tries = [scored(tuple(turn.displaced(count, generator) for turn in right)) for _ in range(DRAWS)]
        found[count] = float(np.mean(tries))
        count *= 2
    return found
