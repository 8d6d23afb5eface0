"""A purifier that the attacker learned from clean images of his own: an adaptive row, ours.

Published purifiers are diffusion models of clean data (AVATAR, arXiv 2303.08500). Within the cost of a
training there is room for a small denoiser only: it learns to undo random filters, patterns of colour, noise
and replaced pixels (:mod:`noli.ops.corrupt`) on the attacker's images, and never sees a protected one. So it
has no pairs and knows nothing of the protection's secret; what it removes, any class-wise or picture-wise
change of these kinds may lose.

The attacker's images are a quarter of the held-out ones, and the row is tested on the others
(:func:`noli.methods.verify.battery.owned`). To take clean twins of protected images instead would be a leak,
unless these were dropped from training, which would make the row weaker than the attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from noli.methods.verify.config import Config
from noli.methods.verify.measure import Measure, Squeeze
from noli.methods.verify.subject import Images

if TYPE_CHECKING:
    from noli.train.fit import Callback


def purifier(mine: Images, cfg: Config, callbacks: Sequence[Callback] = ()) -> Squeeze:
    """Learn to undo random changes of clean images ``uint8 [N, S, S, C]``; return what undoes them."""
    from noli.train.restoring import Corrupted, learn_restorer, restored

    return partial(restored, model=learn_restorer(mine, Corrupted(), cfg.recipe(0), callbacks))


PURIFIER = Measure(
    "purifier",
    "removes what a denoiser learned to remove on other clean images",
    "adaptive",
    own=purifier,
)
