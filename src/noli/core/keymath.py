"""Logarithm, sine and cosine that give the same bits on every machine.

``np.log`` and ``np.cos`` differ in the last bit between CPUs and NumPy builds (vectorised libraries), so
a keyed normal draw made with them would not be reproducible. These use only operations that IEEE 754
rounds exactly (+, -, *, /, sqrt, frexp, rint), in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LOG_SERIES = tuple(1.0 / (2 * k + 1) for k in range(11))
_SIN_SERIES = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(9))
_COS_SERIES = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(10))
_LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_HALF_PI = 1.5707963267948966


def _horner(coefficients: Sequence[float], x: Floats) -> Floats:
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= x
        total += coefficient
    return total


def exact_log(x: Floats) -> Floats:
    """Natural logarithm of positive normal float64 values; within 4e-16 relative of the true value."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < _SQRT_HALF
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    shift = np.where(small, exponent - 1, exponent).astype(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    near_one = (2.0 * s) * _horner(_LOG_SERIES, s * s)
    result: Floats = shift * _LN2 + near_one
    return result


def exact_cos_sin_turns(v: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of ``2 pi v`` for v in [0, 1]; within 3e-16 absolute of the true value."""
    quarters = 4.0 * v
    nearest = np.rint(quarters)
    angle = (quarters - nearest) * _HALF_PI  # the difference is exact, |angle| <= pi / 4
    square = angle * angle
    cos, sin = _horner(_COS_SERIES, square), angle * _horner(_SIN_SERIES, square)
    quadrant = nearest.astype(np.int64) & 3
    swapped = (quadrant & 1) == 1
    near, far = np.where(swapped, sin, cos), np.where(swapped, cos, sin)
    cos_sign = np.where((quadrant == 1) | (quadrant == 2), -1.0, 1.0)
    sin_sign = np.where(quadrant >= 2, -1.0, 1.0)
    return near * cos_sign, far * sin_sign


def box_muller(u: Floats, v: Floats) -> Floats:
    """Turn uniform pairs, u in (0, 1] and v in [0, 1), both ``[n]``, into ``2 n`` standard normals.

    Output ``2 i`` is ``sqrt(-2 ln u_i) cos(2 pi v_i)``, output ``2 i + 1`` the same with the sine.
    """
    radius = np.sqrt(-2.0 * exact_log(u))
    cos, sin = exact_cos_sin_turns(v)
    return np.stack([radius * cos, radius * sin], axis=1).reshape(-1)
