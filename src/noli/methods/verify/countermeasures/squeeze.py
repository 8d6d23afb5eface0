"""Image shortcut squeezing (Liu et al. 2023, arXiv 2301.13838): a fixed loss of information; routine rows.

The test images are tried untouched and squeezed; the better form counts.
"""

from __future__ import annotations

from functools import partial

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Battery, Measure, Squeeze
from noli.ops.countermeasures import grayscale, jpeg


def squeezed(name: str, about: str, change: Squeeze, battery: Battery = "full") -> Measure:
    """Return a routine row that applies the same change to training and, as a second form, test images."""
    return Measure(name, about, "routine", battery=battery, squeeze=change, view=change)


GRAYSCALE = squeezed("grayscale", "drops colour", grayscale, "quick")


def jpegs(cfg: Config) -> tuple[Measure, ...]:
    """JPEG at three qualities; the quick battery has the harshest one."""
    qualities: tuple[tuple[int, Battery], ...] = ((10, "quick"), (30, "standard"), (75, "standard"))
    return tuple(
        squeezed(f"jpeg-{q}", f"recompresses at JPEG quality {q}", partial(jpeg, quality=q), battery)
        for q, battery in qualities
    )
