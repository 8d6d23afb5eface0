"""Robustness of a keyed model: accuracy under attack, by what the attacker knows and by how he attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["L0", "L1", "L2", "L3"]
LEVELS: Mapping[Level, str] = {
    "L0": "may ask the model, and sees its scores",
    "L1": "has the public network, the pictures and the program",
    "L2": "has the secret layers as well, but no key",
    "L3": "has everything, the key included: no claim is made",
}

# Whose attacks are open to whom; to ask a model is nothing that everybody may.
WITHIN: Mapping[Level, tuple[Level, ...]] = {
    "L0": ("L0",),
    "L1": ("L1",),
    "L2": ("L1", "L2"),
    "L3": ("L0", "L1", "L2", "L3"),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attempt(_Frozen):
    """One attack by one way.

    Attributes:
        level: What the attacker knows.
        way: On which model he makes his pictures, in plain words.
        attack: How, by the attack's usual name.
        accuracy: Of the keyed model on those pictures, in [0, 1].
    """

    level: Level
    way: str
    attack: str
    accuracy: float


class Checks(_Frozen):
    """What makes a robustness look greater than it is (the self-checks of AutoAttack, Croce, Hein 2020).

    Attributes:
        random: The model answers the same question differently.
        probabilities: It returns probabilities instead of logits.
        no_gradient: Share of pictures whose loss has no gradient at all, in [0, 1].
        optimises: It computes gradients while it answers.
        square_better: Pictures that only the attack without gradients gets, as a share; None: not compared.
    """

    random: bool
    probabilities: bool
    no_gradient: float
    optimises: bool
    square_better: float | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """What speaks against trusting the figures, one sentence each; empty where nothing does."""
        said = []
        if self.random:
            said.append("The model answers at random: attacks average over draws, and may still miss some.")
        if self.probabilities:
            said.append("The model returns probabilities: attacks by cross-entropy are weaker for it.")
        if self.no_gradient > 0:
            said.append(f"{self.no_gradient:.0%} of the pictures give no gradient to attack by.")
        if self.optimises:
            said.append("The model optimises while it answers: attacks do not see through that.")
        if self.square_better:
            said.append(
                f"{self.square_better:.0%} of the pictures fall to queries only: gradients are hidden."
            )
        return tuple(said)


class Robustness(_Frozen):
    """All attempts on one keyed model.

    Attributes:
        eps: Radius of the L-infinity ball in [0, 1] units.
        pictures: How many held-out pictures were attacked.
        clean: Accuracy on them, unattacked.
        attempts: Every attack.
        together: Share of pictures per level that no attack gets which is open to such an attacker; empty for
            models that answer at random, of which every attempt is another draw.
        checks: What speaks against the figures.
    """

    eps: float
    pictures: int
    clean: float
    attempts: tuple[Attempt, ...]
    together: dict[Level, float]
    checks: Checks

    @property
    def names(self) -> tuple[str, ...]:
        """The attacks, as they come."""
        return tuple(dict.fromkeys(one.attack for one in self.attempts))

    def ways(self, level: Level) -> dict[str, dict[str, float]]:
        """Return the accuracies of a level by way and attack."""
        found: dict[str, dict[str, float]] = {}
        for one in self.attempts:
            if one.level == level:
                found.setdefault(one.way, {})[one.attack] = one.accuracy
        return found

    @property
    def least(self) -> dict[Level, float]:
        """The lowest accuracy of every level: by all attempts together, else by the best one."""
        found: dict[Level, float] = {}
        for level, within in WITHIN.items():
            open_ = [one.accuracy for one in self.attempts if one.level in within]
            if open_:
                found[level] = min([*open_, self.together.get(level, 1.0)])
        return found
