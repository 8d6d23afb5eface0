"""Training the secret part of a keyed model: one patch embedding and one head, behind a frozen body.

AprilPyone, Kiya, APSIPA ASC 2023, arXiv 2309.01620. The network permutes the pictures itself, so
what callbacks do to them comes before the transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from noli import zoo
from noli.core.errors import DataError
from noli.core.key import Key
from noli.core.model import Model
from noli.train.callbacks import CropFlip
from noli.train.checkpoint import Checkpoint
from noli.train.fit import Callback, FitResult, fit
from noli.train.recipe import Recipe
from noli.zoo.base import Classifier, Frozen, seeded
from noli.zoo.isotropic import Isotropic
from noli.zoo.keyed import KeyedModel, Pair, check_sides, described, isotropic_parts, with_head

# Of what is trained without a key; ours.
_PUBLIC = Recipe(optimiser="adam", lr=3e-3, weight_decay=0.01)
# The paper's could not be read; ours.
RECIPE = Recipe(epochs=10, optimiser="adam", lr=1e-3, weight_decay=0.02)


def train_pair(
    model: Model,
    key: Key,
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[Any],
    recipe: Recipe = RECIPE,
    callbacks: Sequence[Callback] = (),
    *,
    seed: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[KeyedModel, FitResult]:
    """Train an embedding and a head for a key; the body stays as it is, statistics of batches included.

    Args:
        model: Whose body is taken: a plain isotropic classifier, which gets its first pair, or a keyed model,
            which gets one more. Not changed.
        key: The owner's; it may own several pairs of a model, each with a permutation of its own.
        x: Plain images ``uint8 [N, H, W, C]``, N >= 2, whole patches.
        y: Labels ``[N]``, integers from 0, of the classes that the model has.
        recipe: How to train.
        callbacks: See :func:`noli.train.fit.fit`; they see plain images.
        seed: Of the untrained weights; None derives it from the key, so that nobody can start from the same.
        checkpoint: Where finished steps are kept; what it depends on must name `model`.

    Returns:
        The keyed model with one more pair, and what the training cost.

    Raises:
        UsageError: The network is not isotropic.
        DataError: Images or labels of the wrong type or shape, no whole patches, labels without a class.
        RunError: The loss is no longer finite.
    """
    number = (
        1 + max((pair.number for pair in model.pairs), default=-1) if isinstance(model, KeyedModel) else 0
    )
    pair = untrained_pair(model, key, number, seed=seed)
    if x.ndim == 4:  # what has other faults is refused by fit
        check_sides((x.shape[3], *x.shape[1:3]), pair)
    if y.size and int(y.max()) >= pair.head.out_features:
        why = f"label {int(y.max())}, where labels go from 0 to {pair.head.out_features - 1}"
        raise DataError("The labels name a class that the model does not have.", why=why)
    alone = KeyedModel(model, [pair])
    result = fit(alone, x, y, recipe, callbacks, checkpoint=checkpoint)
    made = alone.pairs[0]
    if isinstance(model, KeyedModel):
        return model.with_pair(made), result
    return KeyedModel(model, [made]), result


def untrained_pair(model: Model, key: Key, number: int = 0, *, seed: int | None = None) -> Pair:
    """Return a pair with random weights, for a plain isotropic classifier or a keyed model.

    Args:
        model: Gives the sizes.
        key: The owner's.
        number: Which of the key's permutations.
        seed: Of the weights; None derives it from the key. No global generator moves.

    Raises:
        UsageError: The network is not isotropic.
    """
    embed, _, head = isotropic_parts(model)
    if seed is None:
        seed = int(key.stream("lock/embeddings/weights", str(number)).integers(1, 2**62)[0])
    side = embed.kernel_size[0]
    with seeded(seed):
        return Pair(
            nn.Conv2d(embed.in_channels, embed.out_channels, side, stride=side),
            nn.Linear(head.in_features, head.out_features),
            key,
            number,
        )


def train_public(
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[Any],
    names: Sequence[str],
    arch: str,
    epochs: int,
    checkpoint: Checkpoint | None = None,
) -> Model:
    """Train a network of patches whose body keyed models take; nothing in it depends on a key.

    Args:
        x: Plain images ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        names: Class names.
        arch: ``convmixer`` or ``vit``.
        epochs: Passes over the images.
        checkpoint: Where finished steps are kept.
    """
    side = x.shape[1]
    model = zoo.network(arch, names, x.shape[3], size=side, **({"side": side} if arch == "vit" else {}))
    fit(model, x, y, _PUBLIC.model_copy(update={"epochs": epochs}), [CropFlip()], checkpoint=checkpoint)
    return model


def train_head(
    model: Model,
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[Any],
    names: Sequence[str],
    epochs: int,
    checkpoint: Checkpoint | None = None,
) -> Model:
    """Train a head for other classes on an isotropic classifier, everything below which stays as it is.

    Args:
        model: Plain isotropic classifier. Not changed.
        x: Plain images ``uint8 [N, side, side, C]``.
        y: Labels ``[N]``.
        names: Class names, at least two.
        epochs: Passes over the images.
        checkpoint: Where finished steps are kept; what it depends on must name `model`.

    Raises:
        UsageError: The network is not isotropic.
    """
    made = with_head(model, names)
    embed, blocks, head = isotropic_parts(made)
    # In evaluation mode, too: statistics of batches belong to the body.
    net = Classifier(Frozen(Isotropic(embed, blocks)), head.in_features, head.out_features)
    net.head = head
    alone = Model(net, **described(made))
    fit(alone, x, y, _PUBLIC.model_copy(update={"epochs": epochs}), [CropFlip()], checkpoint=checkpoint)
    made.net.requires_grad_(True)
    return made.eval()
