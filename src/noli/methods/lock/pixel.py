"""Pixel-based encryption (Sirichotedumrong, Maekawa, Kinoshita, Kiya; ICIP 2019).

Every value of a picture is negated or not, and the three colours of every pixel change places, under a key.
With ``fresh``, the default of the paper, every picture has a key of its own and nobody has to manage keys for
a network, which trains on pictures under random ones.

Shapes: pictures ``uint8`` or ``uint16 [H, W, C]``, as working images ``float32 [N, C, H, W]`` in [0, 1].
Alpha is scrambled by itself, in grey.

Threat model: somebody who holds the pictures without the key and does not try hard. Perceptual encryption is
obfuscation, not confidentiality. It does not stop anybody who negates every value above 127 (shapes come back
from a single picture at once), who chooses the colours that make a pixel most like its neighbour, or who has
one picture in plain under the same key. Every pixel stays where it is. Where ours differs: a key of 256 bits,
and the key of a picture follows from it, so that pictures can be brought back.
"""

from __future__ import annotations

from pydantic import Field

from noli.core.method import Card
from noli.ops import schemes, sealing
from noli.ops.keyspace import nominal_bits
from noli.ops.schemes import Draw, Shape
from noli.ops.scramble import Scramble

NAME = "lock/pixel"


class Config(sealing.ScrambleConfig):
    """Options of pixel-based encryption; the paper takes a fresh key for every picture."""

    colours: bool = Field(True, description="whether the colours of a pixel change places")
    fresh: bool = Field(True, description="a key of its own for every picture (paper: yes)")


SPEC = sealing.spec(
    NAME,
    Config,
    ("colours", "fresh"),
    Card(
        title="Pixel-based encryption",
        paper="Sirichotedumrong, Maekawa, Kinoshita, Kiya. Privacy-Preserving Deep Neural Networks with "
        "Pixel-based Image Encryption Considering Data Augmentation in the Encrypted Domain. ICIP 2019. "
        "arXiv 1905.01827",
        stops=("A casual look at the pictures by whoever stores them or trains on them.",),
        does_not_stop=(
            "Anybody who negates what is bright: shapes come back from a single picture.",
            "Somebody who has one picture in plain and scrambled under the same key.",
            "Compression: a JPEG of the scrambled picture cannot be brought back.",
            "Training: that networks can learn from the pictures is the purpose.",
        ),
        bibtex="@inproceedings{sirichotedumrong2019privacy, title={Privacy-Preserving Deep Neural Networks "
        "with Pixel-based Image Encryption Considering Data Augmentation in the Encrypted Domain}, "
        "author={Sirichotedumrong, Warit and Maekawa, Takahiro and Kinoshita, Yuma and Kiya, Hitoshi}, "
        "booktitle={ICIP}, year={2019}}",
    ),
)


def fold(shape: Shape, draw: Draw, cfg: Config) -> Scramble:
    """Return the scrambling of pictures of one shape."""
    return schemes.pixel(shape, draw, colours=cfg.colours)


def nominal(shape: Shape, cfg: Config) -> float:
    """Return log2 of the number of keys for a picture of a shape ``(H, W, C)``."""
    return nominal_bits("pixel", shape, colours=cfg.colours)


prepare = sealing.prepare
apply, invert, extras = sealing.hooks(NAME, fold)
