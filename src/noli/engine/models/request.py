"""What is wanted of a marked model, and what a run keeps while it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noli.core.key import Key
from noli.core.method import Spec
from noli.engine.progress import Progress
from noli.engine.request import absolute, run_folder

if TYPE_CHECKING:
    from noli.methods.mark.sleepermark import Config

SUBJECT, EXTRACTOR, CHECKPOINT = "subject", "extractor.safetensors", "checkpoint"
# Under these names a run's state keeps the digest of what was learned from, and the hash of the marked model.
LEARNED, MARKED = "data", "marked"


@dataclass(frozen=True)
class ModelRequest:
    """One job.

    Attributes:
        source: Captioned pictures, or pictures in folders by class.
        output: Folder of the marked model.
        spec, cfg: The method.
        key: The owner's key.
        model: Folder of the model that is marked; empty: one of our own is trained on the pictures.
        extractor: File of an extractor that was learned before for this model; empty: a new one is learned.
        labels: Name of the class column of a table.
        beacon: Whether public randomness decides message and trigger.
        run_dir: Run folder; None puts it beside the output.
        progress: Where progress goes.
    """

    source: str
    output: str
    spec: Spec
    cfg: Config
    key: Key
    model: str = ""
    extractor: str = ""
    labels: str | None = None
    beacon: bool = False
    run_dir: Path | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def folder(self) -> Path:
        """Where the run folder lies."""
        return self.run_dir or run_folder(self.output)

    def resolved(self) -> dict[str, Any]:
        """Return every argument that decides the output."""
        return {
            "source": absolute(self.source),
            "output": absolute(self.output),
            "model": absolute(self.model) if self.model else "",
            "extractor": absolute(self.extractor) if self.extractor else "",
            "method": self.spec.name,
            "direction": "apply",
            "config": self.cfg.model_dump(mode="json"),
            "key": self.key.id,
            "labels": self.labels,
            "beacon": self.beacon,
        }
