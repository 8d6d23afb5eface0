"""What a key does to a feature map, and how a layer of any network is made to give the changed map.

Nagamori, Ito, MaungMaung, Kiya, arXiv 2209.14831 (detectors) and 2109.00224. With F the map ``[N, C, h, w]``:

* ``cp``: channel k of the new map is channel ``order[k]`` of F, alike in every place of the picture.
* ``np``: channels of a keyed subset, every one with probability 1/2, change sign; or become ``max F - F``
  with the maximum over the map of each picture, which keeps what follows a ReLU positive.
* ``both``, ours: ``cp``, and signs as in ``np``.
* ``pp``: the values of every block of ``block x block`` places and all channels are permuted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from noli.core.errors import UsageError
from noli.core.key import Key
from noli.zoo.keyed import permuted

Form = Literal["cp", "np", "both", "pp"]
Negation = Literal["sign", "max"]


@dataclass(frozen=True)
class Turn:
    """What is secret about one layer.

    Attributes:
        order: ``int64 [n]``: places; n is the number of channels, or of values of a block.
        sign: ``float32 [n]`` of 1 and -1.
    """

    order: Tensor
    sign: Tensor

    @property
    def size(self) -> int:
        """Number of places."""
        return len(self.order)

    def displaced(self, count: int, generator: np.random.Generator) -> Turn:
        """Return the turn with so many places wrong, drawn at random: moved in a circle, or of wrong sign.

        Args:
            count: From 2 to `size`; signs are changed where the order is the natural one (``np``).
            generator: Draws them.
        """
        places = torch.from_numpy(generator.choice(self.size, count, replace=False))
        order, sign = self.order.clone(), self.sign.clone()
        if torch.equal(order, torch.arange(self.size)):
            sign[places] = -sign[places]
        else:
            order[places] = order[places.roll(1)]
        return Turn(order, sign)


def drawn(key: Key, form: Form, layer: str, channels: int, block: int = 1) -> Turn:
    """Return a key's turn of a layer.

    Args:
        key: Every layer and form has a stream of its own.
        form: See above.
        layer: Name of the layer.
        channels: Of its map.
        block: Side of a block in places, for ``pp``.
    """
    stream = key.stream(f"lock/detector/{form}", f"{layer}/{channels}/{block}")
    size = channels * block * block if form == "pp" else channels
    order = torch.arange(size) if form == "np" else torch.from_numpy(stream.permutation(size))
    if form in ("cp", "pp"):
        return Turn(order, torch.ones(size))
    return Turn(order, torch.from_numpy(1 - 2 * stream.bits(size).astype(np.float32)))


class TurnedMap(nn.Module):
    """Changes a feature map by a turn; nothing of it is ever part of saved weights.

    Args:
        form: See above.
        turn: The secret.
        block: Side of a block, for ``pp``; both sides of the map must be multiples of it.
        negation: For ``np``.
    """

    order: Tensor
    sign: Tensor

    def __init__(self, form: Form, turn: Turn, block: int = 1, negation: Negation = "sign") -> None:
        super().__init__()
        self.form, self.block, self.negation = form, block, negation
        self.register_buffer("order", turn.order, persistent=False)
        self.register_buffer("sign", turn.sign, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the changed map ``[N, C, h, w]``.

        Raises:
            UsageError: It is no map of that size.
        """
        per_block = self.block**2 if self.form == "pp" else 1
        if (
            x.ndim != 4
            or x.shape[1] * per_block != len(self.order)
            or any(s % self.block for s in x.shape[2:])
        ):
            why = f"got {tuple(x.shape)} for {len(self.order)} places in blocks of {self.block}"
            fix = "name a layer with a map [N, C, h, w]; its sides must be multiples of the block"
            raise UsageError("The lock does not fit the feature map.", why=why, fix=fix)
        order = self.order.to(x.device)  # no part of the network that is moved to a GPU
        if self.form == "pp":
            return permuted(x, order, self.block)
        moved: Tensor = x if self.form == "np" else x[:, order]
        if self.form == "cp":
            return moved
        wide = self.sign.to(x)[:, None, None]
        if self.form == "both" or self.negation == "sign":
            return moved * wide
        negated: Tensor = torch.where(wide < 0, x.amax((1, 2, 3), keepdim=True) - x, x)
        return negated

    def hook(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        """Change what a layer gives, as its forward hook."""
        if not isinstance(output, Tensor):
            fix = "name a layer that gives one map"
            raise UsageError("The layer gives no single map.", why=type(output).__name__, fix=fix)
        made: Tensor = self(output)
        return made


def attach(net: nn.Module, layer: str, change: nn.Module) -> None:
    """Make a layer give what `change` makes of its map; nothing is added to the network's saved weights.

    Args:
        net: Changed in place; copies of it have copies of the change.
        layer: Name of a module inside.
        change: Has ``hook`` like :class:`TurnedMap`, or maps a map to a map.

    Raises:
        UsageError: There is no such layer.
    """
    found(net, layer).register_forward_hook(change.hook if isinstance(change, TurnedMap) else _Called(change))


class _Called:
    """A hook that is copied with its network, as a function would not be."""

    def __init__(self, change: nn.Module) -> None:
        self.change = change

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        made: Tensor = self.change(output)
        return made


def found(net: nn.Module, layer: str) -> nn.Module:
    """Return a layer by its name, or raise a `UsageError` that says which there are."""
    try:
        if layer:
            return net.get_submodule(layer)
    except AttributeError:
        pass
    names = [name for name, module in net.named_modules() if name and not list(module.children())]
    fix = f"name a module, such as {', '.join(names[:3])}"
    raise UsageError("The network has no layer of this name.", where=layer or "''", fix=fix)
