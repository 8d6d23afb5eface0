"""Stopping early: networks may learn content before they learn what protection added; routine rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from noli.methods.verify.measure import Measure

if TYPE_CHECKING:
    from noli.train.recipe import Recipe

_SHARE = 4


def shorter(recipe: Recipe) -> Recipe:
    """Return the recipe of a quarter of the training, its schedule shortened as well."""
    short = {"epochs": max(1, recipe.epochs // _SHARE), "min_steps": recipe.min_steps // _SHARE}
    return recipe.model_copy(update=short)


SHORT = Measure("short", "trains for a quarter of the time", "routine", recipe=shorter)
BEST_EPOCH = Measure("best-epoch", "keeps the best epoch, seen on clean images", "routine", best_epoch=True)


def cross_fitted(correct: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pick the best epoch without judging it on the images that picked it.

    The images are cut into two fixed random halves. Each half is answered by the epoch that is best on the
    other half (the earliest of equals), so that every answer comes from an epoch chosen without it.

    Args:
        correct: ``bool [E, M]``, which of M held-out images each epoch gets right.

    Returns:
        ``bool [M]``.
    """
    order = np.random.default_rng(0).permutation(correct.shape[1])
    picked = np.empty(correct.shape[1], bool)
    for judged, picking in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        picked[judged] = correct[correct[:, picking].sum(1).argmax(), judged]
    return picked
