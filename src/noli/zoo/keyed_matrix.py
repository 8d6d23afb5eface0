"""Attack a keyed model in every way that an attacker's knowledge allows; the lowest accuracy counts.

Levels: AprilPyone, Kiya, arXiv 2309.01620. Attacks: the standard set of Croce, Hein (arXiv 2003.01690), which
knows one model only: pictures are made on models that the attacker has, and tried on the keyed one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from noli.core.attacks import (
    APGD_CE,
    APGD_DLR,
    APGD_T,
    BY_GRADIENT,
    EOT,
    FAB_T,
    GUESSED,
    SQUARE,
    Named,
    among,
)
from noli.core.key import Key
from noli.core.model import Model
from noli.core.robustness import WITHIN, Attempt, Level, Robustness
from noli.ops.adversarial.apgd import apgd
from noli.ops.adversarial.checks import check
from noli.ops.adversarial.square import square
from noli.ops.adversarial.suite import Strength, by_gradient, right_on
from noli.zoo import keyed_thieves as thieves
from noli.zoo.keyed import KeyedModel

# Guesses that are averaged at once: every step asks all of them.
AVERAGED = 5
OWN_KEY = "a keyed model of his own"


@dataclass(frozen=True)
class Case:
    """What is attacked, and what attackers may have.

    Attributes:
        keyed: The model.
        public: The public network that its body is from.
        x: Working images ``[N, C, H, W]``, N >= 1.
        y: Labels ``int64 [N]``.
        others: Further models of attackers of level L1, by name: keyed ones of their own, other devices.
        guesses: Keys that are guessed.
    """

    keyed: KeyedModel
    public: Model
    x: Tensor
    y: Tensor
    others: Sequence[tuple[str, nn.Module]] = ()
    guesses: Sequence[Key] = ()

    @property
    def random(self) -> bool:
        """Whether the model answers at random."""
        return len(self.keyed.pairs) > 1 and (
            self.keyed.pick == "random" or 0 < self.keyed.samples < len(self.keyed.pairs)
        )


def fitting(classes: int) -> tuple[Named[str], ...]:
    """Return the attacks that a model with so many classes is attacked by."""
    targeted = APGD_T if classes >= 4 else APGD_DLR if classes == 3 else None
    return (SQUARE, APGD_CE, *([targeted] if targeted else []), FAB_T, GUESSED, EOT)


def robustness(
    case: Case,
    how: Strength,
    advance: Callable[[], None] = lambda: None,
    wanted: Collection[str] = (),
) -> Robustness:
    """Attack a keyed model from every level.

    Args:
        case: What is attacked.
        how: How much work every attack is given.
        advance: Called after every attack.
        wanted: Names of the attacks that are made, from :mod:`noli.core.attacks`; none: all. The figures of
            each are the same as among all.

    Returns:
        Accuracies of the keyed model under all of them.
    """
    right = right_on(case.keyed, case.x, case.y)
    # What is wrong without an attack needs none; at random, everything may be either.
    rows = torch.arange(len(case.x)) if case.random else right.nonzero()[:, 0]
    found: list[tuple[Attempt, Tensor]] = []
    for level, way, attack, made in _attempts(case, how, case.x[rows], case.y[rows], wanted):
        still = torch.zeros_like(right)
        still[rows] = right_on(case.keyed, made, case.y[rows])
        found.append((Attempt(level=level, way=way, attack=attack, accuracy=_share(still)), still))
        advance()
    checks = check(case.keyed, case.x, case.y)
    together: dict[Level, float] = {}
    if not case.random:
        tried = {one.level for one, _ in found}
        for level, within in WITHIN.items():
            if level in tried:
                together[level] = _share(_standing(found, within))
        if {"L0", "L3"} <= tried:
            only = _standing(found, ("L3",)) & ~_standing(found, ("L0",))
            checks = checks.model_copy(update={"square_better": _share(only)})
    return Robustness(
        eps=how.eps,
        pictures=len(case.x),
        clean=_share(right),
        attempts=_best([one for one, _ in found]),
        together=together,
        checks=checks,
    )


def _attempts(
    case: Case, how: Strength, x: Tensor, y: Tensor, wanted: Collection[str]
) -> Iterator[tuple[Level, str, str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    # Guesses start where the draws of Square end, which nobody knows without it.
    if any(among(one, wanted) for one in (SQUARE, GUESSED, EOT)):
        made = square(case.keyed, x, y, eps=how.eps, queries=how.queries, generator=generator)
        if among(SQUARE, wanted):
            yield "L0", "queries", SQUARE.name, made
    if any(among(one, wanted) for one in BY_GRADIENT):
        for level, way, source in _sources(case):
            for attack, made in by_gradient(source, x, y, how, wanted=wanted):
                yield level, way, attack, made
    for guess in case.guesses:
        if among(GUESSED, wanted):
            source = thieves.with_keys(case.keyed, [guess])
            made = apgd(source, x, y, eps=how.eps, steps=how.steps, generator=generator)
            yield "L2", _guesses(case), APGD_CE.name, made
        elif len(x):
            torch.rand(x.shape, generator=generator)  # the random start of the guess
    if case.guesses and among(EOT, wanted):
        source = thieves.with_keys(case.keyed, case.guesses[:AVERAGED])
        made = apgd(source, x, y, eps=how.eps, steps=how.steps, generator=generator)
        yield "L2", f"{len(case.guesses[:AVERAGED])} guessed keys at once", "EOT, APGD-CE", made


def _sources(case: Case) -> list[tuple[Level, str, nn.Module]]:
    """Return the models that attackers make their pictures on by gradients."""
    keyed, public = case.keyed, case.public
    return [
        ("L1", "the public network", public),
        *(("L1", name, one) for name, one in case.others),
        ("L2", "the secret layers without a transform", thieves.without_transform(keyed)),
        ("L2", "the public first layer under the secret head", thieves.with_public_embedding(keyed, public)),
        (
            "L2",
            "a permutation estimated from the public network",
            thieves.with_estimated_order(keyed, public),
        ),
        ("L3", "the model with its key", thieves.with_everything(keyed)),
    ]


def _guesses(case: Case) -> str:
    return f"a guessed key, the best of {len(case.guesses)}"


def _best(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Keep of attempts with one name the lowest: many guesses are one way."""
    found: dict[tuple[str, str, str], Attempt] = {}
    for one in attempts:
        name = (one.level, one.way, one.attack)
        if name not in found or one.accuracy < found[name].accuracy:
            found[name] = one
    return tuple(found.values())


def _standing(found: Sequence[tuple[Attempt, Tensor]], levels: Sequence[Level]) -> Tensor:
    """Return which pictures no attack of these levels gets."""
    return torch.stack([still for one, still in found if one.level in levels]).all(0)


def _share(which: Tensor) -> float:
    return float(which.float().mean())
