"""ELE: extended learnable image encryption (Madono, Tanaka, Onishi, Ogawa; AAAI-WS 2020; arXiv 2001.07761).

As LE, but every place of a picture has a key of its own for its block, and then the blocks change places.

Shapes: pictures ``uint8`` or ``uint16 [H, W, C]``, as working images ``float32 [N, C, H, W]`` in [0, 1];
sides are extended to whole blocks by repeating the edge. Alpha is scrambled by itself, in grey.

Threat model: somebody who holds the pictures without the key and does not try hard. Perceptual encryption is
obfuscation, not confidentiality. It does not stop statistics over many pictures: the blocks of one place all
have the same key. Nor whoever has pictures in plain and scrambled. Networks learn less from it than from LE
or EtC unless they have a part of their own for every block. Where ours differs: see LE; the paper's figure
draws the two steps in the other order, which gives the same up to the names of keys.
"""

from __future__ import annotations

from noli.core.method import Card
from noli.ops import schemes, sealing
from noli.ops.keyspace import nominal_bits, whole
from noli.ops.schemes import Draw, Shape
from noli.ops.scramble import Scramble

NAME = "lock/ele"


class Config(sealing.HalvesConfig):
    """Options of ELE; the paper takes blocks of 4 pixels."""


SPEC = sealing.spec(
    NAME,
    Config,
    ("block", "mask", "fresh"),
    Card(
        title="ELE: extended learnable image encryption",
        paper="Madono, Tanaka, Onishi, Ogawa. Block-wise Scrambled Image Recognition Using Adaptation "
        "Network. AAAI-WS 2020. arXiv 2001.07761",
        stops=("A casual look at the pictures by whoever stores them or trains on them.",),
        does_not_stop=(
            "Statistics over many pictures under one key: each place of a picture has one.",
            "Somebody who has pictures in plain and scrambled under the same key.",
            "Compression: a JPEG of the scrambled picture cannot be brought back.",
            "Training, though networks without a part for every block learn less.",
        ),
        bibtex="@inproceedings{madono2020block, title={Block-wise Scrambled Image Recognition Using "
        "Adaptation Network}, author={Madono, Koki and Tanaka, Masayuki and Onishi, Masaki and Ogawa, "
        "Tetsuji}, booktitle={AAAI Workshop}, year={2020}}",
    ),
)


def fold(shape: Shape, draw: Draw, cfg: Config) -> Scramble:
    """Return the scrambling of pictures of one shape."""
    return schemes.ele(shape, cfg.block, draw, mask=cfg.mask)


def nominal(shape: Shape, cfg: Config) -> float:
    """Return log2 of the number of keys for a picture of a shape ``(H, W, C)``."""
    return nominal_bits("ele", whole(shape, cfg.block), cfg.block, drawn=cfg.mask == "drawn")


prepare = sealing.prepare
apply, invert, extras = sealing.hooks(NAME, fold)
