"""Model: a network that carries its own normalisation, class names and recipe for being rebuilt.

Loaded only by code that needs torch; nothing imports it at package level. Weights are stored as
safetensors with a JSON description in the header. No pickle is read or written.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safe_torch
from torch import Tensor, nn

from noli.core import foreign
from noli.core.errors import DataError, UsageError
from noli.core.files import atomic_write
from noli.core.images import to_float

HEADER = "noli_model"
DESCRIBED = ("arch", "arch_args", "mean", "std", "class_names")
Build = Callable[[str, Mapping[str, Any]], nn.Module]


class Model(nn.Module):
    """A classifier on working images.

    Args:
        net: Network on normalised images with ``forward(x) -> logits [N, K]`` and
            ``features(x) -> [N, D]``.
        mean: Per-channel mean, one value or one per channel, in [0, 1] units.
        std: Per-channel standard deviation, greater than 0.
        class_names: Names of the K classes, or empty.
        arch: Name under which `net` can be built again.
        arch_args: JSON-serialisable arguments for that.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.25,),
        class_names: Sequence[str] = (),
        arch: str = "",
        arch_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise UsageError("A model needs as many means as positive standard deviations.")
        self.net = net
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self.class_names = tuple(class_names)
        self.arch, self.arch_args = arch, dict(arch_args or {})
        # Not persistent: the header holds them, so that the weights hash covers learned tensors only.
        self.register_buffer("_mean", _per_channel(self.mean), persistent=False)
        self.register_buffer("_std", _per_channel(self.std), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map working images ``float32 [N, C, H, W]`` in [0, 1] to logits ``[N, K]``."""
        logits: Tensor = self.net((x - self._mean) / self._std)
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Map working images ``[N, C, H, W]`` to the penultimate features ``[N, D]``."""
        features: Tensor = self.net.features((x - self._mean) / self._std)  # type: ignore[operator]
        return features

    def predict(self, images: npt.NDArray[Any], batch: int = 500) -> npt.NDArray[np.float32]:
        """Compute logits ``float32 [N, K]`` without gradients and in evaluation mode; all modes are restored.

        Args:
            images: Stored images ``uint8 [N, H, W, C]`` or working images ``float32 [N, C, H, W]``.
            batch: Images per forward pass.
        """
        device = self._mean.device
        parts: list[npt.NDArray[np.float32]] = []
        with evaluating(self), torch.no_grad(), torch.autocast(device.type, enabled=False):
            for start in range(0, len(images), batch):
                chunk = images[start : start + batch]
                working = chunk if chunk.dtype == np.float32 else to_float(chunk)
                parts.append(self(torch.from_numpy(working).to(device)).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, len(self.class_names)), np.float32)

    def weight_hash(self) -> str:
        """Return the SHA-256 of all learned tensors (name, dtype, shape, bytes in name order)."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.net.state_dict().items()):
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
            digest.update(array.view(-1).view(torch.uint8).numpy().data if array.numel() else b"")
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write weights and description to one safetensors file, atomically."""
        described = {"schema": 1} | {name: getattr(self, name) for name in DESCRIBED}
        state = {k: v.detach().cpu().contiguous() for k, v in self.net.state_dict().items()}
        data = safe_torch.save(state, metadata={HEADER: json.dumps(described)})
        atomic_write(Path(path), data)

    @classmethod
    def load(cls, path: str | Path, build: Build) -> Model:
        """Read a model written by :meth:`save`.

        Args:
            path: safetensors file.
            build: Makes an untrained network from ``arch`` and ``arch_args`` (``noli.zoo.build``).

        Raises:
            DataError: Missing or damaged file, no description, weights that do not fit.
        """
        where = str(path)
        try:
            with safe_open(where, framework="pt") as opened:
                text = (opened.metadata() or {}).get(HEADER)
                state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            fix = "name a file that noli wrote"
            raise DataError("The model file cannot be read.", where=where, why=str(error), fix=fix) from error
        if text is None:
            fix = "build the network and wrap it in Model"
            raise DataError("The model file lacks noli's description.", where=where, fix=fix)
        try:
            described = foreign.loads(text)
            net = rebuilt(described, state, build)
            kept = {name: described[name] for name in DESCRIBED}
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            what, why = "The weights do not fit the network they name.", str(error).partition("\n")[0]
            raise DataError(what, where=where, why=why) from error
        return cls(net, **kept)


# Of the same thread, too: what is seeded may itself read a network.
_GLOBAL_GENERATOR = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights from `seed` and leave torch's global generator as it was; one thread at a time."""
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would also touch the generators of every GPU.
        torch.default_generator.manual_seed(seed)
        yield


def rebuilt(described: Mapping[str, Any], state: Mapping[str, Tensor], build: Build) -> nn.Module:
    """Build a network again and give it its weights; nothing is allocated for weights that do not fit.

    The weights that it begins with are drawn, and replaced: torch's global generator stays as it was.

    Args:
        described: What the file says of itself, with ``arch`` and ``arch_args``.
        state: The file's tensors.
        build: See :meth:`Model.load`; it must also work on torch's device ``meta``.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: No such network, or other weights than it has; also
            what `build` raises.
    """
    arch, args = described["arch"], described["arch_args"]
    # A file of a kilobyte may name a network of gigabytes: sizes are compared where tensors have no memory.
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in build(arch, args).state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if other := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        has, needs = (shapes.get(other[0], "missing") for shapes in (found, wanted))
        raise ValueError(f"{other[0]}: {has} in the file, {needs} in the network")
    with seeded(0):
        net = build(arch, args)
    net.load_state_dict(state)
    return net


def _per_channel(values: Sequence[float]) -> Tensor:
    """Return ``[1, C, 1, 1]``; C = 1 where all are alike, because loops over pixels are vectorised then."""
    return torch.tensor(values if len(set(values)) > 1 else values[:1]).view(1, -1, 1, 1)


@contextmanager
def keeping_modes(model: nn.Module) -> Iterator[None]:
    """Give every module its own train/eval mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode and give each its own mode back afterwards."""
    with keeping_modes(model):
        model.eval()
        yield
