"""A secret random network over patches, as NeuraCrypt encodes pictures (Yala et al., arXiv 2106.02484).

A patch becomes a vector by a random linear layer and ReLU; that is repeated with normalisation in between;
a random vector for its place is added; a last linear layer follows. All weights come from the key.

Where ours differs from the authors' code, whose normalisation takes its statistics from the batch, so that
the codes of a picture depend on its neighbours: they are measured once, on public pictures of smooth noise.
Pictures are encoded one by one, so that codes do not depend on the batch in the last bit either. Weights are
uniform in plus and minus one over the square root of the inputs, as those of a layer of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noli.core.keystream import Stream
from noli.ops.plasma import plasma

CALIBRATION = 16
_EPS = 1e-5


@dataclass(frozen=True)
class Linear:
    """Weights ``[outputs, inputs]`` and bias, and, once measured, mean and spread of every output."""

    weight: Tensor
    bias: Tensor
    mean: Tensor | None = None
    spread: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Map ``[..., inputs]`` to ``[..., outputs]``, normalised where that was measured."""
        found = F.linear(x, self.weight, self.bias)
        return found if self.mean is None or self.spread is None else (found - self.mean) / self.spread


@dataclass(frozen=True)
class RandomCoder:
    """The secret network.

    Attributes:
        patch: Side of a patch in pixels.
        first: Layers of the patches: one that sees all colours, or one per colour whose outputs stand beside
            each other.
        deep: Further layers with normalisation.
        places: A vector for every place, ``[P, D]``.
        last: The last layer.
    """

    patch: int
    first: tuple[Linear, ...]
    deep: tuple[Linear, ...]
    places: Tensor
    last: Linear

    def codes(self, image: Tensor) -> Tensor:
        """Return the codes ``float32 [P, D]`` of an image ``float32 [C, S, S]`` in [0, 1], in order."""
        x = _patched(image, self.patch, self.first)
        for layer in self.deep:
            x = F.relu(layer(x))
        found: Tensor = self.last(F.relu(x + self.places))
        return found


def random_coder(
    stream: Stream, *, side: int, channels: int, patch: int, width: int, depth: int, by_colour: bool = False
) -> RandomCoder:
    """Draw a network from a stream and measure its normalisation.

    Args:
        stream: Where the weights come from.
        side: Of the images in pixels, a multiple of `patch`.
        channels: 1 or 3.
        patch: Side of a patch in pixels; published: 16.
        width: Length D of a code; published: 2,048.
        depth: Layers with normalisation; published: 4.
        by_colour: A first layer of its own for every colour.
    """
    shares = [width // channels + (number < width % channels) for number in range(channels)]
    inputs = patch * patch
    first = (
        tuple(_drawn(stream, inputs, share) for share in shares)
        if by_colour
        else (_drawn(stream, channels * inputs, width),)
    )
    deep = tuple(_drawn(stream, width, width) for _ in range(depth))
    count = (side // patch) ** 2
    places = torch.from_numpy(stream.normal(count * width).astype(np.float32)).reshape(count, width)
    drawn = RandomCoder(patch, first, deep, places, _drawn(stream, width, width))
    return _measured(drawn, side, channels)


def _drawn(stream: Stream, inputs: int, outputs: int) -> Linear:
    bound = inputs**-0.5
    weight, bias = (stream.uniform(n, -bound, bound) for n in (inputs * outputs, outputs))
    return Linear(_tensor(weight).reshape(outputs, inputs), _tensor(bias))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _patched(image: Tensor, patch: int, first: Sequence[Linear]) -> Tensor:
    parts = image[None] * 2 - 1
    planes = torch.split(parts, 1, dim=1) if len(first) > 1 else (parts,)
    blocks = [F.unfold(plane, patch, stride=patch)[0].T for plane in planes]
    made = [layer(block) for layer, block in zip(first, blocks, strict=True)]
    return F.relu(torch.cat(made, dim=1))


def _measured(coder: RandomCoder, side: int, channels: int) -> RandomCoder:
    """Return the network with means and spreads of its deep layers over public pictures."""
    generator = torch.Generator().manual_seed(0)  # public on purpose
    shown = plasma(CALIBRATION * channels, side, side, generator).reshape(CALIBRATION, channels, side, side)
    batch = torch.stack([_patched(image, coder.patch, coder.first) for image in shown])
    deep = []
    for layer in coder.deep:
        found = layer(batch)
        mean, spread = found.mean((0, 1)), (found.var((0, 1), correction=0) + _EPS).sqrt()
        deep.append(Linear(layer.weight, layer.bias, mean, spread))
        batch = F.relu((found - mean) / spread)
    return RandomCoder(coder.patch, coder.first, tuple(deep), coder.places, coder.last)
