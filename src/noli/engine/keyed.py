"""Lock a model: pictures, public network, secret pairs, matrix; the same call resumes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from noli.core.errors import DataError
from noli.core.key import Key
from noli.core.manifest import DataInfo, KeyInfo
from noli.core.method import Spec
from noli.core.run import Run
from noli.data.scan import scan, summarise
from noli.data.sources import open_source
from noli.data.writers import check_paths
from noli.engine.codes import StoredPictures
from noli.engine.lock import locked
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, absolute, run_folder
from noli.methods.lock import embeddings
from noli.methods.lock.embeddings import Config, Images, Labels

BODY = "public.safetensors"


@dataclass(frozen=True)
class KeyedRequest:
    """One job.

    Attributes:
        source: Pictures with classes.
        output: Folder of the keyed model.
        spec, cfg: The method.
        key: The owner's key.
        model: File of a public network of noli's zoo; empty: one is trained on the pictures.
        labels: Name of the class column of a table.
        on_error: What to do with pictures that cannot be read.
        run_dir: Run folder; None puts it beside the output.
        progress: Where progress goes.
    """

    source: str
    output: str
    spec: Spec
    cfg: Config
    key: Key
    model: str = ""
    labels: str | None = None
    on_error: ErrorPolicy = "fail"
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
            "method": self.spec.name,
            "direction": "apply",
            "config": self.cfg.model_dump(mode="json"),
            "key": self.key.id,
            "labels": self.labels,
        }


def lock_model(request: KeyedRequest) -> Run:
    """Make a keyed model, or finish what an earlier call began.

    Raises:
        UsageError: Other arguments than the run was begun with, or a network without patches.
        DataError: Pictures without classes, or too few of them.
        OutputExists: Something else lies at the output.
        RunError, Interrupted: The same call resumes.
    """
    new = not request.folder.exists()
    try:
        with locked(request.folder):
            return _locked(request)
    finally:
        if new:  # refused before any work: nothing stays behind
            with suppress(OSError):
                request.folder.rmdir()


def _locked(request: KeyedRequest) -> Run:
    run = Run.open(request.folder) if Run.exists(request.folder) else None
    check_paths(request.source, request.output, owned=run is not None)
    if run is not None:
        run.refuse_other("lock", request.resolved())
        if run.manifest.status == "done":
            return run
    pictures = _pictures(request)
    run = run or _created(request)
    with run.recording_failures("run the same command again: it resumes where it stopped"):
        _work(run, request, pictures)
    return run


def _created(request: KeyedRequest) -> Run:
    resolved = request.resolved()
    return Run.create(
        request.folder,
        verb="lock",
        method=request.spec.name,
        args_resolved=resolved,
        key=KeyInfo(id=request.key.id, commitment=request.key.commit()),
        input=DataInfo(uri=resolved["source"], layout="pictures"),
        output=DataInfo(uri=resolved["output"], layout="keyed-model"),
        state={},
    )


def _pictures(request: KeyedRequest) -> StoredPictures:
    source = open_source(request.source, labels=request.labels)
    found = scan(source, require_labels=True)
    rows = [row for row in summarise(found, on_error=request.on_error) if row.item is not None]
    pictures = StoredPictures(source, rows, request.cfg.side)
    counts = np.bincount(pictures.labels) if pictures.labels is not None else np.zeros(0)
    if len(counts) < 2 or counts.min() < 5:
        raise DataError(
            "A classifier needs two classes or more, with five pictures each.",
            where=request.source,
            why=", ".join(f"{name}: {count}" for name, count in zip(pictures.classes, counts, strict=True)),
            fix="give pictures in folders by class",
        )
    return pictures


def _work(run: Run, request: KeyedRequest, pictures: StoredPictures) -> None:
    from noli import zoo
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.keyed_folder import MANIFEST, load_keyed, save_keyed

    cfg, bar = request.cfg, request.progress
    bar.start(len(pictures), "read")
    x = np.stack([_told(pictures[number], bar) for number in range(len(pictures))])
    bar.finish()
    seen, held = split(pictures, cfg.held_out)
    y: Labels = np.asarray(pictures.labels)
    file = Path(request.model) if request.model else run.artifact(BODY)
    if not file.exists():
        bar.start(None, "public network")
        checkpoint = Checkpoint(run.artifact("learning"))
        checkpoint.depends_on(x[seen], y[seen], str(cfg))
        embeddings.public_network(x[seen], y[seen], pictures.classes, cfg, checkpoint).save(file)
    base = zoo.load(file)
    bar.start(None, "secret layers")
    place = Path(request.output)
    if (place / MANIFEST).exists():
        keyed = load_keyed(place, request.key)
    else:
        checkpoint = Checkpoint(run.artifact("learning"))
        checkpoint.depends_on(x[seen], y[seen], str(cfg), request.key.id)
        keyed = embeddings.transform(base, x[seen], y[seen], request.key, cfg, checkpoint)
        save_keyed(keyed, place)
    bar.start(None, "attack")
    found = embeddings.matrix(keyed, base, x[held], y[held], cfg)
    bar.finish()
    sizes = {"items": len(x), "training": len(seen), "held_out": len(held), "pairs": len(keyed.pairs)}
    run.finish({**sizes, "chance": 1 / len(pictures.classes), "accuracy": found})


def _told(image: Images, bar: Progress) -> Images:
    bar.advance()
    return image


def split(pictures: StoredPictures, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which pictures train and which only test: of every class a share, by digest of the content."""
    order = np.argsort([item.sha256 for item in pictures.items], kind="stable")
    labels = np.asarray(pictures.labels)
    held: list[int] = []
    for label in range(len(pictures.classes)):
        of_class = order[labels[order] == label]
        held.extend(of_class[: max(1, round(share * len(of_class)))].tolist())
    mask = np.zeros(len(pictures), bool)
    mask[held] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)
