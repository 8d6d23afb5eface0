"""Rows that inform and never decide: partial protection."""

from __future__ import annotations

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure


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
