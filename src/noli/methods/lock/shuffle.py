"""Block-wise shuffling, negation and FFX (AprilPyone, Kiya; arXiv 2010.00801), for keyed networks.

The values of every block are permuted (``shf``), half of them negated (``np``), or half of them replaced by a
keyed permutation of all 256 values (``ffx``), alike in all blocks of all pictures: a network whose patches
are the blocks can be trained for one key, and is of no use without it.

Shapes: pictures ``uint8`` or ``uint16 [H, W, C]`` (``ffx`` then replaces both bytes), as working images
``float32 [N, C, H, W]`` in [0, 1]; sides are extended to whole blocks by repeating the edge. Alpha is
scrambled by itself, in grey.

Threat model: somebody who holds a network or pictures without the key. Perceptual encryption is obfuscation,
not confidentiality. It does not stop statistics: how values of natural pictures go together gives the
permutation of a block away, from scrambled pictures alone. Nor whoever has a few blocks in plain and
scrambled, or can try all permutations of the smallest blocks. Where ours differs: exactly half of the values
are negated or replaced (the authors' script takes one or two less); FFX keeps 8 bits (the published one gives
three decimal digits and is scaled down); a key of 256 bits (a seed of torch has 32).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from noli.core.method import Card
from noli.ops import schemes, sealing
from noli.ops.keyspace import nominal_bits, whole
from noli.ops.schemes import Draw, Shape
from noli.ops.scramble import Scramble

NAME = "lock/shuffle"


class Config(sealing.ScrambleConfig):
    """Options of block-wise scrambling; the blocks are the patches of the network."""

    block: Literal[2, 4, 8, 16, 32] = Field(16, description="side of a block in pixels (paper: 2 to 16)")
    kind: Literal["shf", "np", "ffx"] = Field("shf", description="permuted, half negated, or half replaced")


SPEC = sealing.spec(
    NAME,
    Config,
    ("block", "kind", "fresh"),
    Card(
        title="Block-wise shuffling, negation and FFX",
        paper="AprilPyone, Kiya. Block-wise Image Transformation with Secret Key for Adversarially Robust "
        "Defense. TIFS 2021. arXiv 2010.00801",
        stops=("A casual look at the pictures, and the use of a network that was trained for the key.",),
        does_not_stop=(
            "Statistics over many blocks, which give the permutation away without any plain picture.",
            "Somebody who has a few blocks in plain and scrambled.",
            "With kinds np and ffx, anybody who looks: half of the values are as they were.",
            "Compression: a JPEG of the scrambled picture cannot be brought back.",
        ),
        bibtex="@article{aprilpyone2021block, title={Block-wise Image Transformation with Secret Key for "
        "Adversarially Robust Defense}, author={AprilPyone, MaungMaung and Kiya, Hitoshi}, journal={IEEE "
        "Transactions on Information Forensics and Security}, year={2021}}",
    ),
)


def fold(shape: Shape, draw: Draw, cfg: Config) -> Scramble:
    """Return the scrambling of pictures of one shape."""
    makers = {"shf": schemes.shf, "np": schemes.negation, "ffx": schemes.ffx}
    return makers[cfg.kind](shape, cfg.block, draw)


def nominal(shape: Shape, cfg: Config) -> float:
    """Return log2 of the number of keys for a picture of a shape ``(H, W, C)``."""
    return nominal_bits(cfg.kind, whole(shape, cfg.block), cfg.block)


prepare = sealing.prepare
apply, invert, extras = sealing.hooks(NAME, fold)
