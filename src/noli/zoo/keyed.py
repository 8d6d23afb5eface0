"""Keyed isotropic networks: one frozen body, and patch embeddings for patches that keys permute.

AprilPyone, Kiya, APSIPA ASC 2023, arXiv 2309.01620; ours: permutations follow from 256-bit keys. Adversarial
pictures that are made without the key, on the public body or on stolen weights, carry over less. Not stopped:
who knows a key attacks as if there were no defence, for transform and embedding are one linear layer; attacks
by queries need no key; pictures may be classified well without the transform, or under a wrong key.

Format: value ``(row * M + column) * C + channel`` of a patch (channels last) has that number; value k of a
permuted patch is value ``order[k]`` of the plain one, as in ``shf`` of :mod:`noli.ops.schemes`. Working
images ``float32 [N, C, H, W]`` in [0, 1] are permuted before they are normalised.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import SystemRandom
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from noli.core.errors import DataError, UsageError
from noli.core.key import Key
from noli.core.model import DESCRIBED, Model
from noli.zoo.base import Classifier, Frozen, seeded
from noli.zoo.isotropic import Isotropic

Pick = Literal["random", "average"]
_SYSTEM = SystemRandom()


def patch_order(key: Key, patch: int, channels: int, number: int = 0) -> npt.NDArray[np.int64]:
    """Return a key's permutation ``int64 [channels * patch * patch]``; a key has one per `number`."""
    stream = key.stream("lock/embeddings/patch", f"b={patch}/c={channels}/{number}")
    return stream.permutation(channels * patch * patch)


def permuted(x: Tensor, order: Tensor, patch: int) -> Tensor:
    """Permute the values of every patch of ``[N, C, H, W]``, whole patches; differentiable.

    Args:
        x: Images.
        order: ``int64 [C * patch * patch]``; its argsort undoes it.
        patch: Side of a patch in pixels.
    """
    n, c, h, w = x.shape
    cut = x.reshape(n, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 3, 5, 1)
    moved = cut.flatten(3)[..., order].reshape(cut.shape)
    return moved.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


class Pair(nn.Module):
    """A patch embedding and a head for patches under a key, of which only id, check value and order are kept.

    Args:
        embed: Convolution with kernel and stride of one patch.
        head: From features to classes.
        key: The owner's.
        number: Which of the key's permutations.
    """

    order: Tensor

    def __init__(self, embed: nn.Conv2d, head: nn.Linear, key: Key, number: int = 0) -> None:
        super().__init__()
        self.embed, self.head = copy.deepcopy(embed), copy.deepcopy(head)
        self.channels, self.patch = embed.in_channels, embed.kernel_size[0]
        self.number, self.key_id, self.check_value = number, key.id, key.check_value
        order = torch.from_numpy(patch_order(key, self.patch, self.channels, number))
        # Not persistent: no file may hold it.
        self.register_buffer("order", order.to(embed.weight.device), persistent=False)

    def opens(self, key: Key) -> bool:
        """Whether this is the pair's key."""
        return (key.id, key.check_value) == (self.key_id, self.check_value)


class _Net(nn.Module):
    def __init__(self, blocks: nn.Module, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.body = Frozen(copy.deepcopy(blocks))
        self.pairs = nn.ModuleList(copy.deepcopy(list(pairs)))


class KeyedModel(Model):
    """A frozen body with pairs of embeddings and heads; takes plain images and permutes them itself.

    Never pickle one: its permutations would be in the pickle. :meth:`save` leaves them out.

    Args:
        model: Isotropic classifier, plain or keyed, whose body and description are copied.
        pairs: At least one; copied.
        pick: ``random`` asks one pair, drawn for every image by the operating system; ``average`` gives the
            mean logits of `samples` pairs that are drawn so.
        samples: From 1 to the number of pairs; 0 for all.

    Raises:
        UsageError: Another network, no pairs, too many samples.
    """

    net: _Net

    def __init__(
        self, model: Model, pairs: Sequence[Pair], *, pick: Pick = "random", samples: int = 0
    ) -> None:
        if not pairs or not 0 <= samples <= len(pairs) or pick not in ("random", "average"):
            why = f"got {len(pairs)} pairs, pick={pick!r}, samples={samples}"
            raise UsageError("A keyed model needs pairs, a way to pick, no more samples than pairs.", why=why)
        super().__init__(_Net(isotropic_parts(model)[1], pairs), **described(model))
        self.pick, self.samples = pick, samples
        self.to(model._mean.device)

    @property
    def pairs(self) -> list[Pair]:
        """Embeddings and heads, oldest first."""
        return [pair for pair in self.net.pairs if isinstance(pair, Pair)]

    def pair(self, number: int) -> Pair:
        """Return one of the pairs, counted from 0, or raise a UsageError."""
        pairs = self.pairs
        if not 0 <= number < len(pairs):
            raise UsageError(f"There is no pair {number}.", why=f"the model has {len(pairs)}, counted from 0")
        return pairs[number]

    def with_pair(self, pair: Pair) -> KeyedModel:
        """Return a copy with one more pair."""
        return KeyedModel(self, [*self.pairs, pair], pick=self.pick, samples=self.samples)

    def forward(self, x: Tensor, pair: int | None = None) -> Tensor:
        """Map plain working images ``[N, C, H, W]`` to logits ``[N, K]`` by one pair, or as `pick` says.

        Raises:
            DataError: Sides that are no multiples of the patch, or another number of channels.
            UsageError: There is no such pair.
        """
        return self._asked(x, pair, lambda one, seen: one.head(seen))

    def features(self, x: Tensor, pair: int | None = None) -> Tensor:
        """Map plain working images to features ``[N, D]``; see :meth:`forward`."""
        return self._asked(x, pair, lambda one, seen: seen)

    def _asked(self, x: Tensor, number: int | None, see: Callable[[Pair, Tensor], Tensor]) -> Tensor:
        pairs = self.pairs
        check_sides(x.shape[1:], pairs[0])
        if number is not None or len(pairs) == 1 or not len(x):
            one = self.pair(number or 0)
            return see(one, self._seen(one, x))
        many = 1 if self.pick == "random" else self.samples or len(pairs)
        drawn = torch.tensor([_SYSTEM.sample(range(len(pairs)), many) for _ in x], device=x.device)
        rows = [(drawn == i).any(1).nonzero()[:, 0] for i in range(len(pairs))]
        found = [see(one, self._seen(one, x[row])) for one, row in zip(pairs, rows, strict=True) if len(row)]
        total = found[0].new_zeros(len(x), found[0].shape[1])
        return total.index_add(0, torch.cat(rows), torch.cat(found)) / many

    def _seen(self, pair: Pair, x: Tensor) -> Tensor:
        normal = (permuted(x, pair.order, pair.patch) - self._mean) / self._std
        seen: Tensor = self.net.body(pair.embed(normal))
        return seen.mean((2, 3)) if seen.ndim == 4 else seen

    def save(self, path: str | Path) -> None:
        """Write a folder; see :func:`noli.zoo.keyed_folder.save_keyed`."""
        from noli.zoo.keyed_folder import save_keyed

        save_keyed(self, path)


def isotropic_parts(model: Model) -> tuple[nn.Conv2d, nn.Module, nn.Linear]:
    """Return embedding, body and head of an isotropic classifier; of a keyed model those of the first pair.

    Raises:
        UsageError: Another network, or an embedding that does not cut whole patches.
    """
    if isinstance(model, KeyedModel):
        return model.pairs[0].embed, model.net.body.net, model.pairs[0].head
    net = model.net
    if isinstance(net, Classifier) and isinstance(net.body, Isotropic) and net.body.embed.bias is not None:
        embed, side = net.body.embed, net.body.embed.kernel_size[0]
        if embed.kernel_size == embed.stride == (side, side) and embed.groups == 1 and not any(embed.padding):
            return embed, net.body.blocks, net.head
    what, why = "A keyed model needs an isotropic network.", f"got {model.arch!r}"
    raise UsageError(what, why=why, fix="take convmixer or vit")


def with_head(model: Model, names: Sequence[str]) -> Model:
    """Return a copy of a plain isotropic classifier with an untrained head for other classes.

    Args:
        model: The classifier.
        names: Class names.

    Raises:
        UsageError: Another network.
    """
    head, net = isotropic_parts(model)[2], copy.deepcopy(model.net)
    with seeded(0):
        net.head = nn.Linear(head.in_features, len(names))
    net.head.to(head.weight.device)
    told = {"class_names": tuple(names), "arch_args": {**model.arch_args, "classes": len(names)}}
    return Model(net, **{**described(model), **told}).train(model.training)


def fixed_side(model: Model) -> int | None:
    """Return the side in pixels of the only pictures that an isotropic classifier takes; None: any patches.

    Raises:
        UsageError: Another network.
    """
    embed, blocks, _ = isotropic_parts(model)
    places = getattr(blocks, "places", None)  # a learned vector per patch
    return None if places is None else math.isqrt(places.shape[1]) * embed.kernel_size[0]


def check_side(model: Model, side: int) -> None:
    """Refuse pictures of a side in pixels that an isotropic classifier cannot take.

    Raises:
        UsageError: Learned places fix another side, or it does not consist of whole patches.
    """
    fixed, patch = fixed_side(model), isotropic_parts(model)[0].kernel_size[0]
    if side < 1 or side % patch or side != (fixed or side):
        why = f"it takes {fixed} pixels" if fixed else f"its patches have a side of {patch} pixels"
        fix = "leave it out" if fixed else "give a multiple of that"
        raise UsageError("The network takes no pictures of this side.", where=str(side), why=why, fix=fix)


def check_sides(shape: Sequence[int], pair: Pair) -> None:
    """Refuse images ``(C, H, W)`` that do not consist of whole patches with a DataError."""
    if len(shape) != 3 or shape[0] != pair.channels or any(not s or s % pair.patch for s in shape[1:]):
        fix = f"give {pair.channels} channels and sides that are multiples of {pair.patch} pixels"
        raise DataError("The images do not fit the patches.", why=f"got {tuple(shape)}", fix=fix)


def described(model: Model) -> dict[str, Any]:
    """Return what a model says of itself, as arguments for another."""
    return {name: getattr(model, name) for name in DESCRIBED}
