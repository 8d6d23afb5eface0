"""From a data set to learned noise: what all methods share that learn noise.

A method says how noise is learned (`Learn`); sizes, labels, seeds, the store and additions to an earlier run
are here. Putting the noise onto pictures needs no network: :func:`noli.ops.noisestore.hooks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from noli import zoo
from noli.core.dataset import Item, check_labels
from noli.core.errors import DataError, UsageError
from noli.core.files import TEMP_SUFFIX, remove_quietly
from noli.core.key import Key
from noli.core.method import DataSummary, State
from noli.core.model import Model
from noli.ops.noisestore import Noise, read, write
from noli.train.checkpoint import Checkpoint
from noli.train.hardware import pick_device
from noli.train.lesson import Lesson
from noli.train.options import LearnedConfig

SMALLEST, LARGEST = 16, 64
Learn = Callable[[Lesson], dict[str, float]]


def prepare_noise(
    summary: DataSummary,
    key: Key,
    cfg: LearnedConfig,
    previous: State | None,
    learn: Learn,
    purpose: str,
    *,
    classwise: bool = False,
) -> State:
    """Learn noise for all items, or for what is new in a run that is being extended.

    New items of known classes get noise from the saved surrogate alone. New classes need a new surrogate,
    which learns from everything; noise of old items stays as it was published. EM and SALM train it on that,
    SEM and REM on noise that they search anew, and TAP on the clean images.

    Returns:
        ``{"classes", "side", "channels", "noise" (names of files), "surrogate", "weights", "reached"}``.

    Raises:
        DataError: Items without a class, or fewer than two classes.
    """
    study, old = summary.study, previous or {}
    if study is None:
        raise UsageError("This method learns from the data: it needs it in `prepare`.", where=purpose)
    classes = list(dict.fromkeys([*old.get("classes", ()), *summary.classes]))
    y = labels_of(study.items, classes)
    names = list(classes) if classwise else list(dict.fromkeys(item.id for item in study.items))
    files: list[str] = old.get("noise", [])
    known = {name for file in files for name in read(str(study.folder), file).rows}
    fresh = [name for name in names if name not in known]
    if not fresh:
        return dict(old)
    side = old.get("side") or side_of(cfg, summary)
    x = study.images(side)
    place = {name: row for row, name in enumerate(names)}
    table = study.folder / f"noise{TEMP_SUFFIX}"
    noise = _present(study.folder, table, files, place, x.shape[1:])
    rows = y if classwise else np.array([place[item.id] for item in study.items], np.int64)
    is_open = np.array([name not in known for name in names])
    trained = bool(old) and (old["classes"], old["channels"]) == (classes, x.shape[3])
    items, shapes = list(study.items), list(study.shapes)
    if trained:
        used = np.flatnonzero(is_open[rows])
        x, y, rows = x[used], y[used], rows[used]
        items, shapes = [items[row] for row in used], [shapes[row] for row in used]
    seed = int(key.stream(purpose, str(len(files))).integers(1, 2**63)[0])
    surrogate = old.get("surrogate") if trained else None
    model = _surrogate(study.folder, surrogate, cfg, classes, x.shape, seed)
    generator = torch.Generator().manual_seed(seed)
    checkpoint = Checkpoint(study.folder)
    named = [purpose, cfg.model_dump_json(), str(seed), model.weight_hash(), *classes, *fresh]
    checkpoint.depends_on(*named, x, y, rows, noise, is_open)
    scratch = study.folder / f"noisy{TEMP_SUFFIX}"
    how = (cfg, generator, study.tell, items, shapes, checkpoint, scratch)
    lesson = Lesson(model, x, y, noise, rows, is_open, trained, *how)
    file = f"noise-{len(files)}"
    try:
        reached = learn(lesson)
        write(study.folder, file, fresh, noise if is_open.all() else noise[is_open])
    finally:
        for made in (table, scratch):
            remove_quietly(made)
    if not trained:
        surrogate = f"surrogate-{len(files)}.safetensors"
        model.save(study.folder / surrogate)
    checkpoint.clear()
    return {
        "classes": classes,
        "side": side,
        "channels": x.shape[3],
        "noise": [*files, file],
        "surrogate": surrogate,
        "weights": model.weight_hash(),
        "reached": [*old.get("reached", []), {**reached, "items": float(len(fresh))}],
    }


def _present(
    folder: Path, table: Path, files: Sequence[str], place: dict[str, int], shape: tuple[int, ...]
) -> Noise:
    """Return the noise of all rows, in a file on disk: what earlier runs learned, and zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    noise: Noise = np.lib.format.open_memmap(table, "w+", np.int8, (len(place), *shape))
    for file in files:
        store = read(str(folder), file)
        for name, row in store.rows.items():
            if name in place:
                noise[place[name]] = store.noise[row]  # grey noise spreads over the channels
    return noise


def _surrogate(
    folder: Path, file: str | None, cfg: LearnedConfig, classes: list[str], shape: tuple[int, ...], seed: int
) -> Model:
    if file is not None:
        model = zoo.load(folder / file)
    else:
        model = zoo.network(cfg.network, classes, shape[3], size=shape[1], seed=seed)
    # A surrogate that is loaded again goes through no training that would lay it out.
    model.to(device=pick_device(cfg.device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def labels_of(items: Sequence[Item], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the class number of every item.

    Raises:
        DataError: Items without a class, or fewer than two classes.
    """
    index = {name: row for row, name in enumerate(classes)}
    check_labels(items, "A surrogate", index)
    if len(index) < 2:
        raise DataError(
            "A surrogate needs at least two classes.", where=", ".join(classes), fix="add pictures of others"
        )
    return np.array([index[str(item.label)] for item in items], np.int64)


def side_of(cfg: LearnedConfig, summary: DataSummary) -> int:
    """Return the side in pixels at which noise is learned: as configured, or that of most pictures."""
    if cfg.size != "auto":
        return cfg.size
    shapes = summary.shapes or {(32, 32, 3): 1}
    height, width, _ = max(shapes, key=lambda shape: (shapes[shape], shape))
    return min(max(min(height, width), SMALLEST), LARGEST)
