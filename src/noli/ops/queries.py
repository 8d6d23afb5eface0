"""Secret query pictures: what only somebody who saw the marks has an answer to.

All of them follow from a secret alone, byte for byte on every machine. Stored pictures ``uint8 [S, S, C]``.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from noli.core.key import Key
from noli.core.keystream import Stream
from noli.data.demo import PHOTOS, photo_folder

QueryFamily = Literal["noise", "collage", "natural"]
Picture = npt.NDArray[np.uint8]


def query(secret: Key, family: QueryFamily, side: int, channels: int, blocks: int = 8) -> Picture:
    """Draw the query of one secret.

    Args:
        secret: Secret of one place of a commitment.
        family: ``noise``: blocks of uniform noise (Data Taggants, arXiv 2410.09101, section 3.1).
            ``collage``: patches of stripes, waves and shades, for services that refuse noise. ``natural``: a
            part of a photograph of scikit-image in colours of its own, for services that refuse these, too;
            of use where your pictures show other things.
        side: Side in pixels.
        channels: 1 or 3.
        blocks: Blocks or patches per side, at most `side`.

    Raises:
        MissingPrerequisite: For ``natural``: the photographs are not installed.
    """
    stream = secret.stream("proof/query", family)
    blocks = min(blocks, side)
    if family == "noise":
        values = np.frombuffer(stream.bytes(blocks * blocks * channels), np.uint8)
        return _enlarged(values.reshape(blocks, blocks, channels), side)
    if family == "natural":
        return _natural(stream, side, channels)
    return _collage(stream, side, channels, max(2, blocks // 2))


def _enlarged(values: Picture, side: int) -> Picture:
    nearest = (np.arange(side) * values.shape[0]) // side
    return np.ascontiguousarray(values[nearest][:, nearest])


def _collage(stream: Stream, side: int, channels: int, patches: int) -> Picture:
    """Patches with an edge each: two colours, mixed along a wave of some direction and frequency."""
    picture = np.zeros((side, side, channels), np.uint8)
    edges = np.linspace(0, side, patches + 1).round().astype(int)
    rows, columns = np.indices((side, side)) / side
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            ends = stream.integers(2 * channels, 256).reshape(2, channels)
            # Whole directions and frequencies: sines of few values, the same on every machine after rounding.
            across, down, sharp = stream.integers(3, 9)
            phase = (rows * (down - 4) + columns * (across - 4) + sharp / 9) % 1.0
            mix = np.abs(2 * phase - 1)[top:bottom, left:right, None]
            mix = (mix > 0.5).astype(np.float64) if sharp % 2 else mix
            levels = ends[0] * (1 - mix) + ends[1] * mix
            picture[top:bottom, left:right] = np.floor(levels + 0.5).astype(np.uint8)
    return picture


def _natural(stream: Stream, side: int, channels: int) -> Picture:
    """A square of a photograph, mirrored, negated and recoloured by the draws, averaged down to `side`."""
    photos = sorted(name for name in PHOTOS if name.endswith(".png"))
    photo = _photo(photos[stream.choice(len(photos))])
    # Whole pixels per pixel: averages of whole numbers are the same on every machine.
    largest = max(1, min(photo.shape[:2]) // side)
    factor = 1 + stream.choice(largest)
    size = min(factor * side, *photo.shape[:2])
    top, left = (stream.choice(length - size + 1) for length in photo.shape[:2])
    part = photo[top : top + size, left : left + size].astype(np.uint32)
    rows = (np.arange(side + 1) * size) // side
    if size < side:
        cut = part[rows[:-1]][:, rows[:-1]]
    else:
        sums = np.add.reduceat(np.add.reduceat(part, rows[:-1], axis=0), rows[:-1], axis=1)
        count = np.diff(rows)[:, None, None] * np.diff(rows)[None, :, None]
        cut = (2 * sums + count) // (2 * count)
    order = stream.permutation(3)
    mirrored, negated = stream.bits(2)
    made: Picture = cut.astype(np.uint8)[:, :: -1 if mirrored else 1, order[:channels]]
    return np.ascontiguousarray(255 - made if negated else made)


@lru_cache(maxsize=2)
def _photo(name: str) -> Picture:
    from noli.data.codec import picture

    found = picture((photo_folder() / name).read_bytes(), name).pixels
    return np.repeat(found, 3, axis=2) if found.shape[2] == 1 else found


def grating(
    secret: Key, height: int, width: int, channels: int, ring: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """Draw the square wave of one secret, values -1 and 1, ``float32 [C, H, W]``.

    Its cycles per picture are whole, with a length in `ring`, so that pictures of any size show the same
    stripes; the phase is uniform, and so is a sign per channel. Shifts and flips leave a texture of stripes.

    Args:
        secret: Secret of one place of a commitment.
        height: Rows.
        width: Columns.
        channels: 1 or 3.
        ring: Shortest and longest wave vector, in cycles per picture.
    """
    stream = secret.stream("proof/grating")
    low, high = ring
    reach = int(np.floor(high))
    while True:
        down, across = stream.integers(2, 2 * reach + 1) - reach
        if low**2 <= down**2 + across**2 <= high**2:
            break
    phase = int(stream.integers(1, 64)[0]) / 64
    signs = 2 * stream.integers(3, 2)[:channels] - 1
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    # Half of every cycle is high: no sine, whose last digit would decide the sign of some pixels.
    turns = (down * rows[:, None] + across * columns[None] + phase) % 1.0
    wave = np.where(turns < 0.5, np.float32(1), np.float32(-1))
    return signs[:, None, None].astype(np.float32) * wave


def striped(secret: Key, side: int, channels: int, ring: tuple[float, float], contrast: float) -> Picture:
    """Draw the query of a grating: its stripes on grey, ``uint8 [S, S, C]``.

    Args:
        secret: Secret of one place of a commitment.
        side: Side in pixels.
        channels: 1 or 3.
        ring: See :func:`grating`.
        contrast: Distance of the stripes from grey, in [0, 0.5].
    """
    wave = grating(secret, side, side, channels, ring)
    levels = np.floor(255 * (0.5 + contrast * wave) + 0.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))
