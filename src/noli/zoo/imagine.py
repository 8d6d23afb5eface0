"""Noise from text: the generator of T2UE (arXiv 2508.03091), small enough for processors.

A random vector becomes 4 x 4 features; residual blocks double the side until it is that of the noise, and
their normalisation is scaled and shifted by the text (as in SSA-GAN, without its spatial masks). A generator
is a Model whose file says which text encoder it understands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.errors import DataError
from noli.core.model import Model, evaluating
from noli.ops.noisestore import Noise, quantised
from noli.zoo.base import seeded
from noli.zoo.text import WORDS, TextEncoder, load_text

ARCH = "t2ue"
UNTRAINED = "untrained"
_BATCH = 64


class TextNorm(nn.Module):
    """Batch normalisation whose scale and shift depend on the text: ``(1 + A e) * normal(h) + B e``.

    Args:
        channels: Channels of the features h.
        text: Length of the text vector e.
    """

    def __init__(self, channels: int, text: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(text, 2 * channels)
        # Identity at first.
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """Normalise ``[N, C, H, W]`` with the texts ``[N, D]``."""
        scale, shift = self.affine(e)[..., None, None].chunk(2, dim=1)
        out: Tensor = (1 + scale) * self.norm(h) + shift
        return out


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, text: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([TextNorm(inputs, text), TextNorm(outputs, text)])
        self.convs = nn.ModuleList(
            [nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)]
        )
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        h = F.interpolate(h, scale_factor=2.0)
        out = h
        for norm, conv in zip(self.norms, self.convs, strict=True):
            out = conv(F.leaky_relu(norm(out, e), 0.2))
        total: Tensor = out + self.skip(h)
        return total


class NoiseNet(nn.Module):
    """The generator's network.

    Args:
        text: Length of a text vector.
        z: Length of the random vector.
        side: Side of the noise in pixels: 4 times a power of two.
    """

    def __init__(self, text: int, z: int, side: int) -> None:
        super().__init__()
        widths = [max(24, 96 >> step) for step in range((side // 4).bit_length())]
        self.text, self.width = text, widths[0]
        self.start = nn.Linear(z, widths[0] * 16)
        self.blocks = nn.ModuleList([_Block(a, b, text) for a, b in pairwise(widths)])
        self.end = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, told: Tensor) -> Tensor:
        """Return noise ``[N, 3, S, S]`` in [-1, 1] from text and random vectors ``[N, text + z, 1, 1]``."""
        e, z = told[:, : self.text, 0, 0], told[:, self.text :, 0, 0]
        h = self.start(z).view(len(z), self.width, 4, 4)
        for block in self.blocks:
            h = block(h, e)
        return torch.tanh(self.end(F.leaky_relu(h, 0.2)))


def new_generator(
    text: TextEncoder, *, side: int = 32, z: int = 64, eps: float = 8 / 255, seed: int = 0
) -> Model:
    """Make an untrained generator; no global generator moves.

    Args:
        text: The encoder whose vectors it is told.
        side: Side of the noise in pixels, 16, 32 or 64.
        z: Length of the random vector.
        eps: Bound within which it will be trained, in [0, 1] units.
        seed: Seed of the weights.
    """
    facts = {"z": z, "side": side, "eps": eps, "text": text.name, "text_size": text.size}
    with seeded(seed):
        net = _build(ARCH, facts)
    return Model(net, mean=(0,), std=(1,), arch=ARCH, arch_args={**facts, "text_digest": text.digest})


def load_generator(name: str) -> Model:
    """Read a generator that was saved with ``Model.save``.

    Args:
        name: Its file, or ``untrained``: fixed random weights, for controls and tests.

    Raises:
        DataError: No generator.
    """
    return new_generator(load_text(WORDS)) if name == UNTRAINED else Model.load(name, _build)


def _build(arch: str, facts: Mapping[str, Any]) -> nn.Module:
    if arch != ARCH:
        raise ValueError(f"it holds the network {arch!r}, not a generator")
    return NoiseNet(facts["text_size"], facts["z"], facts["side"])


def imagine(
    generator: Model,
    prompts: Sequence[str],
    z: npt.NDArray[np.float32],
    tell: Callable[[int, int, str], None] | None = None,
) -> Noise:
    """Make noise from texts; nothing else goes in.

    Args:
        generator: A trained generator.
        prompts: N texts.
        z: Random vectors ``float32 [N, Z]``.
        tell: Progress, ``(done, all, what)``.

    Returns:
        ``int8 [N, S, S, 3]``, 127 is the generator's bound.

    Raises:
        MissingPrerequisite: Its text encoder is not installed.
        DataError: The text encoder is another one than that of the training.
    """
    facts = generator.arch_args
    text = load_text(facts["text"])
    if text.digest != facts["text_digest"]:
        raise DataError(
            "The generator was trained with another text encoder of this name.",
            where=text.name,
            fix="bring back the encoder it was trained with, or train a new generator",
        )
    different = list(dict.fromkeys(prompts))
    place = {prompt: row for row, prompt in enumerate(different)}
    embedded = text(different)[[place[prompt] for prompt in prompts]]
    out = np.empty((len(prompts), facts["side"], facts["side"], 3), np.int8)
    with evaluating(generator), torch.no_grad():
        for start in range(0, len(prompts), _BATCH):
            part = slice(start, start + _BATCH)
            noise = generator(torch.cat([embedded[part], torch.from_numpy(z[part])], 1)[..., None, None])
            out[part] = quantised(noise.permute(0, 2, 3, 1).numpy(), 1.0)
            if tell:
                tell(min(start + _BATCH, len(prompts)), len(prompts), "imagine")
    return out
