"""A pair of a keyed model as a lock that can be picked."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli import zoo
from noli.core.model import Model
from noli.train.callbacks import CropFlip
from noli.train.fit import fit
from noli.train.picking import Images, Labels, Setting, natural, per_class
from noli.train.recipe import Recipe
from noli.zoo.base import Classifier, Frozen, seeded
from noli.zoo.keyed import KeyedModel, described, isotropic_parts
from noli.zoo.keyed_folding import opened
from noli.zoo.turns import Turn

THIEF = Recipe(optimiser="adam", lr=1e-3, weight_decay=0.01, batch=64)


class ClassifierLock:
    """What is the same for every locked classifier: how it is trained and scored."""

    def trained(self, model: Model, x: Images, y: Labels, epochs: int) -> Model:
        """Train on labelled pictures, shifted and mirrored; see :class:`noli.train.picking.Lock`."""
        if len(x) > 1:
            fit(
                model,
                x,
                y,
                THIEF.model_copy(update={"epochs": epochs, "min_steps": 2 * epochs}),
                [CropFlip()],
            )
        return model

    def few(self, x: Images, y: Labels, count: int) -> tuple[Images, Labels] | None:
        """Return so many pictures of every class, or None where one has fewer."""
        return per_class(x, y, count)

    def loss(self, model: Model, x: Images, y: Labels) -> float:
        """Return the mean cross-entropy."""
        logits = torch.from_numpy(model.predict(x))
        return float(F.cross_entropy(logits, torch.from_numpy(np.asarray(y, np.int64))))

    def score(self, model: Model, x: Images, y: Labels) -> float:
        """Return the accuracy."""
        return float((model.predict(x).argmax(1) == y).mean())


class EmbeddingLock(ClassifierLock):
    """One pair of a keyed model.

    Args:
        keyed: The model.
        number: Which pair.
        seed: Of the thief's untrained network.
    """

    def __init__(self, keyed: KeyedModel, number: int = 0, seed: int = 0) -> None:
        self.keyed, self.number, self.seed = keyed, number, seed
        self.right = turned(keyed.pair(number).order.cpu())
        self.placed, self.signed = True, False

    def opened(self, setting: Setting) -> Model:
        """Return the model with a guessed permutation."""
        return opened(self.keyed, self.number, setting[0].order)

    def asked(self, setting: Setting) -> Model:
        """Return the model with a guessed permutation, around weights that it shares."""
        return opened(self.keyed, self.number, setting[0].order, shared=True)

    def adapted(self) -> Model:
        """Return the model with a trainable linear map on the values of a patch, the identity at first."""
        embed, blocks, head = isotropic_parts(self.opened(natural(self.right)))
        mix = nn.Conv2d(self.right[0].size, embed.out_channels, 1)
        mix.weight.data = embed.weight.detach().permute(0, 2, 3, 1).flatten(1)[:, :, None, None]
        if embed.bias is not None:
            mix.bias = embed.bias
        body = nn.Sequential(_identity(embed), Frozen(nn.Sequential(mix, blocks)))
        net = Classifier(body, head.in_features, head.out_features)
        net.head = head.requires_grad_(False)
        return Model(net, **described(self.keyed))

    def loosened(self) -> Model:
        """Return the model on pictures that are not permuted; all of its weights may be trained."""
        return self.opened(natural(self.right))

    def fresh(self) -> Model:
        """Return an untrained network of the same shape."""
        with seeded(self.seed):
            net = zoo.build(self.keyed.arch, self.keyed.arch_args)
        return Model(net, **described(self.keyed))


def turned(order: Tensor) -> Setting:
    """Return a permutation as the only turn of a lock."""
    return (Turn(order, torch.ones(len(order))),)


def _identity(embed: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution that lists the values of every patch: row, column, channel."""
    side, channels = embed.kernel_size[0], embed.in_channels
    made = nn.Conv2d(channels, channels * side * side, side, stride=side)
    eye = torch.eye(channels * side * side).reshape(-1, side, side, channels).permute(0, 3, 1, 2)
    made.load_state_dict({"weight": eye.contiguous(), "bias": torch.zeros(len(eye))})
    return made
