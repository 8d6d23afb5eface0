"""How large a key of a scrambling scheme is by its formula, in bits: never what it costs to break it.

The formulas count permutations and flips (Kurihara et al. 2015; Madono et al., arXiv 2001.07761, section 3;
AprilPyone and Kiya, arXiv 2010.00801). Every key here follows from 256 bits, which is the most that there can
be; how much work an attack takes is another matter and usually far less.
"""

from __future__ import annotations

import math
from typing import Literal

MASTER_BITS = 256.0
Kind = Literal["etc", "le", "ele", "pixel", "shf", "np", "ffx"]


def nominal_bits(
    kind: Kind,
    shape: tuple[int, int, int],
    block: int = 1,
    *,
    places: bool = True,
    colours: bool = True,
    drawn: bool = True,
) -> float:
    """Return log2 of the number of keys of a scheme, for pictures of a shape.

    Args:
        kind: The scheme.
        shape: Height, width and channels, whole blocks.
        block: Side of a block in pixels.
        places: ``etc``: whether blocks change places.
        colours: ``etc``, ``pixel``: whether colours do.
        drawn: ``le``, ``ele``: whether the mask is drawn; the published one follows from the permutation.
    """
    height, width, channels = shape
    blocks, values = height * width // block**2, block * block * channels
    recoloured = math.log2(6) if colours and channels >= 3 else 0.0
    halves = _factorial(2 * values) + (2 * values if drawn else 0)
    found = {
        "etc": blocks * (3 + 1 + recoloured) + (_factorial(blocks) if places else 0.0),
        "le": halves,
        "ele": blocks * halves + _factorial(blocks),
        "pixel": height * width * (channels + recoloured),
        "shf": _factorial(values),
        "np": _choices(values),
        "ffx": _choices(values) + _factorial(256),
    }
    return found[kind]


def capped_bits(nominal: float) -> float:
    """Return the most that a key can be worth, as all of it follows from 256 bits."""
    return min(nominal, MASTER_BITS)


def whole(shape: tuple[int, int, int], block: int) -> tuple[int, int, int]:
    """Return a shape whose sides are extended to whole blocks."""
    height, width, channels = shape
    return height + -height % block, width + -width % block, channels


def _factorial(n: int) -> float:
    return math.lgamma(n + 1) / math.log(2)


def _choices(n: int) -> float:
    """Return log2 of the number of ways to choose half of n."""
    return _factorial(n) - _factorial(n // 2) - _factorial(n - n // 2)
