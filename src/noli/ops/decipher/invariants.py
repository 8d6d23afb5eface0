"""What of a scrambled picture does not depend on the key: what a learned attack is given to look at.

A network that is shown scrambled pixels has to learn first what a key may have done to them. Every scheme
leaves something that no key changes, and that can be computed:

- ``etc``: the set of blocks, each turned, negated and recoloured until it is in a standard position;
- ``le``, ``shf``, ``np`` (and the half of ``ffx`` that no table changes): how alike blocks at two places are,
  as the same permutation acts on both; the strongest components of that are small pictures;
- ``ele``: in every block, how far from the middle the halves of its bytes are; the set of these histograms;
- ``pixel``: at every pixel, how far from the middle its values are, sorted over colours.

Two keys give the same tokens but for rounding and for ties; a test says so. Canonical blocks are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError
from noli.ops.schemes import SchemeName, numbered

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
# Blocks of a set that are kept at most; places along a side; components of a likeness; what is pooled to.
MOST, GRID, COMPONENTS, POOLED = 128, 8, 8, 4
_MIDDLE = 127.5
# Raw patches of a picture at most, before patches become larger than blocks.
_PATCHES = 256
# Values of pictures that are looked at together.
_VALUES = 1 << 22


@dataclass(frozen=True)
class Tokens:
    """What is seen of N pictures.

    Attributes:
        values: ``float32 [N, T, F]``.
        placed: Whether token t lies at the same place in all pictures; else tokens are a set.
    """

    values: Floats
    placed: bool


def invariants(scheme: SchemeName, images: Images, block: int) -> Tokens:
    """Return what no key changes.

    Args:
        scheme: How the pictures are scrambled; plain ones give the same as scrambled ones.
        images: ``uint8 [N, H, W, C]``, whole blocks, C is 1 or 3.
        block: Side of a block in pixels; nothing for ``pixel``.

    Raises:
        DataError: Other pictures.
    """
    _check(images)
    # Working arrays are many times the pictures.
    step = max(1, _VALUES // images[0].size)
    parts = [_invariants(scheme, images[i : i + step], block) for i in range(0, len(images), step)]
    return Tokens(np.concatenate([part.values for part in parts]), parts[0].placed)


def _invariants(scheme: SchemeName, images: Images, block: int) -> Tokens:
    if scheme == "pixel":
        far: Floats = np.sort(np.abs(images.astype(np.float32) / np.float32(_MIDDLE) - 1), axis=3)
        return Tokens(_patched(far, GRID * POOLED), placed=True)
    blocks = _blocks(images, block)
    if scheme == "etc":
        return Tokens(_thinned(_canonical(blocks, images.shape[3])), placed=False)
    if scheme == "ele":
        return Tokens(_thinned(_histograms(blocks)), placed=False)
    units = _halves(blocks) if scheme == "le" else blocks.astype(np.float32)
    size = images.shape[1] // block, images.shape[2] // block
    return Tokens(_patched(_components(units, size), 2 * GRID), placed=True)


def patches(images: Images, block: int) -> Tokens:
    """Return pictures as they are, in patches of one block, or larger ones where there are too many blocks.

    Args:
        images: ``uint8 [N, H, W, C]``, C is 1 or 3.
        block: Side of a block in pixels.

    Raises:
        DataError: Other pictures.
    """
    _check(images)
    height, width = images.shape[1:3]
    side = block if height * width <= _PATCHES * block * block else -(-max(height, width) // GRID)
    side = max(side, -(-max(height, width) // (2 * GRID)))
    padded = np.pad(images, ((0, 0), (0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    return Tokens(_blocks(padded, side).astype(np.float32) / np.float32(_MIDDLE) - 1, placed=True)


def fingerprint(tokens: Tokens) -> Floats:
    """Return vectors ``[N, D]`` by which pictures are compared without any training.

    Of a set, every feature is sorted over the tokens: the distance of two such vectors is that of optimal
    transport, feature by feature.
    """
    values = tokens.values if tokens.placed else np.sort(tokens.values, axis=1)
    scale = np.maximum(values.std(axis=(0, 1)), 1e-3)
    found: Floats = (values / scale).reshape(len(values), -1).astype(np.float32)
    return found


def _check(images: Images) -> None:
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] not in (1, 3) or not images.size:
        raise DataError(
            "Learned attacks need 8-bit pictures, grey or in colour.",
            why=f"got {images.dtype} {images.shape}",
            fix="give uint8 [N, H, W, C], N at least 1",
        )


def _blocks(images: Images, block: int) -> Images:
    """Return ``uint8 [N, blocks, block * block * C]``."""
    shape = (images.shape[1], images.shape[2], images.shape[3])
    flat: Images = images.reshape(len(images), -1)[:, numbered(shape, block)]
    return flat


def _canonical(blocks: Images, channels: int) -> Floats:
    """Return blocks in standard position, small, and how much detail every colour has: ``[N, B, F]``."""
    count, number, values = blocks.shape
    side = round((values // channels) ** 0.5)
    grid = blocks.reshape(-1, side, side, channels).astype(np.float32) - np.float32(_MIDDLE)
    grid *= np.where(grid.sum((1, 2, 3)) < 0, -1, 1).astype(np.float32)[:, None, None, None]
    order = np.argsort(-grid.mean((1, 2)), axis=1, kind="stable")
    grid = np.take_along_axis(grid, order[:, None, None, :], axis=3)
    half = side // 2
    grey = grid.sum(3).reshape(len(grid), 2, half, 2, half).sum((2, 4))
    brightest = grey.reshape(-1, 4).argmax(1)
    # The brightest quarter goes to the upper left, the brighter one of its neighbours beside it.
    for axis, where in ((1, brightest >= 2), (2, brightest % 2 == 1)):
        grid[where], grey[where] = np.flip(grid[where], axis), np.flip(grey[where], axis)
    turned = grey[:, 1, 0] > grey[:, 0, 1]
    grid[turned] = grid[turned].transpose(0, 2, 1, 3)
    small = min(side, POOLED)
    pooled = grid.reshape(len(grid), small, side // small, small, side // small, channels).mean((2, 4))
    found = np.concatenate([pooled.reshape(len(grid), -1), grid.std((1, 2))], axis=1) / np.float32(_MIDDLE)
    return found.reshape(count, number, -1).astype(np.float32)


def _histograms(blocks: Images) -> Floats:
    """Return, of every block, how many halves of bytes are how far from the middle, ``[N, B, 8]``."""
    halves = np.concatenate([blocks >> 4, blocks & 15], axis=2)
    far = np.maximum(halves, 15 - halves) - 8
    return np.stack([(far == step).mean(2, dtype=np.float32) for step in range(8)], axis=2)


def _halves(blocks: Images) -> Floats:
    return np.concatenate([blocks >> 4, blocks & 15], axis=2).astype(np.float32)


def _components(units: Floats, size: tuple[int, int]) -> Floats:
    """Return the strongest components of the likeness of blocks ``[N, B, units]`` as maps ``[N, h, w, K]``.

    Products of centred values, summed over units, forget order and sign of the units.
    """
    centred = units - units.mean(axis=1, keepdims=True)
    scaled = centred / np.float32(np.sqrt(units.shape[2]) * 8)
    if units.shape[1] <= units.shape[2]:
        values, vectors = np.linalg.eigh(scaled @ scaled.transpose(0, 2, 1))
        maps = vectors * np.sqrt(np.maximum(values, 0))[:, None]
    else:
        maps = scaled @ np.linalg.eigh(scaled.transpose(0, 2, 1) @ scaled)[1]
    maps = maps[:, :, ::-1][:, :, :COMPONENTS]
    if maps.shape[2] < COMPONENTS:
        maps = np.pad(maps, ((0, 0), (0, 0), (0, COMPONENTS - maps.shape[2])))
    # A component has no sign of its own: its skew decides.
    skew = (maps**3).sum(axis=1, keepdims=True)
    maps = maps * np.where(skew < 0, -1, 1)
    found: Floats = maps.reshape(len(units), *size, COMPONENTS).astype(np.float32)
    return found


def _thinned(tokens: Floats) -> Floats:
    """Keep as many tokens of a set as :data:`MOST`, from the smoothest to the most detailed."""
    # The last features count most; the others decide between blocks that are alike in these.
    detail = tokens @ (0.7 ** np.arange(tokens.shape[2])[::-1]).astype(np.float32)
    order = np.argsort(detail, axis=1, kind="stable")
    kept = np.linspace(0, tokens.shape[1] - 1, min(MOST, tokens.shape[1])).round().astype(np.int64)
    return np.take_along_axis(tokens, order[:, kept, None], axis=1)


def _patched(maps: Floats, side: int) -> Floats:
    """Bring maps ``[N, h, w, K]`` to `side`, and cut them into ``GRID * GRID`` tokens."""
    down, across = _areas(maps.shape[1], side), _areas(maps.shape[2], side)
    fitted = np.einsum("sh,nhwk,tw->nstk", down, maps, across, optimize=True)
    each = side // GRID
    grid = fitted.reshape(len(maps), GRID, each, GRID, each, maps.shape[3]).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(grid.reshape(len(maps), GRID * GRID, -1), dtype=np.float32)


def _areas(given: int, wanted: int) -> Floats:
    """Return the matrix ``[wanted, given]`` of resizing by area."""
    edges, own = np.linspace(0, given, wanted + 1), np.arange(given)
    shared = np.minimum(edges[1:, None], own + 1) - np.maximum(edges[:-1, None], own)
    overlap = np.maximum(shared, 0)
    areas: Floats = (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)
    return areas
