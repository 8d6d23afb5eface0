"""Several hypotheses at once: Holm for p-values, e-BH for e-values. Both hold under any dependence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def holm(p_values: Sequence[float]) -> Floats:
    """Adjusted p-values, ``[M]`` in the given order (Holm 1979): reject those at most alpha.

    The probability of any false rejection is then at most alpha.

    Raises:
        ValueError: A p-value outside of [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def e_bh(e_values: Sequence[float], alpha: float) -> npt.NDArray[np.bool_]:
    """Which hypotheses are rejected, ``[M]`` (Wang and Ramdas 2022): on average at most alpha falsely.

    Raises:
        ValueError: A negative e-value, or an alpha outside of (0, 1].
    """
    e = np.asarray(e_values, dtype=np.float64)
    if (e < 0).any() or np.isnan(e).any() or not 0 < alpha <= 1:
        raise ValueError("e-values must not be negative, and alpha must lie in (0, 1]")
    order = np.argsort(-e, kind="stable")
    counts = np.arange(1, e.size + 1)
    fitting = counts[e[order] >= e.size / (alpha * counts)]
    rejected = np.zeros(e.size, dtype=bool)
    rejected[order[: fitting.max(initial=0)]] = True
    return rejected
