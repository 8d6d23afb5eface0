"""Ask a keyed model about pictures, with its key, or as somebody has it who lacks the key."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError, UsageError
from noli.core.files import write_new
from noli.data.place import refuse_inside
from noli.engine.codes import StoredPictures, stored_pictures
from noli.engine.lockedmodels import Keys, keys_of, refuse_other_models, side_for
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.zoo.keyed_folder import Manifest

Floats = npt.NDArray[np.float32]
BATCH = 256
_SYSTEM = SystemRandom()


@dataclass(frozen=True)
class Predictions:
    """Answers of a keyed model.

    Attributes:
        files: Names of the pictures, relative to their place.
        classes: Names of the classes; numbers where the model has none.
        probabilities: ``float32 [N, K]``; rows sum to 1.
        asked: Which pairs answered, and with what, in words.
        labels: Class of every picture by its folder or table; None where one has none that the model knows.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Floats
    asked: str
    labels: tuple[str, ...] | None = None

    @property
    def answers(self) -> tuple[tuple[str, str, float], ...]:
        """File, likeliest class and its probability, for every picture."""
        best = self.probabilities.argmax(1)
        found = zip(self.files, best, self.probabilities, strict=True)
        return tuple((file, self.classes[place], float(row[place])) for file, place, row in found)

    @property
    def right(self) -> int | None:
        """How many are as their labels say; None where there are no labels."""
        if self.labels is None:
            return None
        return sum(name == label for (_, name, _), label in zip(self.answers, self.labels, strict=True))

    def csv(self) -> str:
        """Return the answers as CSV with the columns file, class and probability."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(("file", "class", "probability"))
        lines.writerows((file, name, f"{share:.6f}") for file, name, share in self.answers)
        return text.getvalue()


def predict(
    model: str | Path,
    data: str | Path,
    *,
    key: Keys = None,
    average: bool = False,
    without_key: bool = False,
    side: int | None = None,
    output: str | Path | None = None,
    on_error: ErrorPolicy = "fail",
    labels: str | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Classify pictures with a keyed model (:func:`noli.lock_model`), which permutes them under its key.

    A key for a model is no access control: `without_key` says how much of it needs none.

    Args:
        model: Folder of a keyed model.
        data: Folder, CSV, Parquet, ``.npz`` or URL with pictures; they are squeezed to squares.
        key: The owner's key, the path of a key file without a passphrase, or several keys.
        average: Mean logits of all pairs; else one pair is drawn for every picture by the operating system.
        without_key: Answer as the files do for somebody without the key: secret layers, no permutation.
        side: Pixels to which pictures are squeezed; None: those the network takes, or was locked with.
        output: Also write the answers here as CSV: a new file.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        labels: Column or array with the class, where the layout does not say.
        progress: Where progress goes; nowhere when None.

    Raises:
        UsageError: No key, or a key beside `without_key`; a side that the network does not take.
        WrongKey: It is not the one of a pair; noticed before any picture or weight is read.
        KeyFileError: The key file cannot be read, or the key was revoked.
        DataError: A damaged model, pictures that cannot be used, or with other channels.
        OutputExists: Something is at `output`, or it lies inside the data or the model.
        RunError: Nothing can be written there; noticed before any work.
    """
    from noli.zoo.keyed_folder import read_manifest

    folder, bar = Path(model), progress or Progress()
    if without_key == (key is not None):
        fix = "give the key, or say without_key=True (--without-key), and not both"
        raise UsageError("A keyed model is asked with its key, or without it.", where=str(folder), fix=fix)
    if output is not None:
        refuse_inside(output, data, folder, new=True, why="it names every picture")
    refuse_other_models(folder, "asked")
    facts = read_manifest(folder)
    ask, one = _without(folder, facts, average) if without_key else _with(folder, facts, key, average)
    squeezed = side_for(one, facts.patch, folder, side)
    pictures = stored_pictures(str(data), squeezed, labels=labels, on_error=on_error, bar=bar)
    if not pictures.items or pictures.channels > facts.channels:
        why = f"the model takes {facts.channels} channel(s), they have {pictures.channels}"
        raise DataError("The model does not take these pictures.", where=str(data), why=why)
    pictures.channels = facts.channels
    found = np.concatenate([ask(batch) for batch in _batches(pictures, bar)])
    names = tuple(facts.class_names) or tuple(map(str, range(found.shape[1])))
    pairs, key_told = len(facts.pairs), "without the key" if without_key else "with the key"
    how = "the mean of all pairs" if average else "a pair drawn for every picture"
    made = Predictions(
        files=tuple(item.path for item in pictures.items),
        classes=names,
        probabilities=_shares(found),
        asked=f"{key_told}; {how if pairs > 1 else 'the only pair'}",
        labels=_labels(pictures, names),
    )
    if output is not None:
        write_new(Path(output), made.csv().encode("utf-8", "surrogateescape"))
    return made


def _with(folder: Path, facts: Manifest, key: Keys, average: bool) -> tuple[Any, Model]:
    """Return how the model answers a batch with its key, and the model."""
    from noli.zoo.keyed_folder import load_keyed

    keys = keys_of(facts, key, folder)
    keyed = load_keyed(folder, keys, pick="average" if average else "random")
    return keyed.predict, keyed


def _without(folder: Path, facts: Manifest, average: bool) -> tuple[Any, Model]:
    """Return how its files answer a batch without the permutation, and one of the plain models."""
    from noli.zoo.keyed_folder import load_bare

    bare = [load_bare(folder, number) for number in range(len(facts.pairs))]

    def ask(images: npt.NDArray[np.uint8]) -> Floats:
        logits = np.stack([one.predict(images) for one in bare])
        if average:
            mean: Floats = logits.mean(0)
            return mean
        drawn: Floats = logits[[_SYSTEM.randrange(len(bare)) for _ in images], np.arange(len(images))]
        return drawn

    return ask, bare[0]


def _batches(pictures: StoredPictures, bar: Progress) -> Iterator[npt.NDArray[np.uint8]]:
    bar.start(len(pictures), "predict")
    for start in range(0, len(pictures), BATCH):
        numbers = range(start, min(start + BATCH, len(pictures)))
        yield np.stack([pictures[number] for number in numbers])
        bar.advance(len(numbers))
    bar.finish()


def _shares(logits: Floats) -> Floats:
    """Return probabilities of logits ``[N, K]``."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    found: Floats = raised / raised.sum(1, keepdims=True)
    return found


def _labels(pictures: StoredPictures, names: tuple[str, ...]) -> tuple[str, ...] | None:
    known = tuple(str(item.label) for item in pictures.items if item.label in names)
    return known if len(known) == len(pictures.items) else None
