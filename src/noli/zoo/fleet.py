"""A fleet of keyed models: one public network, and per device a small file of what differs.

AprilPyone, Kiya, IEEE OJSP 5 (2024), arXiv 2311.16577. A device has a key of its own, a patch embedding and a
head for patches permuted under it, and low-rank changes of the body (Hu et al., arXiv 2106.09685). Keys
follow from the owner's; none is in the folder.

Format: ``devices/ID.safetensors`` holds float16 tensors ``embed.weight``, ``embed.bias``, ``head.weight``,
``head.bias`` and for a layer of the body ``LAYER.A [rank, in]`` and ``LAYER.B [out, rank]``: its weight, as a
matrix, gets ``scale * B @ A`` added.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from noli import zoo
from noli.core.digested import Digested
from noli.core.errors import DataError, UsageError, WrongKey
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.model import Model
from noli.zoo.keyed import KeyedModel, Pair, isotropic_parts
from noli.zoo.keyed_folder import read_weights

MANIFEST, BASE, DEVICES = "fleet.json", "base.safetensors", "devices"
MOST_BYTES = 5_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PARTS = ("embed", "head")
State = Literal["active", "replaced", "revoked"]


class Device(BaseModel):
    """One device.

    Attributes:
        name: Its id.
        generation: 0, and one more every time that it is rotated.
        state: ``active``; ``replaced`` is followed by another generation, ``revoked`` by none; files stay,
            to trace leaks.
        key_id, check_value: Of the device's key.
        sha256, size: Of its file; size in bytes.
        accuracy: On held-out pictures: ``clean``, ``no key``, ``wrong keys``, ``worst wrong key``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    generation: int = Field(ge=0)
    state: State = "active"
    key_id: str
    check_value: str
    sha256: str
    size: int
    accuracy: dict[str, float]

    @property
    def file(self) -> str:
        """Where its file lies in the fleet's folder."""
        return f"{DEVICES}/{self.name}.{self.generation}.safetensors"


class Fleet(Digested):
    """What lies in a fleet's folder; `scale` is that of the low-rank changes, `base` the file's SHA-256."""

    format: Literal["noli-fleet"] = "noli-fleet"
    version: Literal[1] = 1
    base: str
    scale: float
    devices: list[Device]

    def active(self) -> dict[str, Device]:
        """Return the devices that are in use, by name."""
        return {one.name: one for one in self.devices if one.state == "active"}

    def latest(self, name: str) -> Device | None:
        """Return the last generation of a device, whatever its state."""
        found = [one for one in self.devices if one.name == name]
        return max(found, key=lambda one: one.generation, default=None)

    def with_device(self, device: Device) -> Fleet:
        """Return the fleet with a device added, or replaced."""
        others = [
            one for one in self.devices if (one.name, one.generation) != (device.name, device.generation)
        ]
        ordered = sorted([*others, device], key=lambda one: (one.name, one.generation))
        return self.model_copy(update={"devices": ordered})

    def save(self, folder: Path) -> None:
        """Write it, atomically."""
        atomic_write(folder / MANIFEST, self.rendered())


def read_fleet(folder: str | Path) -> Fleet:
    """Read what a fleet's folder says of itself.

    Raises:
        DataError: It is no whole fleet of this version.
    """
    return Fleet.read(Path(folder) / MANIFEST, "fleet")


def checked_names(names: list[str], where: str) -> list[str]:
    """Return names of devices as they are, or refuse them.

    Raises:
        DataError: A name that could not be one of a file, the same twice, or none.
    """
    fix = "give each a name of its own: letters, digits, dots, dashes, underscores; at most 64"
    if not names:
        raise DataError("There are no devices.", where=where, fix=fix)
    for number, name in enumerate(names, start=1):
        if not _NAME.fullmatch(name):
            raise DataError(f"Device {number} has no usable name.", where=where, why=repr(name[:80]), fix=fix)
        if names.index(name) < number - 1:
            raise DataError(f"Device {number} has the name of another.", where=where, why=name, fix=fix)
    return names


def device_key(master: Key, name: str, generation: int = 0) -> Key:
    """Return the key of a device, which follows from the owner's; it says nothing about that one or others.

    Args:
        master: The owner's key.
        name: Of the device. It is no secret: a key that followed from it alone could be guessed.
        generation: How often the device was rotated.
    """
    secret = master.stream("lock/proliferate/device", f"{name}/{generation}").bytes(32)
    return Key.from_bytes(secret, f"device {name}, generation {generation}")


def load_device(folder: str | Path, name: str, key: Key) -> KeyedModel:
    """Read the model of a device.

    Args:
        folder: The fleet's, or a copy with the device's own file, the network and the manifest.
        name: Of the device.
        key: The device's key; see :func:`device_key`.

    Raises:
        WrongKey: It is another's, or that of an earlier generation; noticed before any weights are read.
        UsageError: There is no such device, or it is revoked.
        DataError: Missing, damaged or foreign files.
    """
    folder = Path(folder)
    fleet = read_fleet(folder)
    device = fleet.active().get(name)
    if device is None:
        latest = fleet.latest(name)
        why = f"it is {latest.state}" if latest else f"there are {len(fleet.active())} others"
        raise UsageError("There is no such device in use.", where=name, why=why, fix="see fleet.json")
    if (device.key_id, device.check_value) != (key.id, key.check_value):
        fix = f"give the key with id {device.key_id}"
        raise WrongKey("The key is not the one of the device.", where=name, fix=fix)
    delta = read_weights(folder / device.file, device.sha256)
    return assembled(read_base(folder, fleet), key, delta, fleet.scale)


def read_base(folder: Path, fleet: Fleet) -> Model:
    """Read a fleet's public network.

    Raises:
        DataError: It is missing, or another one.
    """
    read_weights(folder / BASE, fleet.base)
    return zoo.load(folder / BASE)


def assembled(base: Model, key: Key, delta: dict[str, Tensor], scale: float) -> KeyedModel:
    """Put a device's model together: the public network, its own layers, its changes of the body.

    Args:
        base: The public network.
        key: The device's key.
        delta: What the device's file holds.
        scale: Of the low-rank changes.

    Raises:
        DataError: Tensors that do not fit the network.
    """
    embed, _, head = isotropic_parts(base)
    pair = Pair(embed, head, key)
    own = {name: value.float() for name, value in delta.items() if name.split(".")[0] in _PARTS}
    keyed = KeyedModel(base, [pair])
    made = keyed.pairs[0]
    try:
        nn.ModuleDict({part: getattr(made, part) for part in _PARTS}).load_state_dict(own)
        for layer in sorted(name[: -len(".A")] for name in delta if name.endswith(".A")):
            weight = keyed.net.body.net.get_parameter(f"{layer}.weight")
            weight.data.add_(change_of(weight, delta[f"{layer}.B"], delta[f"{layer}.A"], scale))
    except (RuntimeError, AttributeError, KeyError) as error:
        what, why = "The device's file does not fit the network.", str(error).partition("\n")[0]
        raise DataError(what, why=why, fix="take files of one fleet") from error
    return keyed.eval()


def change_of(weight: Tensor, b: Tensor, a: Tensor, scale: float) -> Tensor:
    """Return what is added to a weight: ``scale * B @ A`` in its shape.

    Raises:
        RuntimeError: The matrices are not for this weight; nothing was multiplied.
    """
    shape = (b.shape[0], a.shape[1]) if a.ndim == b.ndim == 2 else None
    if shape != (weight.shape[0], weight[0].numel()) or a.shape[0] != b.shape[1]:
        raise RuntimeError(f"{tuple(b.shape)} by {tuple(a.shape)} for {tuple(weight.shape)}")
    return (scale * (b.float() @ a.float())).reshape(weight.shape)
