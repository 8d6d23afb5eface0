"""Adversarial training (Madry et al. 2018, arXiv 1706.06083): routine rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure, crop_flip

if TYPE_CHECKING:
    from noli.train.fit import Callback


def linf(cfg: Config) -> Measure:
    """L-infinity ball of the configured radius."""

    def callbacks(classes: int, cfg: Config) -> list[Callback]:
        from noli.train.callbacks import Adversarial

        return [*crop_flip(classes, cfg), Adversarial(cfg.adversarial_eps, cfg.adversarial_steps)]

    about = f"adversarial training (PGD-{cfg.adversarial_steps}, {cfg.adversarial_eps * 255:.3g}/255)"
    return Measure("adversarial", about, "routine", battery="quick", callbacks=callbacks)
