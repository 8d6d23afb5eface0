"""Rows that only change how a network is trained: from no change to adversarial training.

Stopping early: networks may learn content before they learn what protection added. Adversarial training is
that of Madry et al. 2018 (arXiv 1706.06083).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Battery, Measure, trained_with

if TYPE_CHECKING:
    from noli.train.recipe import Recipe

_SHARE = 4

PLAIN = Measure(
    "plain", "trains on the images as they are", "naive", battery="quick", callbacks=lambda classes, cfg: []
)
REFERENCE = Measure("crop+flip", "random shifts and mirroring", "naive", battery="quick")


def shorter(recipe: Recipe) -> Recipe:
    """Return the recipe of a quarter of the training, its schedule shortened as well."""
    short = {"epochs": max(1, recipe.epochs // _SHARE), "min_steps": recipe.min_steps // _SHARE}
    return recipe.model_copy(update=short)


SHORT = Measure("short", "trains for a quarter of the time", "routine", recipe=shorter)
BEST_EPOCH = Measure("best-epoch", "keeps the best epoch, seen on clean images", "routine", best_epoch=True)

CUTOUT_MIXUP = Measure(
    "cutout+mixup",
    "blends images a little, blanks squares of a quarter of the side",
    "routine",
    battery="quick",
    callbacks=trained_with(
        lambda known, classes, cfg: known.Mixup(classes, 0.4), lambda known, classes, cfg: known.Cutout(4)
    ),
)
CUTOUT = Measure(
    "cutout",
    "blanks squares of half the side",
    "routine",
    callbacks=trained_with(lambda known, classes, cfg: known.Cutout()),
)
MIXUP = Measure(
    "mixup",
    "blends images with uniform weights",
    "routine",
    callbacks=trained_with(lambda known, classes, cfg: known.Mixup(classes)),
)
CUTMIX = Measure(
    "cutmix",
    "pastes boxes of other images",
    "routine",
    callbacks=trained_with(lambda known, classes, cfg: known.CutMix(classes)),
)
RAND_AUGMENT = Measure(
    "randaugment",
    "two random changes of geometry, tone or detail per image",
    "routine",
    callbacks=trained_with(lambda known, classes, cfg: known.RandAugment()),
)


WINDOW = Measure(
    "window",
    "changes level and width of every image's display window",
    "routine",
    callbacks=trained_with(lambda known, classes, cfg: known.Window()),
)


def adversarial(cfg: Config) -> tuple[Measure, ...]:
    """Balls of the configured radius, of 2/255 and of 8/255 as in most published tables, and L2 balls.

    The L2 radii are those for 32 x 32 colour images, scaled to other sizes.
    """
    steps = cfg.adversarial_steps

    def row(name: str, ball: str, attack: str, eps: float, battery: Battery = "full") -> Measure:
        about = f"adversarial training (PGD-{steps}, {ball})"
        callbacks = trained_with(lambda known, classes, cfg: getattr(known, attack)(eps, steps))
        return Measure(name, about, "routine", battery=battery, callbacks=callbacks)

    own = f"{cfg.adversarial_eps * 255:.3g}/255"
    return (
        row("adversarial", own, "Adversarial", cfg.adversarial_eps, "quick"),
        row("adversarial-2", "2/255", "Adversarial", 2 / 255),
        row("adversarial-8", "8/255", "Adversarial", 8 / 255),
        row("adversarial-l2-0.5", "L2 0.5", "AdversarialL2", 0.5),
        row("adversarial-l2-1.0", "L2 1.0", "AdversarialL2", 1.0),
    )
