"""Lock a model: data, public network, lock, measurement; the same call resumes.

What differs between kinds of models is a :class:`ModelJob`; here are that of classifiers and the runner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from pydantic import BaseModel

from noli.core import attacks
from noli.core.attacks import Named
from noli.core.dataset import Item
from noli.core.errors import DataError
from noli.core.run import Run
from noli.core.theft import Keyless
from noli.engine.codes import StoredPictures, scanned
from noli.engine.given import check_fits, network_file, read_given, read_network, sided
from noli.engine.lockedmodels import FILES, RIVAL
from noli.engine.locking import RESUME, LockRequest, created, finish, same_pictures, whole, worked
from noli.methods.lock import embeddings
from noli.methods.lock.embeddings import Config, Images, Labels

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.train.checkpoint import Checkpoint


class ModelJob(Protocol):
    """One kind of models that are locked, with the data of one request."""

    layout: str
    file: str

    @property
    def items(self) -> Sequence[Item]:
        """What the data consists of."""

    def read(self) -> None:
        """Bring the pictures into memory."""

    def depends(self, checkpoint: Checkpoint) -> None:
        """Name the data and the options that a training depends on."""

    def public(self, checkpoint: Checkpoint) -> Model:
        """Return the network that is locked later, where no file of noli's own was given for it: train it."""

    def load_public(self, file: Path) -> Model:
        """Read that network."""

    def lock(self, base: Any, checkpoint: Checkpoint) -> Any:
        """Lock it."""

    def save(self, made: Any, place: Path) -> None:
        """Write what was locked; the file that says it is whole comes last."""

    def load(self, place: Path) -> Any:
        """Read what :meth:`save` wrote; a DataError where something is missing or damaged."""

    def fitting(self, made: Any) -> Sequence[Named[str]]:
        """Return the attacks by which such a model can be measured alone."""

    def measure(self, made: Any, base: Any, run: Run, only: Named[str] | None = None) -> dict[str, Any]:
        """Return the results of the run; pictures for the report become its artifacts.

        Of one attack alone they are the same, but there are no others.
        """


def lock_model(request: LockRequest) -> Run:
    """Make a locked model, or finish what an earlier call began.

    Raises:
        UsageError: Other arguments than the run was begun with, or a network that cannot be locked.
        DataError: Pictures without classes or boxes, or too few of them.
        OutputExists: Something else lies at the output.
        RunError, Interrupted: The same call resumes.
    """
    request = sided(request)

    def work(run: Run | None) -> Run:
        job = job_for(request)
        run = run or created(request, job.layout)
        same_pictures(run, job.items, request.source)
        if not whole(run, Path(request.output)):
            with run.recording_failures(RESUME):
                _work(run, request, job)
        return run

    return worked(request, work)


def job_for(request: LockRequest) -> ModelJob:
    """Return the job of a request, by its method; its data is scanned."""
    if request.spec.name == embeddings.NAME:
        return ClassifierJob(request)
    from noli.engine.detectors import DetectorJob

    return DetectorJob(request)


def _work(run: Run, request: LockRequest, job: ModelJob) -> None:
    from noli.train.checkpoint import Checkpoint

    bar, place = request.progress, Path(request.output)
    job.read()

    def checkpoint(*more: str) -> Checkpoint:
        made = Checkpoint(run.artifact("learning"))
        job.depends(made)
        made.depends_on(*more)
        return made

    file = network_file(request)
    if not file.exists():
        bar.start(None, "public network")
        job.public(checkpoint()).save(file)
    base = job.load_public(file)
    bar.start(None, "lock")
    made = None
    if (place / job.file).exists():
        with suppress(DataError):
            made = job.load(place)
    if made is None:
        (place / job.file).unlink(missing_ok=True)  # of a model that lacks a file
        made = job.lock(base, checkpoint(request.key.id))
        job.save(made, place)
    bar.start(None, "measure")
    found = job.measure(made, base, run)
    bar.finish()
    finish(run, place, found)


class ClassifierJob:
    """Keyed patch embeddings; see :mod:`noli.methods.lock.embeddings`."""

    layout = "keyed-model"
    file = FILES["keyed-model"]

    def __init__(self, request: LockRequest) -> None:
        self.request, self.cfg = request, cast(Config, request.cfg)
        self.pictures = labelled_pictures(request)
        self.items = self.pictures.items
        if request.model:
            check_fits(read_given(request, self.pictures.classes), self.pictures, self.cfg.side)

    @cached_property
    def x(self) -> Images:
        """All pictures, ``uint8 [N, side, side, C]``."""
        bar, found = self.request.progress, []
        bar.start(len(self.pictures), "read")
        for number in range(len(self.pictures)):
            found.append(self.pictures[number])
            bar.advance()
        bar.finish()
        return np.stack(found)

    @cached_property
    def y(self) -> Labels:
        """Their classes."""
        return np.asarray(self.pictures.labels)

    @cached_property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Which of them train, and which only test."""
        return split(self.pictures, self.cfg.held_out)

    def read(self) -> None:
        """Bring the pictures into memory."""
        _ = self.x

    def depends(self, checkpoint: Checkpoint) -> None:
        """Name data and options."""
        seen, _ = self.sides
        checkpoint.depends_on(self.x[seen], self.y[seen], str(self.cfg))

    def public(self, checkpoint: Checkpoint) -> Model:
        """Train the network whose body is frozen, or the new head of a given one."""
        seen, _ = self.sides
        x, y, names = self.x[seen], self.y[seen], self.pictures.classes
        if not self.request.model:
            return embeddings.public_network(x, y, names, self.cfg, checkpoint)
        given = read_given(self.request, names)
        return embeddings.headed(given, x, y, names, self.cfg, checkpoint) if self.cfg.new_head else given

    def load_public(self, file: Path) -> Model:
        """Read it, or what the user gave."""
        return read_network(file, self.pictures.classes)

    def lock(self, base: Any, checkpoint: Checkpoint) -> Any:
        """Train the secret pairs."""
        seen, _ = self.sides
        return embeddings.transform(base, self.x[seen], self.y[seen], self.request.key, self.cfg, checkpoint)

    def save(self, made: Any, place: Path) -> None:
        """Write the folder."""
        from noli.zoo.keyed_folder import save_keyed

        save_keyed(made, place)

    def load(self, place: Path) -> Any:
        """Read it again."""
        from noli.zoo.keyed_folder import load_keyed

        return load_keyed(place, self.request.key)

    def fitting(self, made: Any) -> Sequence[Named[str]]:
        """Those on a model with so many classes."""
        return embeddings.fitting(len(self.pictures.classes), self.cfg)

    def measure(self, made: Any, base: Any, run: Run, only: Named[str] | None = None) -> dict[str, Any]:
        """Attack it; what was measured is kept with the run, so that a kill costs one stage."""
        (seen, held), cfg, bar = self.sides, self.cfg, self.request.progress
        own, test = (self.x[seen], self.y[seen]), (self.x[held], self.y[held])
        wanted = () if only is None else (only.name,)
        # Only attacks by gradients are made on it.
        rival = self._rival(base, run) if only is None or only in attacks.BY_GRADIENT else None
        stages: dict[str, Callable[[], Any]] = {
            "accuracy": lambda: embeddings.use(made, base, *test, cfg),
            "robustness": lambda: embeddings.attacked(made, base, rival, *test, cfg, bar.advance, wanted),
            "theft": lambda: embeddings.stolen(
                made, base, own, test, cfg, bar.advance, wanted, _without(found, cfg)
            ),
        }
        found: dict[str, Any] = {}
        for name, measured in stages.items():
            if only is None or only in attacks.BY_RECORD.get(name, ()):
                bar.start(None, {"accuracy": "use", "robustness": "attack"}.get(name, name))
                found[name] = _once(run, name if only is None else f"{name}, {only.name}", measured)
        sizes = {"items": len(self.x), "training": len(seen), "held_out": len(held), "pairs": len(made.pairs)}
        return {**sizes, "chance": 1 / len(self.pictures.classes), **found}

    def _rival(self, base: Any, run: Run) -> Any:
        """Train the attacker's own keyed model, or read it."""
        from noli.train.checkpoint import Checkpoint
        from noli.zoo.keyed_folder import load_keyed, save_keyed
        from noli.zoo.keyed_thieves import guess

        kept, (seen, _) = run.artifact(RIVAL), self.sides
        if not (kept / self.file).exists():
            self.request.progress.start(None, "attacker's own model")
            checkpoint = Checkpoint(run.artifact("learning"))
            self.depends(checkpoint)
            checkpoint.depends_on(RIVAL)
            save_keyed(embeddings.rival(base, self.x[seen], self.y[seen], self.cfg, checkpoint), kept)
        return load_keyed(kept, guess(0))


def _without(found: Mapping[str, Any], cfg: Config) -> Keyless | None:
    """Return what use without the key has found already; nothing where it was not measured."""
    return Keyless.read(found["accuracy"], cfg.wrong_keys) if "accuracy" in found else None


def _once(run: Run, name: str, measure: Callable[[], Any]) -> Any:
    """Measure what an earlier call has not measured yet; figures are kept with the run."""
    state = run.manifest.state or {}
    if name not in state:
        found = measure()
        state = {**state, name: found.model_dump(mode="json") if isinstance(found, BaseModel) else found}
        run.update(state=state)
    return state[name]


def labelled_pictures(request: LockRequest) -> StoredPictures:
    """Scan the pictures of a request: two classes or more, with five pictures each, or a DataError."""
    pictures = scanned(request, labelled=True)
    counts = np.bincount(pictures.labels) if pictures.labels is not None else np.zeros(0)
    if len(counts) < 2 or counts.min() < 5:
        raise DataError(
            "A classifier needs two classes or more, with five pictures each.",
            where=request.source,
            why=", ".join(f"{name}: {count}" for name, count in zip(pictures.classes, counts, strict=True)),
            fix="give pictures in folders by class",
        )
    return pictures


def split(pictures: StoredPictures, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which pictures train and which only test: of every class a share, by digest of the content.

    Those that test are in the order of their digests, so that the first of them are of all classes.
    """
    order = np.argsort([item.sha256 for item in pictures.items], kind="stable")
    labels = np.asarray(pictures.labels)
    held: list[int] = []
    for label in range(len(pictures.classes)):
        of_class = order[labels[order] == label]
        held.extend(of_class[: max(1, round(share * len(of_class)))].tolist())
    mask = np.zeros(len(pictures), bool)
    mask[held] = True
    return np.flatnonzero(~mask), order[mask[order]]
