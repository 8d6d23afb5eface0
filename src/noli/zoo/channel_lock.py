"""Locks on feature maps of any network: exact folding of a trained one, and unlocking in memory.

Folding (ours): a map whose channels a key permutes (``cp``), negates (``np``, by sign), or both, goes into
weights that were changed alike, so with the key the network's answers stay as they were, and without it they
do not. Nothing is trained, and unlocking gives the very weights back, bit for bit.

It is no cryptography: a network gets worse step by step with the number of wrong channels, so that a key can
be climbed to with a few labelled pictures, and a thief can learn a linear map in its place. Seal the file,
too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from noli.core.errors import UsageError, WrongKey
from noli.core.key import Key
from noli.core.model import evaluating
from noli.zoo.consumers import Edit, edits_for
from noli.zoo.turns import Form, Negation, Turn, TurnedMap, attach, drawn, found

# Largest difference of outputs that counts as none, relative to the largest output (and to 1).
EXACT = 1e-5


class LayerLock(BaseModel):
    """A locked layer.

    Attributes:
        name: Of the module whose output is changed.
        channels: Of that output.
        edits: Weights that were made to follow; none where the network was trained with the change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    channels: int = Field(ge=1)
    edits: tuple[Edit, ...] = ()


class Lock(BaseModel):
    """What is public about a lock: all but the key.

    Attributes:
        mode: ``folded``, or ``paper`` where the network was trained with the change.
        form, block, negation: See :mod:`noli.zoo.turns`.
        layers: In the order of the network; every layer has a stream of the key of its own.
        key_id, check_value: Of the key, by which another is noticed before anything is computed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["folded", "paper"] = "folded"
    form: Form = "cp"
    block: int = Field(1, ge=1)
    negation: Negation = "sign"
    layers: tuple[LayerLock, ...] = Field(min_length=1)
    key_id: str
    check_value: str

    def turns(self, key: Key) -> list[Turn]:
        """Return what a key does to every layer; no check whether it is the right one."""
        return [drawn(key, self.form, one.name, one.channels, self.block) for one in self.layers]

    def check(self, key: Key) -> None:
        """Refuse another key with a WrongKey."""
        if (key.id, key.check_value) != (self.key_id, self.check_value):
            fix = f"give the key with id {self.key_id}"
            raise WrongKey("The key is not the one of the lock.", why=f"got {key.id}", fix=fix)

    @property
    def foldable(self) -> bool:
        """Whether the change can be put into weights: not a permutation of places, nor ``max F - F``."""
        return self.form in ("cp", "both") or (self.form == "np" and self.negation == "sign")

    @property
    def places(self) -> int:
        """Number of places that the key decides, over all layers."""
        each = self.block**2 if self.form == "pp" else 1
        return sum(one.channels * each for one in self.layers)


def lock_module(
    net: nn.Module, layers: Sequence[str], key: Key, example: Tensor, form: Form = "cp", within: str = ""
) -> tuple[nn.Module, Lock]:
    """Lock a trained network by folding; exact, or refused.

    Args:
        net: Any network in memory; a copy is locked. It must accept being copied and evaluated.
        layers: Names of modules whose output, a map ``[N, C, h, w]``, is locked.
        key: The owner's.
        example: An input of `net`, of any values; the answers are compared on random ones of its shape.
        form: ``cp``, ``np`` (by sign) or ``both``.
        within: Name of a part of the network that torch.fx can trace and that holds the layers and everything
            that reads them; empty for the whole.

    Returns:
        The network with locked weights, which is worth little without the key, and the lock. With
        :func:`encrypting` it computes on changed maps what it computed before; :func:`unlock_module` gives
        the weights back.

    Raises:
        UsageError: No such layer, one that cannot be locked exactly, ``pp``, or a network whose answers would
            change.
    """
    if form == "pp" or not layers or len(set(layers)) < len(layers):
        why = (
            "places of a map cannot be moved by moving weights" if form == "pp" else "no layers, or one twice"
        )
        raise UsageError(
            "This cannot be folded.", why=why, fix="take cp, np or both, or train with the change"
        )
    made = copy.deepcopy(net)
    with evaluating(made):
        part, given = made, example
        if within:
            part, given = found(made, within), _input_of(made, within, example)
        locks = []
        # What flows through two locked layers must be undone in the opposite order.
        for layer in _in_order(made, layers, example):
            inner = layer.removeprefix(f"{within}.") if within else layer
            edits = edits_for(part, inner, given, signs=form != "cp")
            outer = f"{within}." if within else ""
            edits = tuple(one.model_copy(update={"module": outer + one.module}) for one in edits)
            locks.append(LayerLock(name=layer, channels=channels_of(made, layer, example), edits=edits))
        lock = Lock(form=form, layers=tuple(locks), key_id=key.id, check_value=key.check_value)
        _edit(made, lock, lock.turns(key), back=False)
        changed = encrypting(made, lock, lock.turns(key))
        _check_same(net, changed, example)
    return made, lock


def unlock_module(net: nn.Module, lock: Lock, key: Key) -> nn.Module:
    """Return a copy of a locked network with the weights as they were, bit for bit; no change at run time.

    For ``paper`` the copy is the network that changes its maps as it did in training.

    Raises:
        WrongKey: The key is another.
    """
    lock.check(key)
    return turned_module(net, lock, lock.turns(key))


def turned_module(net: nn.Module, lock: Lock, turns: Sequence[Turn]) -> nn.Module:
    """Return what somebody has who takes these turns for those of the key."""
    if lock.mode == "paper":
        return encrypting(net, lock, turns)
    made = copy.deepcopy(net)
    _edit(made, lock, turns, back=True)
    return made


def encrypting(net: nn.Module, lock: Lock, turns: Sequence[Turn]) -> nn.Module:
    """Return a copy whose locked layers give changed maps, as the published method has it."""
    made = copy.deepcopy(net)
    for layer, turn in zip(lock.layers, turns, strict=True):
        attach(made, layer.name, TurnedMap(lock.form, turn, lock.block, lock.negation))
    return made


def _edit(net: nn.Module, lock: Lock, turns: Sequence[Turn], *, back: bool) -> None:
    """Make weights follow the turns, or undo that, in place."""
    pairs = list(zip(lock.layers, turns, strict=True))
    for layer, turn in reversed(pairs) if back else pairs:
        inverse = turn.order.argsort()
        order, sign = (inverse, turn.sign[inverse]) if back else (turn.order, turn.sign)
        for edit in layer.edits:
            for value, axis, signed in _values(net.get_submodule(edit.module), edit.kind):
                for start in edit.starts:
                    _move(value, axis, start, order, sign if signed else None)


def _values(module: nn.Module, kind: str) -> list[tuple[Tensor, int, bool]]:
    """Return tensors that follow, along which axis, and whether they change sign with their channel."""
    own: Mapping[str, Tensor | None] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if kind == "inputs":
        plan: dict[str, tuple[int, bool]] = {"weight": (1, True)}
    elif kind == "transposed":
        plan = {"weight": (0, True)}
    elif kind == "depthwise":
        plan = {"weight": (0, False), "bias": (0, True)}
    else:
        plan = {"weight": (0, False), "bias": (0, True), "running_mean": (0, True), "running_var": (0, False)}
    found_ = [(own.get(name), *how) for name, how in plan.items()]
    return [(value, axis, signed) for value, axis, signed in found_ if value is not None]


def _move(value: Tensor, axis: int, start: int, order: Tensor, sign: Tensor | None) -> None:
    with torch.no_grad():
        span = value.narrow(axis, start, len(order))
        moved = span.index_select(axis, order.to(value.device))
        if sign is not None:
            shape = [1] * value.ndim
            shape[axis] = -1
            moved = moved * sign.to(value).reshape(shape)
        span.copy_(moved)


def _check_same(net: nn.Module, other: nn.Module, example: Tensor) -> None:
    """Refuse networks that answer random input of this shape differently."""
    generator = torch.Generator().manual_seed(0)
    given = torch.rand(example.shape, generator=generator).to(example)
    with evaluating(net), evaluating(other), torch.no_grad():
        pairs = list(zip(_tensors(net(given)), _tensors(other(given)), strict=True))
    for one, two in pairs:
        gap = float((one - two).abs().max()) if one.numel() else 0.0
        if not gap <= EXACT * max(1.0, float(one.abs().max()) if one.numel() else 1.0):
            fix = "lock another layer"
            raise UsageError("The lock would change what the network answers.", why=f"by {gap:.2g}", fix=fix)
    if not pairs:
        raise UsageError("The network gives no tensors, so that nothing can be compared.")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value.float()]
    if isinstance(value, Mapping):
        value = [value[name] for name in sorted(value, key=str)]
    return [one for part in value for one in _tensors(part)] if isinstance(value, list | tuple) else []


def _seen(net: nn.Module, layer: str, example: Tensor) -> tuple[Any, Any]:
    """Return first input and output of a layer."""
    seen: list[tuple[Any, Any]] = []
    handle = found(net, layer).register_forward_hook(
        lambda module, inputs, output: seen.append((inputs[0] if inputs else None, output))
    )
    try:
        with torch.no_grad():
            net(example)
    finally:
        handle.remove()
    if len(seen) != 1:
        fix = "lock a layer that is used once"
        raise UsageError("The layer is not used once.", where=layer, why=f"used {len(seen)} times", fix=fix)
    return seen[0]


def _in_order(net: nn.Module, layers: Sequence[str], example: Tensor) -> list[str]:
    """Return layers in the order in which they work; the last time counts."""
    worked: list[str] = []
    handles = [
        found(net, layer).register_forward_hook(lambda *_, layer=layer: worked.append(layer))
        for layer in layers
    ]
    try:
        with torch.no_grad():
            net(example)
    finally:
        for handle in handles:
            handle.remove()
    places = {layer: place for place, layer in enumerate(worked)}
    return sorted(layers, key=lambda layer: places.get(layer, -1))


def _input_of(net: nn.Module, part: str, example: Tensor) -> Tensor:
    given, _ = _seen(net, part, example)
    if not isinstance(given, Tensor):
        raise UsageError("The part of the network does not take one tensor.", where=part)
    return given


def channels_of(net: nn.Module, layer: str, example: Tensor) -> int:
    """Return how many channels the map of a layer has; a `UsageError` where it gives none."""
    _, output = _seen(net, layer, example)
    if not isinstance(output, Tensor) or output.ndim != 4:
        fix = "name a layer that gives one map [N, C, h, w]"
        raise UsageError("The layer gives no feature map.", where=layer, fix=fix)
    return output.shape[1]
