"""Tell from which device of a fleet a leaked model is: no two devices have the same weights.

The likeness of two models is the mean of three cosines: of first layers (as they are, or with the device's
permutation folded in, whichever is nearer), of heads, and of what was changed in the body. Where a device is
near the public network, what it has in common with that is taken off both. Weights that were trained apart
have cosines near 0 in a first layer of thousands of numbers; devices that were changed a little (fine-tuned,
rounded, made noisy) stay near 1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from noli import zoo
from noli.core.errors import DataError, UsageError, WrongKey
from noli.core.key import Key
from noli.core.model import Model
from noli.zoo.fleet import Device, assembled, device_key, read_base, read_fleet
from noli.zoo.keyed import KeyedModel, isotropic_parts
from noli.zoo.keyed_folder import load_bare, read_weights
from noli.zoo.keyed_folding import converted, folded

# Fixed before anything was measured. A leak is named where its likeness reaches this and nobody else reaches
# half of its.
NAMED = 0.5
NEAR = 0.3


@dataclass(frozen=True)
class Likeness:
    """How much a leaked model is like a device, in [-1, 1]; `exact`: it is the device's very file."""

    device: Device
    value: float
    exact: bool = False


def trace(folder: str | Path, leaked: str | Path, master: Key) -> tuple[Likeness, ...]:
    """Compare a leaked model with every device that a fleet ever had.

    Args:
        folder: The fleet's.
        leaked: A device's file, a safetensors model of noli, or the folder of a keyed model.
        master: The owner's key.

    Returns:
        All devices and generations, the likeliest first.

    Raises:
        WrongKey: The fleet is of another key.
        DataError: Files that cannot be read, or a model of another shape.
    """
    folder = Path(folder)
    fleet = read_fleet(folder)
    base = read_base(folder, fleet)
    found = []
    suspect = None
    told = hashlib.sha256(Path(leaked).read_bytes()).hexdigest() if Path(leaked).is_file() else ""
    for device in fleet.devices:
        key = device_key(master, device.name, device.generation)
        if key.id != device.key_id:
            raise WrongKey(
                "The fleet was made with another key.", where=str(folder), fix="give the owner's key"
            )
        own = assembled(base, key, read_weights(folder / device.file, device.sha256), fleet.scale)
        if suspect is None:
            suspect = _suspect(Path(leaked), base, fleet.scale)
        exact = told == device.sha256
        value = 1.0 if exact else _likeness(suspect, own, base, key)
        found.append(Likeness(device, value, exact))
    return tuple(sorted(found, key=lambda one: (not one.exact, -one.value)))


def named(found: Sequence[Likeness]) -> Device | None:
    """Return the device that a leak is from, or None where that cannot be said."""
    if found and found[0].exact:
        return found[0].device
    if not found or found[0].value < NAMED:
        return None
    second = found[1].value if len(found) > 1 else 0.0
    return found[0].device if second <= found[0].value / 2 else None


def _suspect(place: Path, base: Model, scale: float) -> Model:
    if place.is_dir():
        return load_bare(place)
    try:
        return zoo.load(place)
    except DataError as error:
        try:
            delta = _tensors(place)
            # The key decides only the order of values, which the comparison does not ask for.
            return assembled(base, Key.from_bytes(bytes(32)), delta, scale)
        except DataError:
            raise error from None


def _tensors(place: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors import torch as safe_torch

    try:
        return safe_torch.load(place.read_bytes())
    except (OSError, SafetensorError) as error:
        raise DataError("The leaked model cannot be read.", where=str(place), why=str(error)) from error


def _likeness(suspect: Model, own: KeyedModel, base: Model, key: Key) -> float:
    embed, blocks, head = isotropic_parts(suspect)
    public, public_blocks, public_head = isotropic_parts(base)
    mine, changed, its_head = isotropic_parts(own)
    plain, _, _ = isotropic_parts(folded(own, 0))
    moved, _, _ = isotropic_parts(converted(base, key))
    try:
        layers = [
            _apart(embed.weight, one.weight, known.weight) or 0.0
            for one, known in ((mine, moved), (plain, public))
        ]
        body = _cosine(_difference(blocks, public_blocks), _difference(changed, public_blocks))
        parts = [max(layers), _apart(head.weight, its_head.weight, public_head.weight), body]
    except (RuntimeError, KeyError) as error:
        why = str(error).partition("\n")[0]
        raise UsageError("The leaked model has another shape than the fleet's.", why=why) from error
    found = float(sum(part for part in parts if part is not None) / sum(part is not None for part in parts))
    if not math.isfinite(found):
        raise DataError("The leaked model holds numbers that are none.", fix="there is nothing to compare")
    return found


def _apart(one: Tensor, other: Tensor, public: Tensor) -> float | None:
    """Return the cosine of two tensors, without what the second has in common with the public one."""
    near = _cosine(other, public)
    return _cosine(one - public, other - public) if near is not None and near > NEAR else _cosine(one, other)


def _difference(one: torch.nn.Module, other: torch.nn.Module) -> Tensor:
    theirs = dict(other.named_parameters())
    return torch.cat([(value - theirs[name]).flatten() for name, value in one.named_parameters()]).detach()


def _cosine(one: Tensor, other: Tensor) -> float | None:
    """Return the cosine of two tensors; None where the second has no length: it says nothing then."""
    first, second = one.detach().flatten().double(), other.detach().flatten().double()
    if first.shape != second.shape:
        raise RuntimeError(f"{tuple(one.shape)} where {tuple(other.shape)} were expected")
    length = first.norm() * second.norm()
    if not second.norm():
        return None
    return float(first @ second / length) if length else 0.0
