"""Configuration of `verify/learnability`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from noli.core.evidence import Level
from noli.core.method import MethodConfig
from noli.train.recipe import Recipe

# Shares of partial protection; the larger batteries try none of the quick one's.
QUICK_SHARES, STANDARD_SHARES = (0.5,), (0.2, 0.4, 0.6, 0.8)


class Config(MethodConfig):
    """What is claimed, how hard the claim is tried, and when no answer is given.

    Attributes:
        battery: ``quick`` tries every kind of countermeasure once; ``standard`` adds JPEG 30 and 75, four
            shares of partial protection, three seeds and every countermeasure on clean data; ``full`` adds
            all other countermeasures of noli.
        also: Further rows by name, such as ``package/name`` of a plug-in.
        claim: Attacker level of the claim, fixed before anything is trained.
        bound: Share of what clean data teaches beyond chance that protected data may still teach.
        seeds: Trainings per row; None: 1 (quick), 3 (others).
        epochs: Passes over the data per training.
        min_steps: Optimiser steps per training at least; small data sets get more epochs.
        network: Network that is trained.
        size: Side of the training images in pixels; ``auto``: the native short side, 16 to 64.
        max_items: Training images used at most; None: 5,000 (quick), 20,000 (others).
        max_test: Held-out images used at most.
        holdout: Share of every class held out when the clean set has no test split.
        min_gain: Clean data must beat chance by this much, or there is nothing to protect.
        min_test: Fewest held-out images for an answer. At least 8: some attackers hold a quarter of them, and
            nothing can be learned from one image.
        min_per_class: Fewest training images per class for an answer.
        min_likeness: Smallest share of protected pictures that resemble their own original more than most of
            20 others. Protected pictures give 0.93 or more, others about 0.25, so that 0.9 lets at most one
            picture in seven be of another origin.
        max_relabelled: Largest share of protected items whose class name differs from the original's; the
            trainer of the threat model holds the true labels.
        confidence: Two-sided coverage of all intervals.
        partial: Shares of protected images of the context rows; None: 0.5 (quick), 0.2 to 0.8 (others).
        leak_pairs: Clean/protected pairs per class that the thief of the leak row holds.
        adversarial_eps: Radius of adversarial training in [0, 1] units.
        adversarial_steps: PGD steps of adversarial training.
        coin_reach: Largest displacement of COIN in pixels.
        device: Where to train; ``auto`` takes a GPU when there is one.
    """

    battery: Literal["quick", "standard", "full"] = "quick"
    also: tuple[str, ...] = ()
    claim: Level = "routine"
    bound: float = Field(0.5, gt=0, lt=1)
    seeds: int | None = Field(None, ge=1)
    epochs: int = Field(8, ge=1)
    min_steps: int = Field(250, ge=0)
    network: Literal["tiny", "small", "resnet9", "resnet18"] = "small"
    size: Literal["auto"] | Annotated[int, Field(ge=8, le=512)] = "auto"
    max_items: int | None = Field(None, ge=2)
    max_test: int = Field(5000, ge=1)
    holdout: float = Field(0.2, gt=0, lt=1)
    min_gain: float = Field(0.10, ge=0, lt=1)
    min_test: int = Field(100, ge=8)
    min_per_class: int = Field(10, ge=2)
    min_likeness: float = Field(0.9, ge=0, le=1)
    max_relabelled: float = Field(0.01, ge=0, le=1)
    confidence: float = Field(0.95, gt=0, lt=1)
    partial: tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None = None
    leak_pairs: int = Field(1, ge=1)
    adversarial_eps: float = Field(4 / 255, gt=0, lt=1)
    adversarial_steps: int = Field(3, ge=1)
    coin_reach: float = Field(2.0, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def seed_count(self) -> int:
        """Trainings per row after the battery's default."""
        return self.seeds or (1 if self.battery == "quick" else 3)

    @property
    def item_limit(self) -> int:
        """Training images used at most, after the battery's default."""
        return self.max_items or (5_000 if self.battery == "quick" else 20_000)

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the partial-protection rows, after the battery's default."""
        if self.partial is not None:
            return self.partial
        return QUICK_SHARES if self.battery == "quick" else STANDARD_SHARES

    def recipe(self, seed: int) -> Recipe:
        """The training recipe of one seed."""
        return Recipe(epochs=self.epochs, min_steps=self.min_steps, device=self.device, seed=seed)
