"""Locked detectors in one file: safetensors with the lock in the header; no key, no permutation."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import torch as safe_torch
from torch import Tensor, nn

from noli.core import foreign
from noli.core.errors import DataError, UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.model import DESCRIBED, rebuilt
from noli.zoo.channel_lock import (
    LayerLock,
    Lock,
    channels_of,
    encrypting,
    lock_module,
    turned_module,
    unlock_module,
)
from noli.zoo.detector import Detector, build_detector
from noli.zoo.turns import Form, Negation, Turn, TurnedMap

HEADER = "noli_locked_detector"
FILE = "detector.safetensors"
_DAMAGED = "take a whole copy of the file, as noli wrote it"


class LockedDetector:
    """A detector whose weights are of use with a key only, as far as the lock holds.

    Attributes:
        stolen: The detector that its files make without the key: what a thief has.
        lock: What is public about the lock.
    """

    def __init__(self, stolen: Detector, lock: Lock) -> None:
        self.stolen, self.lock = stolen, lock

    def opened(self, key: Key) -> Detector:
        """Return the detector for who has the key; weights are unlocked in memory.

        Raises:
            WrongKey: The key is another.
        """
        return _like(self.stolen, unlock_module(self.stolen.net, self.lock, key))

    def guessed(self, turns: Sequence[Turn]) -> Detector:
        """Return the detector for who takes these for the key's, one per locked layer."""
        return _like(self.stolen, turned_module(self.stolen.net, self.lock, turns))

    def relocked(self, key: Key, other: Key) -> LockedDetector:
        """Return it under another key, exactly and without training; `key` is the present one.

        What was trained with the change is folded first, so that all customers can have weights of their own.

        Raises:
            WrongKey: `key` is not the lock's.
            UsageError: The change cannot be put into weights (``pp``, or ``np`` with ``max``).
        """
        return fold_detector(self.plain(key), self._layers, other, _example(self), self._foldable_form())

    def plain(self, key: Key) -> Detector:
        """Return a detector without any change at run time; errors are those of :meth:`relocked`."""
        form = self._foldable_form()
        self.lock.check(key)
        if self.lock.mode == "folded":
            return self.opened(key)
        # Trained on T(F): weights W read T(F). To lock is to make readers follow; to read F, undo that.
        _, shape = lock_module(self.stolen.net, self._layers, key, _example(self), form)
        return _like(self.stolen, turned_module(self.stolen.net, shape, shape.turns(key)))

    @property
    def _layers(self) -> list[str]:
        return [layer.name for layer in self.lock.layers]

    def _foldable_form(self) -> Form:
        if not self.lock.foldable:
            fix = "lock it with cp, np with sign, or both"
            raise UsageError("This lock cannot be put into weights.", why=self.lock.form, fix=fix)
        return self.lock.form

    def save(self, path: str | Path) -> None:
        """Write weights, description and lock to one file, atomically."""
        atomic_write(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the file."""
        state = {
            name: value.detach().cpu().contiguous() for name, value in self.stolen.net.state_dict().items()
        }
        facts = {name: getattr(self.stolen, name) for name in DESCRIBED}
        facts |= {"schema": 1, "lock": self.lock.model_dump(mode="json")}
        facts["sha256"] = self.stolen.weight_hash()
        facts["digest"] = _digest(facts)
        return safe_torch.save(state, metadata={HEADER: json.dumps(facts)})


def fold_detector(
    model: Detector, layers: Sequence[str], key: Key, example: Tensor, form: Form = "cp"
) -> LockedDetector:
    """Lock a trained detector without training; see :func:`noli.zoo.channel_lock.lock_module`.

    Args:
        model: Not changed.
        layers: Names of layers of ``model.net``.
        key: The owner's.
        example: Normalised images ``[N, C, H, W]``.
        form: ``cp``, ``np`` or ``both``.
    """
    net, lock = lock_module(model.net, layers, key, example, form)
    return LockedDetector(_like(model, net), lock)


def paper_lock(
    model: Detector,
    layers: Sequence[str],
    key: Key,
    example: Tensor,
    form: Form,
    *,
    block: int = 1,
    negation: Negation = "sign",
) -> tuple[Detector, Lock]:
    """Return a copy that changes its maps, to be trained so, and the lock; arguments as for the others.

    Raises:
        UsageError: No such layer, or a map whose sides are no multiples of the block.
    """
    widths = [channels_of(model.net, layer, example) for layer in layers]
    size = block if form == "pp" else 1
    lock = Lock(
        mode="paper",
        form=form,
        block=size,
        negation=negation,
        layers=tuple(
            LayerLock(name=name, channels=width) for name, width in zip(layers, widths, strict=True)
        ),
        key_id=key.id,
        check_value=key.check_value,
    )
    made = _like(model, encrypting(model.net, lock, lock.turns(key)))
    with torch.no_grad():
        made.net(example)
    return made, lock


def without_change(model: Detector, lock: Lock) -> LockedDetector:
    """Return what a detector that was trained with the change is without it: what a file can hold."""
    net = copy.deepcopy(model.net)
    for layer in lock.layers:
        hooks = net.get_submodule(layer.name)._forward_hooks
        for number, hook in list(hooks.items()):
            if isinstance(getattr(hook, "__self__", None), TurnedMap):
                del hooks[number]
    return LockedDetector(_like(model, net), lock)


def load_locked(path: str | Path) -> LockedDetector:
    """Read a locked detector; the key comes later (:meth:`LockedDetector.opened`).

    Raises:
        DataError: Missing, damaged or foreign file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        why = str(error.strerror)
        raise DataError("The locked detector cannot be read.", where=str(path), why=why) from error
    return read_locked(data, str(path))


def is_locked(data: bytes, where: str) -> bool:
    """Tell whether a safetensors file is a locked detector; DataError where it is none at all."""
    return _parts(data, where)[0] is not None


def read_locked(data: bytes, where: str) -> LockedDetector:
    """Read the bytes of a locked detector, without any file; errors as for :func:`load_locked`."""
    text, state = _parts(data, where)
    if text is None:
        raise DataError("This is no locked detector.", where=where, fix="name a file of `noli lock detector`")
    try:
        facts = foreign.loads(text)
        if facts.pop("digest") != _digest(facts):
            raise ValueError("its description was changed")
        net = rebuilt(facts, state, build_detector)
        model = Detector(net, **{name: facts[name] for name in DESCRIBED}).eval()
        if model.weight_hash() != facts["sha256"]:
            raise ValueError("its weights were changed")
        return LockedDetector(model, Lock.model_validate(facts["lock"]))
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, UsageError) as error:
        why = "its lock is not readable" if isinstance(error, ValidationError) else str(error)
        first = why.partition("\n")[0]
        raise DataError("The locked detector is damaged.", where=where, why=first, fix=_DAMAGED) from error


def _parts(data: bytes, where: str) -> tuple[str | None, dict[str, Tensor]]:
    """Return the description in the header of a safetensors file, if there is one, and the tensors."""
    try:
        state = safe_torch.load(data)
        length = int.from_bytes(data[:8], "little")
        header = foreign.loads(data[8 : 8 + length])
        return header.get("__metadata__", {}).get(HEADER), state
    except (SafetensorError, ValueError, AttributeError) as error:
        raise DataError(
            "The file is no safetensors file.", where=where, why=str(error), fix=_DAMAGED
        ) from error


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _like(model: Detector, net: nn.Module) -> Detector:
    """Return a detector of the same description with another network."""
    return Detector(net, **{name: getattr(model, name) for name in DESCRIBED}).train(model.training)


def _example(locked: LockedDetector) -> Tensor:
    """Return an input for tracing: every network here takes pictures of 64 pixels."""
    first = next(value for value in locked.stolen.net.parameters() if value.ndim == 4)
    return torch.zeros(1, first.shape[1], 64, 64, device=first.device)
