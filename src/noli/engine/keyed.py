"""Lock a model: pictures, public network, secret pairs, matrix; the same call resumes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel

from noli.core.errors import DataError
from noli.core.run import Run
from noli.engine.codes import StoredPictures, scanned
from noli.engine.locking import RESUME, LockRequest, created, finish, same_pictures, whole, worked
from noli.engine.progress import Progress
from noli.methods.lock import embeddings
from noli.methods.lock.embeddings import Config, Images, Labels

BODY = "public.safetensors"
RIVAL = "rival"
LAYOUT = "keyed-model"


def lock_model(request: LockRequest) -> Run:
    """Make a keyed model, or finish what an earlier call began.

    Raises:
        UsageError: Other arguments than the run was begun with, or a network without patches.
        DataError: Pictures without classes, or too few of them.
        OutputExists: Something else lies at the output.
        RunError, Interrupted: The same call resumes.
    """

    def work(run: Run | None) -> Run:
        pictures = labelled_pictures(request)
        run = run or created(request, LAYOUT)
        same_pictures(run, pictures.items, request.source)
        if not whole(run, Path(request.output)):
            with run.recording_failures(RESUME):
                _work(run, request, pictures)
        return run

    return worked(request, work)


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


def _work(run: Run, request: LockRequest, pictures: StoredPictures) -> None:
    from noli import zoo
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.keyed_folder import MANIFEST, load_keyed, save_keyed
    from noli.zoo.keyed_thieves import guess

    cfg, bar = cast(Config, request.cfg), request.progress
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
    keyed = None
    if (place / MANIFEST).exists():
        with suppress(DataError):
            keyed = load_keyed(place, request.key)
    if keyed is None:
        (place / MANIFEST).unlink(missing_ok=True)  # of a model that lacks a file
        checkpoint = Checkpoint(run.artifact("learning"))
        checkpoint.depends_on(x[seen], y[seen], str(cfg), request.key.id)
        keyed = embeddings.transform(base, x[seen], y[seen], request.key, cfg, checkpoint)
        save_keyed(keyed, place)
    bar.start(None, "attacker's own model")
    kept = run.artifact(RIVAL)
    if not (kept / MANIFEST).exists():
        checkpoint = Checkpoint(run.artifact("learning"))
        checkpoint.depends_on(x[seen], y[seen], str(cfg), RIVAL)
        save_keyed(embeddings.rival(base, x[seen], y[seen], cfg, checkpoint), kept)
    rival = load_keyed(kept, guess(0))
    bar.start(None, "attack")
    test = x[held], y[held]
    accuracy = _once(run, "accuracy", lambda: embeddings.use(keyed, base, *test, cfg))
    robust = _once(
        run, "robustness", lambda: embeddings.attacked(keyed, base, rival, *test, cfg, bar.advance)
    )
    bar.start(None, "theft")
    theft = _once(
        run, "theft", lambda: embeddings.stolen(keyed, base, (x[seen], y[seen]), test, cfg, bar.advance)
    )
    bar.finish()
    sizes = {"items": len(x), "training": len(seen), "held_out": len(held), "pairs": len(keyed.pairs)}
    found = {"accuracy": accuracy, "robustness": robust, "theft": theft}
    finish(run, place, {**sizes, "chance": 1 / len(pictures.classes), **found})


def _once(run: Run, name: str, measure: Callable[[], Any]) -> Any:
    """Measure what an earlier call has not measured yet; figures are kept with the run."""
    state = run.manifest.state or {}
    if name not in state:
        found = measure()
        state = {**state, name: found.model_dump(mode="json") if isinstance(found, BaseModel) else found}
        run.update(state=state)
    return state[name]


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
