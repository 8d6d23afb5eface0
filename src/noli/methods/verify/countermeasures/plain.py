"""Training as anybody does it: naive rows."""

from __future__ import annotations

from noli.methods.verify.measure import Measure

PLAIN = Measure(
    "plain", "trains on the images as they are", "naive", battery="quick", callbacks=lambda classes, cfg: []
)
REFERENCE = Measure("crop+flip", "random shifts and mirroring", "naive", battery="quick")
