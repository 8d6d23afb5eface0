"""Models that attackers of a keyed model can build, by what they have; they make their pictures on these."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from noli.core.key import Key
from noli.core.model import Model
from noli.zoo.base import Classifier, seeded
from noli.zoo.isotropic import Isotropic
from noli.zoo.keyed import KeyedModel, Pair, described, isotropic_parts
from noli.zoo.keyed_folding import opened


def guess(number: int) -> Key:
    """Return a key that an attacker tries; it is known to everybody, so that a run can be repeated."""
    return Key.from_bytes(hashlib.sha256(f"noli guessed key {number}".encode()).digest(), f"guess-{number}")


class Mean(nn.Module):
    """The mean logits of several models on the same working images."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[N, K]``."""
        return torch.stack([model(x) for model in self.models]).mean(0)


def with_keys(keyed: KeyedModel, keys: Sequence[Key]) -> KeyedModel:
    """Return a model whose pairs all have guessed keys; with several keys, each pair comes with each."""
    pairs = [Pair(one.embed, one.head, key, one.number) for key in keys for one in keyed.pairs]
    return KeyedModel(keyed, pairs, pick="average")


def with_everything(keyed: KeyedModel) -> KeyedModel:
    """Return the model that averages all pairs with their keys: what somebody attacks who has them all."""
    return KeyedModel(keyed, keyed.pairs, pick="average")


def without_transform(keyed: KeyedModel) -> nn.Module:
    """Return the mean of all pairs as their files are, on pictures that are not permuted."""
    return Mean([opened(keyed, i, torch.arange(len(one.order))) for i, one in enumerate(keyed.pairs)])


def with_public_embedding(keyed: KeyedModel, public: Model) -> nn.Module:
    """Return the mean of all pairs with the public network's first layer in place of the secret ones."""
    embed, _, _ = isotropic_parts(public)
    made = []
    for pair in keyed.pairs:
        with seeded(0):
            body = Isotropic(copy.deepcopy(embed), copy.deepcopy(keyed.net.body.net))
            net = Classifier(body, pair.head.in_features, pair.head.out_features)
        net.head.load_state_dict(pair.head.state_dict())
        made.append(Model(net.requires_grad_(True).eval(), **described(keyed)).to(embed.weight.device))
    return Mean(made)


def with_estimated_order(keyed: KeyedModel, public: Model) -> nn.Module:
    """Return the mean of all pairs with permutations that are estimated from the public network."""
    return Mean([opened(keyed, i, estimated_order(keyed, i, public)) for i in range(len(keyed.pairs))])


def estimated_order(keyed: KeyedModel, number: int, public: Model) -> Tensor:
    """Match columns of a secret first layer to those of the public one: the likeliest permutation.

    Exact conversion gives its permutation away to this (all of 192 places); training from other weights does
    not. Cosines, then the best assignment.

    Args:
        keyed: The keyed model.
        number: Which pair.
        public: The public network.

    Returns:
        ``int64 [n]``, as :func:`noli.zoo.keyed.patch_order`.
    """
    secret, known = (_columns(one) for one in (keyed.pair(number).embed, isotropic_parts(public)[0]))
    # Column k of the secret layer belongs to the plain value `order[k]`.
    alike = secret @ known.T
    _, order = linear_sum_assignment(-alike.numpy())
    return torch.from_numpy(order)


def _columns(embed: nn.Conv2d) -> Tensor:
    flat = embed.weight.detach().cpu().permute(0, 2, 3, 1).flatten(1).double()
    columns: Tensor = flat.T / flat.norm(dim=0).clamp(min=1e-12)[:, None]
    return columns
