"""Exact algebra of keyed models: embeddings for patches in another order, without training."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noli.core.errors import WrongKey
from noli.core.key import Key
from noli.core.model import Model
from noli.zoo.base import Classifier, seeded
from noli.zoo.isotropic import Isotropic
from noli.zoo.keyed import KeyedModel, Pair, described, isotropic_parts, patch_order


def carried(embed: nn.Conv2d, order: Tensor, mean: Sequence[float], std: Sequence[float]) -> nn.Conv2d:
    """Return an embedding that makes of patches ``p[order]`` what `embed` makes of p, exactly.

    Args:
        embed: For patches of normalised images.
        order: ``int64 [n]``.
        mean: Per channel, or one for all, subtracted after the values have changed places.
        std: Likewise, divided by.
    """
    made, side, channels = copy.deepcopy(embed), embed.kernel_size[0], embed.in_channels
    old = embed.weight.detach().permute(0, 2, 3, 1).flatten(1).double()
    # A value keeps its weight but may come under another channel's mean and spread.
    shift, scale = (old.new_tensor(v).expand(channels).repeat(side * side) for v in (mean, std))
    new = old[:, order] * (scale / scale[order])
    moved = ((old / scale)[:, order] * (shift - shift[order])).sum(1)
    with torch.no_grad():
        made.weight.copy_(new.reshape(-1, side, side, channels).permute(0, 3, 1, 2))
        if made.bias is not None:
            made.bias += moved
    return made


def converted(model: Model, key: Key) -> KeyedModel:
    """Return a keyed model that answers exactly as a plain one does (Kiya et al., arXiv 2308.07612).

    It protects nothing where the plain model is public: what is made against that transfers as if made with
    the key, and columns of the two embeddings can be matched, which gives the permutation away.

    Raises:
        UsageError: The network is not isotropic.
    """
    embed, _, head = isotropic_parts(model)
    order = torch.from_numpy(patch_order(key, embed.kernel_size[0], embed.in_channels))
    return KeyedModel(model, [Pair(carried(embed, order, model.mean, model.std), head, key)])


def rotated(keyed: KeyedModel, number: int, old_key: Key, new_key: Key) -> KeyedModel:
    """Return a copy with a pair under another key, exactly and without training.

    The model stays the same function of plain images. So this helps where pictures are permuted outside, but
    not against anybody who had the old key and weights: for that, train a new pair and drop the old one.

    Raises:
        WrongKey: `old_key` is not the pair's.
        UsageError: There is no such pair.
    """
    pair, pairs = keyed.pair(number), keyed.pairs
    if not pair.opens(old_key):
        raise WrongKey(f"The key is not the one of pair {number}.", fix=f"give the key with id {pair.key_id}")
    pairs[number] = Pair(pair.embed, pair.head, new_key, pair.number)
    change = pair.order.argsort()[pairs[number].order]
    pairs[number].embed = carried(pair.embed, change, keyed.mean, keyed.std)
    return KeyedModel(keyed, pairs, pick=keyed.pick, samples=keyed.samples)


def folded(keyed: KeyedModel, number: int) -> Model:
    """Return a plain model of one pair, with the permutation inside the embedding: no transform, no cost.

    Folded weights ARE the key: who has them needs no other. Never give them to those the key is kept from.

    Raises:
        UsageError: There is no such pair.
    """
    return opened(keyed, number, keyed.pair(number).order)


def stolen(keyed: KeyedModel, number: int) -> Model:
    """Return the plain model that the files of a pair make without transform: what a thief has.

    What he makes of it with guesses is in :mod:`noli.zoo.keyed_thieves`.

    Raises:
        UsageError: There is no such pair.
    """
    return opened(keyed, number, torch.arange(len(keyed.pair(number).order)))


def opened(keyed: KeyedModel, number: int, order: Tensor, *, shared: bool = False) -> Model:
    """Return the plain model that a pair makes with a permutation, guessed or right.

    Args:
        keyed: The keyed model.
        number: Which pair.
        order: ``int64 [n]``; value k of a permuted patch is value ``order[k]`` of the plain one.
        shared: With the very blocks and head of the keyed model: to be asked only, and soon forgotten.

    Raises:
        UsageError: There is no such pair.
    """
    pair = keyed.pair(number)
    embed = carried(pair.embed, order.to(pair.order.device).argsort(), keyed.mean, keyed.std)
    blocks, head = keyed.net.body.net, pair.head
    if not shared:
        blocks, head = copy.deepcopy((blocks, head))
    with seeded(0):
        net = Classifier(Isotropic(embed, blocks), head.in_features, head.out_features)
    net.head = head
    if not shared:
        net.requires_grad_(True).eval()
    return Model(net, **described(keyed)).to(keyed._mean.device)
