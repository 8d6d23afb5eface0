"""Adapting the trained network to the images it is used on, without their labels: a routine row.

Protections that shift all images of a class in one direction leave networks with the wrong statistics and
with favourite classes. Both are mended in one pass over unlabelled images, whatever made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noli.methods.verify.measure import Logits, Measure
from noli.methods.verify.subject import Images, Labels

if TYPE_CHECKING:
    from noli.core.model import Model


def adapted(model: Model, unlabelled: Images, y: Labels) -> dict[str, Logits]:
    """Return the network with new batch statistics, and with predictions as frequent as the labels were."""
    from noli.train.adapting import balancing, renormalised

    renewed = renormalised(model, unlabelled)
    known = model.predict(unlabelled)
    bias = balancing(known, np.bincount(y, minlength=known.shape[1]) / len(y))
    return {"renormalised": renewed.predict, "balanced": lambda images: model.predict(images) + bias}


TEST_TIME = Measure(
    "test-time",
    "adapts the trained network to unlabelled images",
    "routine",
    battery="standard",
    adapt=adapted,
)
