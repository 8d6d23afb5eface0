"""What is wanted of a marked model, and what a run keeps while it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from noli.engine.request import JobRequest, absolute

SUBJECT, EXTRACTOR, CHECKPOINT = "subject", "extractor.safetensors", "checkpoint"
# Under these names a run's state keeps the digest of what was learned from, and the hash of the marked model.
LEARNED, MARKED = "data", "marked"


@dataclass(frozen=True)
class ModelRequest(JobRequest):
    """One job: captioned pictures, or pictures in folders by class, become a marked model.

    Attributes:
        model: Folder of the model that is marked; empty: one of our own is trained on the pictures.
        extractor: File of an extractor that was learned before for this model; empty: a new one is learned.
        labels: Name of the class column of a table.
        beacon: Whether public randomness decides message and trigger.
    """

    model: str = ""
    extractor: str = ""
    labels: str | None = None
    beacon: bool = False

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides the output."""
        given = {"model": self.model, "extractor": self.extractor}
        return {
            **super().resolved(),
            **{name: absolute(place) if place else "" for name, place in given.items()},
            "labels": self.labels,
            "beacon": self.beacon,
        }
