"""LE: learnable image encryption (Tanaka; ICCE-TW 2018).

As in the paper, within every block of four by four pixels the 96 halves of its bytes are negated, permuted
and negated again, alike in all blocks of all pictures, so that a network can learn an adaptation to it.

Shapes: pictures ``uint8`` or ``uint16 [H, W, C]``, as working images ``float32 [N, C, H, W]`` in [0, 1];
sides are extended to whole blocks by repeating the edge. Alpha is scrambled by itself, in grey.

Threat model: somebody who holds the pictures without the key and does not try hard. Perceptual encryption is
obfuscation, not confidentiality. It does not stop whoever can have a few pictures of his choice scrambled, or
has some in plain and scrambled: the permutation is the same in every block. Nor statistics: high halves of
neighbouring pixels stay correlated. Where ours differs: which halves are negated is drawn from the key (the
authors' code derives it from the permutation: ``mask="published"``); a key of 256 bits instead of a pickled
array.
"""

from __future__ import annotations

from noli.core.method import Card
from noli.ops import schemes, sealing
from noli.ops.keyspace import nominal_bits, whole
from noli.ops.schemes import Draw, Shape
from noli.ops.scramble import Scramble

NAME = "lock/le"


class Config(sealing.HalvesConfig):
    """Options of LE; the paper takes blocks of 4 pixels."""


SPEC = sealing.spec(
    NAME,
    Config,
    ("block", "mask", "fresh"),
    Card(
        title="LE: learnable image encryption",
        paper="Tanaka. Learnable Image Encryption. ICCE-TW 2018",
        stops=("A casual look at the pictures by whoever stores them or trains on them.",),
        does_not_stop=(
            "Somebody who has a few blocks in plain and scrambled, or chooses them: one key serves all.",
            "Statistics over many blocks: neighbours stay correlated.",
            "Compression: a JPEG of the scrambled picture cannot be brought back.",
            "Training: that networks can learn from the pictures is the purpose.",
        ),
        bibtex="@inproceedings{tanaka2018learnable, title={Learnable Image Encryption}, author={Tanaka, "
        "Masayuki}, booktitle={ICCE-TW}, year={2018}}",
    ),
)


def fold(shape: Shape, draw: Draw, cfg: Config) -> Scramble:
    """Return the scrambling of pictures of one shape."""
    return schemes.le(shape, cfg.block, draw, mask=cfg.mask)


def nominal(shape: Shape, cfg: Config) -> float:
    """Return log2 of the number of keys for a picture of a shape ``(H, W, C)``."""
    return nominal_bits("le", whole(shape, cfg.block), cfg.block, drawn=cfg.mask == "drawn")


prepare = sealing.prepare
apply, invert, extras = sealing.hooks(NAME, fold)
