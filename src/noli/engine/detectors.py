"""The part of locking a model that detectors have to themselves; the runner is :mod:`noli.engine.keyed`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from noli.core.errors import DataError, UsageError
from noli.core.files import atomic_write
from noli.core.run import Run
from noli.core.theft import Keyless
from noli.data.annotations import read_boxes
from noli.engine.lockedmodels import FILES
from noli.engine.locking import LockRequest
from noli.methods.lock import detector
from noli.methods.lock.detector import Config

if TYPE_CHECKING:
    from torch import Tensor

    from noli.core.attacks import Named
    from noli.core.model import Model
    from noli.ops.boxes import Marked
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.detector import Detector

SHOWN = "boxes.npz"
_PICTURES = 3


class DetectorJob:
    """Detectors with locked feature maps; see :mod:`noli.methods.lock.detector`."""

    layout = "locked-detector"
    file = FILES["locked-detector"]

    def __init__(self, request: LockRequest) -> None:
        self.request, self.cfg = request, cast(Config, request.cfg)
        bar = request.progress
        bar.start(None, "read")
        skip = request.on_error == "skip"
        self.data = read_boxes(request.source, self.cfg.side, skip=skip, progress=bar.advance)
        bar.finish()
        self.items = self.data.items
        self.seen, self.held = self.data.split(self.cfg.held_out)
        self._names = self.data.classes
        if not sum(len(self.data.boxes[i]) for i in self.held):
            why = "without them nothing can be measured"
            raise DataError("The held-out pictures have no boxes.", where=request.source, why=why)
        detector.check(self.cfg, self.load_public(Path(request.model)) if request.model else None)

    def read(self) -> None:
        """Nothing is left to read."""

    def depends(self, checkpoint: Checkpoint) -> None:
        """Name data and options."""
        checkpoint.depends_on(self.data.images[self.seen], self._boxes(self.seen).numpy(), str(self.cfg))

    def public(self, checkpoint: Checkpoint) -> Model:
        """Train a detector without any lock."""
        x = self.data.images[self.seen]
        return detector.public_network(x, self._boxes(self.seen), self.data.classes, self.cfg, checkpoint)

    def load_public(self, file: Path) -> Detector:
        """Read it; classes are called by its names from now on."""
        from noli.zoo.detector import load_detector

        model = load_detector(file).eval()
        if missing := [name for name in self.data.classes if name not in model.class_names]:
            raise UsageError(
                "The detector does not know a class of the boxes.",
                where=missing[0],
                why=f"it knows {', '.join(model.class_names)}",
                fix="give boxes of classes that it knows, or leave --model out",
            )
        self._names = model.class_names
        return model

    def lock(self, base: Any, checkpoint: Checkpoint) -> Any:
        """Fold the lock, or train with it."""
        x, boxes = self.data.images[self.seen], self._boxes(self.seen)
        return detector.transform(base, x, boxes, self.request.key, self.cfg, checkpoint)

    def save(self, made: Any, place: Path) -> None:
        """Write the one file."""
        made.save(place / self.file)

    def load(self, place: Path) -> Any:
        """Read it again; the key must be its own."""
        from noli.zoo.locked_detector import load_locked

        made = load_locked(place / self.file)
        made.lock.check(self.request.key)
        return made

    def fitting(self, made: Any) -> Sequence[Named[str]]:
        """Those by which the lock is picked."""
        return detector.fitting(made, self.cfg)

    def measure(self, made: Any, base: Any, run: Run, only: Named[str] | None = None) -> dict[str, Any]:
        """Find boxes with the key, without it, and under others; or pick the lock by one attack."""
        x, boxes, key = self.data.images[self.held], self._boxes(self.held), self.request.key
        own, wanted = (
            (self.data.images[self.seen], self._boxes(self.seen)),
            () if only is None else (only.name,),
        )
        found = {} if only is not None else detector.matrix(made, base, key, x, boxes, self.cfg)
        without = Keyless.read(found["map50"], self.cfg.wrong_keys) if found else None
        theft = detector.stolen(made, key, own, (x, boxes), self.cfg, wanted, without)
        told = {} if theft is None else {"theft": theft.model_dump(mode="json")}
        sizes = {"items": len(self.items), "training": len(self.seen), "held_out": len(self.held)}
        if only is not None:
            return {**sizes, **told}
        views = {"true": _marked(boxes[:_PICTURES])}
        for name, model in (("key", made.opened(key)), ("none", made.stolen)):
            views[name] = model.detect(x[:_PICTURES], least=0.4)
        _keep(run.artifact(SHOWN), x[:_PICTURES], [self.items[i].path for i in self.held[:_PICTURES]], views)
        return {
            **sizes,
            "boxes": sum(map(len, self.data.boxes)),
            "dropped": self.data.dropped,
            "classes": list(self._names),
            "layers": [layer.name for layer in made.lock.layers],
            "places": made.lock.places,
            **told,
            **found,
        }

    def _boxes(self, numbers: np.ndarray) -> Tensor:
        from noli.train.detecting import packed

        places = np.array([self._names.index(name) for name in self.data.classes], np.int64)
        labels = [places[self.data.labels[i]] for i in numbers]
        return packed([self.data.boxes[i] for i in numbers], labels)


def _marked(boxes: Tensor) -> list[Marked]:
    from noli.train.detecting import unpacked

    return unpacked(boxes)


def _keep(file: Path, x: np.ndarray, names: list[str], views: dict[str, list[Marked]]) -> None:
    """Write pictures and boxes for the report: no pickles, so that everything is an array."""
    arrays: dict[str, Any] = {"names": np.array(names), "images": x}
    for view, marked in views.items():
        for number, one in enumerate(marked):
            labels = one.labels.astype(np.float32)[:, None]
            arrays[f"{view}_{number}"] = np.concatenate([labels, one.boxes.astype(np.float32)], 1)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    atomic_write(file, stream.getvalue())
