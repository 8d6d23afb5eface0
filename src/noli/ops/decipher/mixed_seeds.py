"""InstaHide under an integer seed, as it was published, and what comes back by trying the seeds.

The published code draws weights from NumPy's global generator and partners and signs from torch's, both set
by one integer. The strongest attack on its challenge needed no more than that (leaderboard of the InstaHide
Challenge: 120 hours of a CPU). :func:`encoded` makes such codes in outline; :func:`search` finds the seed,
as the right signs make a code smooth; :func:`pictures_under` then solves for the pictures exactly. The keys
of noli are 256 bits and a stream cipher: this does not apply to them, and is here to show why.

Pictures ``[N, C, S, S]`` as they are mixed (normalised); codes ``[N, copies, C, S, S]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from noli.core.errors import DataError
from noli.ops.decipher.mixtures import Floats
from noli.ops.decipher.seeds import FEW, Guess, smoothest
from noli.ops.decipher.tokens import Order

_SIZE = 2**32  # NumPy's legacy seeds; torch takes 32 bits of its own


class Draws(NamedTuple):
    """What one seed decides.

    Attributes:
        weights: ``[copies, N, k]``.
        partners: ``int64 [copies, N, k]``, the picture itself first.
        signs: ``[copies, n, C, S, S]`` of -1 and 1, n the pictures that were asked for.
    """

    weights: Floats
    partners: Order
    signs: Floats


def draws(seed: int, shape: tuple[int, ...], copies: int, k: int, cap: float, *, few: int = 0) -> Draws:
    """Draw weights, partners and signs from generators of an integer, in the order of the published code.

    Generators are private ones: no global state moves.

    Args:
        seed: 0 .. 2^32 - 1.
        shape: N, C, S, S of the pictures.
        copies: Rounds over all pictures.
        k: Pictures in a code.
        cap: Largest weight.
        few: Only signs of so many pictures of the first round, and nothing that comes after; 0 for all.

    Raises:
        DataError: A seed that the generators do not take.
    """
    import torch

    if not 0 <= seed < _SIZE:
        raise DataError("No such seed.", why=f"got {seed}", fix="take 0 .. 2^32 - 1")
    generator = torch.Generator().manual_seed(seed)
    plain = None if few else np.random.RandomState(seed)
    count, values = shape[0], tuple(shape[1:])
    weights, partners, signs = [], [], []
    for _ in range(1 if few else copies):
        if plain is not None:
            weights.append(np.stack([_weights(plain, k, cap) for _ in range(count)]))
        others = [torch.randperm(count, generator=generator) for _ in range(k - 1)]
        partners.append(torch.stack([torch.arange(count), *others], dim=1).numpy())
        shown = few or count
        masks = [torch.randint(0, 2, values, generator=generator) for _ in range(shown)]
        signs.append(torch.stack(masks).numpy().astype(np.float32) * 2 - 1)
    made = np.stack(weights) if weights else np.zeros((1, count, k))
    return Draws(made.astype(np.float32), np.stack(partners), np.stack(signs))


def encoded(pictures: Floats, seed: int, *, copies: int = 1, k: int = 4, cap: float = 0.65) -> Floats:
    """Return codes ``float32 [N, copies, C, S, S]`` of pictures under an integer seed."""
    drawn = draws(seed, pictures.shape, copies, k, cap)
    mixed = [
        np.einsum("nk,nkchw->nchw", weights, pictures[partners])
        for weights, partners in zip(drawn.weights, drawn.partners, strict=True)
    ]
    found: Floats = np.stack([a * b for a, b in zip(mixed, drawn.signs, strict=True)], axis=1)
    return found


def search(
    codes: Floats, seeds: Iterable[int], *, k: int = 4, cap: float = 0.65, kept: int = 5
) -> list[Guess]:
    """Return the seeds whose signs make codes smoothest, the best first; nothing but codes is needed.

    Args:
        codes: ``[N, copies, C, S, S]``.
        seeds: What to try.
        k: Pictures in a code.
        cap: Largest weight.
        kept: How many are returned.
    """
    shape = (len(codes), *codes.shape[2:])

    def rough(seed: int) -> Iterator[float]:
        for few in (1, min(FEW, len(codes))):
            signs = draws(seed, shape, 1, k, cap, few=few).signs[0]
            yield _roughness(codes[:few, 0] * signs)

    return smoothest(rough, seeds, kept)


def pictures_under(codes: Floats, seed: int, *, k: int = 4, cap: float = 0.65) -> Floats:
    """Return the pictures ``float32 [N, C, S, S]`` by least squares, once the seed is known.

    Exact where there are as many codes as pictures and the weights determine them.
    """
    count, copies = codes.shape[:2]
    shape = (count, *codes.shape[2:])
    drawn = draws(seed, shape, copies, k, cap)
    mixing = np.zeros((copies, count, count))
    rows = np.arange(count)
    for copy in range(copies):
        for place in range(k):
            # A picture may be drawn twice into one code: then its weights add up.
            np.add.at(mixing[copy], (rows, drawn.partners[copy, :, place]), drawn.weights[copy, :, place])
    clear = (codes.transpose(1, 0, 2, 3, 4) * drawn.signs).reshape(copies * count, -1)
    found = np.linalg.lstsq(mixing.reshape(-1, count), clear.astype(np.float64), rcond=None)[0]
    return found.reshape(shape).astype(np.float32)


def _weights(plain: np.random.RandomState, k: int, cap: float) -> np.ndarray:
    while True:
        drawn = np.abs(plain.normal(size=k))
        found: np.ndarray = drawn / drawn.sum()
        if found.max() <= cap:
            return found


def _roughness(pictures: Floats) -> float:
    steps = [np.abs(np.diff(pictures, axis=axis)) for axis in (2, 3)]
    count = sum(step.size for step in steps)
    return float(sum(step.sum() for step in steps) / count) if count else 0.0
