"""LPIPS, a learned perceptual distance of pictures (Zhang et al., CVPR 2018, arXiv 1801.03924).

Its weights are a download that no package brings, so that they must be given: one safetensors file with the
convolutions of VGG16 or AlexNet and the five layers of channel weights, under the names of the authors'
package or of torchvision (docs/prove-models.md says how to write it). Without it the distance is 1 - SSIM.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from noli.core.errors import DataError, UsageError
from noli.ops.matching import ssim_distance

Distance = Callable[[Tensor, Tensor], Tensor]
# What is done before a feature map is read: window of the pooling (0: none), numbers of the convolutions.
_STAGES: dict[str, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "vgg16": ((0, (0, 2)), (2, (5, 7)), (2, (10, 12, 14)), (2, (17, 19, 21)), (2, (24, 26, 28))),
    "alexnet": ((0, (0,)), (3, (3,)), (3, (6,)), (0, (8,)), (0, (10,))),
}
_SMALLEST = {"vgg16": 16, "alexnet": 31}
_CONVOLUTION = re.compile(r"(?:net\.slice\d+|features)\.(\d+)\.(weight|bias)")
_CHANNELS = re.compile(r"lins?\.?(\d)\.model\.1\.weight")
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_FIX = "see docs/prove-models.md for how to write such a file"


class Lpips(nn.Module):
    """LPIPS with given weights; they are never trained.

    Args:
        arch: ``vgg16`` or ``alexnet``.
        weights: ``N.weight`` and ``N.bias`` of its convolutions, ``linK`` ``[1, C, 1, 1]`` for five maps.
    """

    def __init__(self, arch: str, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.arch = arch
        self.names = {name: name.replace(".", "_") for name in weights}
        for name, place in self.names.items():
            self.register_buffer(place, weights[name].float())
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of every pair, ``[N]``, differentiable; 0 for equal pictures.

        Args:
            a: Working images ``float32 [N, 1 or 3, H, W]`` in [0, 1].
            b: As many, of the same shape.

        Raises:
            DataError: They are too small for the network.
        """
        self.check_side(*a.shape[2:])
        total = a.new_zeros(len(a))
        for number, (x, y) in enumerate(zip(self._maps(a), self._maps(b), strict=True)):
            gap = (_unit(x) - _unit(y)) ** 2 * self._weight(f"lin{number}")
            total = total + gap.sum(1).mean((1, 2))
        return total

    def check_side(self, height: int, width: int) -> None:
        """Raise DataError for pictures that are too small for the network."""
        smallest = _SMALLEST[self.arch]
        if min(height, width) < smallest:
            why = f"{width} x {height} pixels; {self.arch} needs {smallest}"
            raise DataError("The pictures are too small for LPIPS.", why=why, fix="leave out the weights")

    def _maps(self, x: Tensor) -> list[Tensor]:
        x = (2 * x.expand(-1, 3, -1, -1) - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        for window, numbers in _STAGES[self.arch]:
            x = F.max_pool2d(x, window, stride=2) if window else x
            for number in numbers:
                kernel = self._weight(f"{number}.weight")
                # The one wide kernel of the two networks is AlexNet's first.
                stride, padding = (4, 2) if kernel.shape[3] == 11 else (1, kernel.shape[3] // 2)
                x = F.relu(F.conv2d(x, kernel, self._weight(f"{number}.bias"), stride, padding))
            found.append(x)
        return found

    def _weight(self, name: str) -> Tensor:
        return self.get_buffer(self.names[name])


def load_lpips(path: str | Path) -> Lpips:
    """Read LPIPS weights.

    Args:
        path: safetensors file.

    Raises:
        DataError: No such file, one that cannot be read, or one that lacks weights or has others.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        what = "The LPIPS weights cannot be read."
        raise DataError(what, where=str(path), why=str(error).splitlines()[0], fix=_FIX) from error
    weights: dict[str, Tensor] = {}
    for name, tensor in found.items():
        if match := _CONVOLUTION.fullmatch(name):
            weights[f"{match[1]}.{match[2]}"] = tensor
        elif match := _CHANNELS.fullmatch(name):
            weights[f"lin{match[1]}"] = tensor
    arch = "vgg16" if "28.weight" in weights else "alexnet"
    try:
        _check_weights(arch, weights)
        made, side = Lpips(arch, weights), _SMALLEST[arch]
        with torch.no_grad():
            made(torch.zeros(1, 3, side, side), torch.ones(1, 3, side, side))
    except (ValueError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise DataError("These are not LPIPS weights.", where=str(path), why=why, fix=_FIX) from error
    return made


def _check_weights(arch: str, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError where weights are missing or are none of this network's."""
    needed = _needed(arch)
    if missing := sorted(set(needed) - set(weights)):
        raise ValueError(f"{len(missing)} tensors of {arch} are missing, among them {missing[0]}")
    for name in needed:
        tensor, dimensions = weights[name], 1 if name.endswith("bias") else 4
        if tensor.ndim != dimensions or not tensor.is_floating_point():
            raise ValueError(f"{name} is {tensor.dtype} with {tensor.ndim} dimensions, not {dimensions}")
        if not tensor.isfinite().all():
            raise ValueError(f"some numbers of {name} are not finite")
    for place, (_, numbers) in enumerate(_STAGES[arch]):
        tensor, channels = weights[f"lin{place}"], len(weights[f"{numbers[-1]}.bias"])
        if tuple(tensor.shape) != (1, channels, 1, 1):
            raise ValueError(
                f"lin{place} has the shape {tuple(tensor.shape)} instead of (1, {channels}, 1, 1)"
            )
        if bool((tensor < 0).any()):
            raise ValueError(f"lin{place} has weights below 0")


def picture_distance(
    lpips: str | None, weight: float, device: torch.device | str = "cpu", *, side: int | None = None
) -> Distance | None:
    """Return LPIPS where a file of weights is named, else 1 - SSIM; None where the distance has no weight.

    Args:
        lpips: The file.
        weight: Of the distance in what is minimised.
        device: Where pictures lie.
        side: Shorter side of the pictures in pixels, where it is known already.

    Returns:
        Maps two ``float32 [N, C, H, W]`` in [0, 1] to ``[N]``, differentiable.

    Raises:
        UsageError: Weights are named, but the distance counts for nothing.
        DataError: See :func:`load_lpips`, or pictures that are too small.
    """
    if lpips and not weight:
        fix = "give perceptual a value above 0 (Data Taggants: 0.01), or leave lpips out"
        raise UsageError("LPIPS weights are named, but perceptual is 0.", where=lpips, fix=fix)
    if not weight:
        return None
    if not lpips:
        return ssim_distance
    made = load_lpips(lpips)
    if side is not None:
        made.check_side(side, side)
    return made.to(device)


def weights_digest(lpips: str | None) -> str:
    """Return the SHA-256 of a file of weights, so that a search knows when they changed; empty for none."""
    return hashlib.sha256(Path(lpips).read_bytes()).hexdigest() if lpips else ""


def _needed(arch: str) -> list[str]:
    numbers = [number for _, stage in _STAGES[arch] for number in stage]
    convolutions = [f"{number}.{part}" for number in numbers for part in ("weight", "bias")]
    return [*convolutions, *(f"lin{number}" for number in range(len(_STAGES[arch])))]


def _unit(x: Tensor) -> Tensor:
    # Inside the root: its gradient is not finite where all channels are 0.
    return x / torch.sqrt((x * x).sum(1, keepdim=True) + 1e-20)
