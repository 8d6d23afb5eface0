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


def linf_wide(cfg: Config) -> Measure:
    """L-infinity ball of 8/255, the radius of most published tables."""

    def callbacks(classes: int, cfg: Config) -> list[Callback]:
        from noli.train.callbacks import Adversarial

        return [*crop_flip(classes, cfg), Adversarial(8 / 255, cfg.adversarial_steps)]

    about = f"adversarial training (PGD-{cfg.adversarial_steps}, 8/255)"
    return Measure("adversarial-8", about, "routine", callbacks=callbacks)


def l2(cfg: Config) -> tuple[Measure, ...]:
    """L2 balls of radius 0.5 and 1.0 for 32 x 32 colour images, scaled to other sizes."""

    def row(eps: float) -> Measure:
        def callbacks(classes: int, cfg: Config) -> list[Callback]:
            from noli.train.callbacks import AdversarialL2

            return [*crop_flip(classes, cfg), AdversarialL2(eps, cfg.adversarial_steps)]

        about = f"adversarial training (PGD-{cfg.adversarial_steps}, L2 {eps:.1f})"
        return Measure(f"adversarial-l2-{eps:.1f}", about, "routine", callbacks=callbacks)

    return row(0.5), row(1.0)
