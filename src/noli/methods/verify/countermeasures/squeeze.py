"""Image shortcut squeezing (Liu et al. 2023, arXiv 2301.13838): a fixed loss of information; routine rows.

The test images are tried untouched and squeezed; the better form counts.
"""

from __future__ import annotations

from functools import partial

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Battery, Measure, Squeeze
from noli.ops.countermeasures import grayscale, jpeg
from noli.ops.squeeze import bit_depth, dct_lowpass, gaussian_blur, median_blur, resize_and_back


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


BITS = squeezed("bits-2", "keeps four levels per channel", partial(bit_depth, bits=2))
BLUR = squeezed("blur", "blurs with a Gaussian of one pixel", partial(gaussian_blur, sigma=1.0))
MEDIAN = squeezed("median", "takes the median of 3 x 3 pixels", median_blur)
LOWPASS = squeezed(
    "dct-lowpass", "drops the upper half of the DCT frequencies", partial(dct_lowpass, keep=0.5)
)
RESIZE = squeezed("resize", "shrinks to half the size and enlarges again", resize_and_back)
