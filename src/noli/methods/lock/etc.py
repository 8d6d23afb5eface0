"""EtC: encryption then compression (Kurihara, Shiota, Kiya; PCS 2015), and its grey-based form (TIFS 2018).

Blocks of a picture change places, are turned or mirrored, negated, and get their colours in another order,
under a key. What comes out looks like noise of blocks and is still a picture: it compresses as JPEG, networks
of patches can learn from it, and the key gives it back bit for bit. Grey-based (``planes``), the three planes
are scrambled as one grey picture: more and smaller blocks, no colours that show.

Shapes: pictures ``uint8`` or ``uint16 [H, W, C]``, as working images ``float32 [N, C, H, W]`` in [0, 1];
sides are extended to whole blocks by repeating the edge. Alpha is scrambled by itself, in grey.

Threat model: somebody who holds the pictures without the key and does not try hard. Perceptual encryption is
obfuscation, not confidentiality. It does not stop jigsaw solvers, which put blocks together by their borders
(negation costs them nothing), nor whoever has one picture in plain and scrambled under the same key. Flat
areas and, but for the grey-based form, colours show through. Where ours differs from the papers: eight turns
(rotations and flips counted by themselves are sixteen names of eight maps); the order of colours is a true
permutation (in a published implementation five of six duplicate a channel, which cannot be undone); a key of
256 bits instead of a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.core.images import Working, to_float
from noli.core.key import Key
from noli.core.method import Card, Extra, State
from noli.ops import schemes, sealing
from noli.ops.keyspace import nominal_bits, whole
from noli.ops.planes import from_planes, to_planes
from noli.ops.schemes import Draw, Shape
from noli.ops.scramble import Scramble

NAME = "lock/etc"


class Config(sealing.ScrambleConfig):
    """Options of EtC; the papers take blocks of 16 pixels in colour, of 8 in the grey-based form."""

    block: Literal[2, 4, 8, 16, 32, 64] = Field(16, description="side of a block in pixels (JPEG: 8 or more)")
    planes: Literal["colour", "rgb", "ycbcr", "half"] = Field(
        "colour",
        description="colour: as it is; else one grey picture of rgb (exact), of ycbcr (rounded, as JPEG has "
        "it), or of half (that with chroma at half size)",
    )
    places: bool = Field(True, description="whether blocks change places")
    colours: bool = Field(True, description="whether the colours of a block change places")


SPEC = sealing.spec(
    NAME,
    Config,
    ("block", "planes", "fresh"),
    Card(
        title="EtC: scrambled blocks that still compress",
        paper="Kurihara, Shiota, Kiya. An Encryption-then-Compression System for JPEG Standard. PCS 2015. "
        "Chuman, Sirichotedumrong, Kiya. Encryption-then-Compression Systems using Grayscale-based Image "
        "Encryption for JPEG Images. TIFS 2018",
        stops=("A casual look at the pictures by whoever stores, compresses or trains on them.",),
        does_not_stop=(
            "Jigsaw solvers, which find the neighbour of a block by its border.",
            "Somebody who has one picture in plain and scrambled under the same key.",
            "Statistics: colours, flat areas and the number of blocks show through.",
            "Training: that networks can learn from the pictures is the purpose.",
        ),
        bibtex="@inproceedings{kurihara2015encryption, title={An Encryption-then-Compression System for JPEG "
        "Standard}, author={Kurihara, Kenta and Shiota, Sayaka and Kiya, Hitoshi}, booktitle={PCS}, "
        "year={2015}}",
    ),
)


def survives_jpeg(cfg: Config) -> bool:
    """Return whether a JPEG of the scrambled picture, without subsampling of colours, can be brought back."""
    return cfg.block % 8 == 0


def fold(shape: Shape, draw: Draw, cfg: Config) -> Scramble:
    """Return the scrambling of pictures of one shape."""
    return schemes.etc(shape, cfg.block, draw, places=cfg.places, colours=cfg.colours)


def nominal(shape: Shape, cfg: Config) -> float:
    """Return log2 of the number of keys for a picture of a shape ``(H, W, C)``."""
    grey = cfg.planes != "colour" and shape[2] == 3
    height, width, channels = whole(shape, cfg.block)
    if grey:
        # Three planes, or one and two of a quarter.
        height, channels = (height * 3 // 2, 1) if cfg.planes == "half" else (height * 3, 1)
    size = (height, width, channels)
    return nominal_bits("etc", size, cfg.block, places=cfg.places, colours=cfg.colours)


prepare = sealing.prepare
_apply, _invert, _sizes = sealing.hooks(NAME, fold)


def extras(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> list[Extra]:
    """Return size and number of channels of every picture."""
    sizes = _sizes(state, batch, items, key, cfg)
    return [{**one, "channels": float(batch.shape[1])} for one in sizes]


def apply(state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config) -> Working:
    """Scramble working images; sides become whole blocks, grey-based ones grow in height and lose colour."""
    if cfg.planes != "colour" and state.get("plane") == "alpha":
        fix = "take planes=colour, or flatten the picture first"
        raise DataError(
            f"planes={cfg.planes} takes no alpha.", why="its planes become one grey picture", fix=fix
        )
    if cfg.planes != "colour" and batch.shape[1] == 3:
        batch = to_float(to_planes(sealing.as_stored(batch, state), cfg.planes, cfg.block))
    return _apply(state, batch, items, key, cfg)


def invert(
    state: State, batch: Working, items: Sequence[Item], key: Key, cfg: Config, extras: Sequence[Extra]
) -> Working:
    """Bring scrambled images back, at their size; exactly, but for the rounding of YCbCr."""
    height, width, channels = (int(extras[0][name]) for name in ("height", "width", "channels"))
    if cfg.planes == "colour" or channels == 1:
        return _invert(state, batch, items, key, cfg, extras)
    whole: list[Extra] = [{"height": batch.shape[2], "width": batch.shape[3]} for _ in items]
    grey = sealing.as_stored(_invert(state, batch, items, key, cfg, whole), state)
    return to_float(from_planes(grey, cfg.planes))[:, :, :height, :width]
