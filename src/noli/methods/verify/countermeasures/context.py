"""Rows that inform and never decide: partial protection, other labels."""

from __future__ import annotations

import numpy as np

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure
from noli.methods.verify.subject import Labels


def partial(cfg: Config) -> tuple[Measure, ...]:
    """Only a share of the images is protected."""
    return tuple(
        Measure(
            f"partial-{100 * s:g}",
            f"{100 * s:g} % of the images are protected",
            "context",
            battery="quick",
            share=s,
        )
        for s in cfg.shares
    )


def regroupings(cfg: Config) -> tuple[Measure, ...]:
    """Training with other labels: classes are merged at random into half as many.

    Protection ties noise or filters to the owner's classes; a trainer with other classes sees them mixed.
    """

    def row(number: int) -> Measure:
        def groups(classes: int) -> Labels:
            order = np.random.default_rng(number).permutation(classes)
            return np.asarray(order % max(2, classes // 2), np.int64)

        about = "other labels: the classes merged at random into half as many"
        return Measure(f"regroup-{number}", about, "context", regroup=groups)

    return row(1), row(2)
