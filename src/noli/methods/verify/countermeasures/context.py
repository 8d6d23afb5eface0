"""Rows that inform and never decide: partial protection, other labels."""

from __future__ import annotations

from functools import partial as bind
from itertools import count

import numpy as np

from noli.methods.verify.config import QUICK_SHARES, STANDARD_SHARES, Config
from noli.methods.verify.measure import Battery, Measure
from noli.methods.verify.subject import Labels


def partial(cfg: Config) -> tuple[Measure, ...]:
    """Only a share of the images is protected; the usual shares can be run by name under any battery."""
    # By name: 0.6 and 3 * 0.2 are one row.
    shares = {_percent(share): share for share in (*QUICK_SHARES, *STANDARD_SHARES, *cfg.shares)}
    asked, standard = map(_percent, cfg.shares), map(_percent, () if cfg.partial else STANDARD_SHARES)
    homes: dict[str, Battery] = dict.fromkeys(standard, "standard")
    homes.update(dict.fromkeys(asked, "quick"))
    return tuple(
        Measure(
            f"partial-{name}",
            f"{name} % of the images are protected",
            "context",
            battery=homes.get(name, ""),
            share=share,
        )
        for name, share in sorted(shares.items(), key=lambda pair: pair[1])
    )


def _percent(share: float) -> str:
    return f"{100 * share:g}"


def regroupings(cfg: Config) -> tuple[Measure, ...]:
    """Training with other labels: classes are merged at random into half as many.

    Protection ties noise or filters to the owner's classes; a trainer with other classes sees them mixed.
    """

    def row(number: int) -> Measure:
        about = "other labels: the classes merged at random into half as many (two stay as they are)"
        return Measure(f"regroup-{number}", about, "context", regroup=bind(merged, number=number))

    return row(1), row(2)


def merged(classes: int, number: int) -> Labels:
    """Return the group of every class, ``int64 [classes]``; 1 and 2 differ from three classes on."""
    first = _drawn(classes, 1)
    if number == 1 or classes < 3:
        return first
    together = first[:, None] == first
    others = (_drawn(classes, seed) for seed in count(number))
    return next(other for other in others if not np.array_equal(together, other[:, None] == other))


def _drawn(classes: int, seed: int) -> Labels:
    order = np.random.default_rng(seed).permutation(classes)
    return np.asarray(order % max(2, classes // 2), np.int64)
