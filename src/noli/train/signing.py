"""Signing pictures for secret queries: which ones, surrogates, the search, and what a kill leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from noli import zoo
from noli.core.errors import DataError
from noli.core.images import to_float
from noli.core.key import Key
from noli.core.method import DataSummary, State
from noli.core.model import Model
from noli.ops.matching import Matching, match
from noli.ops.noisestore import Noise, quantised, write
from noli.train.callbacks import CropFlip
from noli.train.checkpoint import Checkpoint
from noli.train.fit import fit
from noli.train.hardware import pick_device
from noli.train.learned import labels_of, side_of
from noli.train.recipe import Recipe
from noli.zoo.likeness import Distance, picture_distance, weights_digest

NOISE = "signed-0"
Rows = npt.NDArray[np.int64]


def sign_pictures(
    summary: DataSummary,
    key: Key,
    cfg: Any,
    *,
    targets: Sequence[int],
    queries: Sequence[npt.NDArray[np.uint8]],
    named: str,
) -> State:
    """Choose pictures for every secret query, search their changes, and store them.

    Args:
        summary: The data.
        key: The owner's.
        cfg: Config of Data Taggants.
        targets: Class number of every query.
        queries: Their pictures, of the side and with the channels of the data.
        named: Digest of the protocol, for the state.
    """
    study, classes = summary.study, list(summary.classes)
    assert study is not None  # noqa: S101 - the method has checked
    y = labels_of(study.items, classes)
    x = study.images(side_of(cfg, summary))
    state: State = {"classes": classes, "side": x.shape[1], "channels": x.shape[3], "noise": NOISE}
    chosen = choose(y, targets, len(classes), cfg.share, key, named)
    seed = int(key.stream("mark/taggants/seed", named).integers(1, 2**62)[0])
    checkpoint = Checkpoint(study.folder)
    checkpoint.depends_on(named, cfg.model_dump_json(), weights_digest(cfg.lpips), str(seed), x, y)
    likeness = picture_distance(cfg.lpips, cfg.perceptual, pick_device(cfg.device))
    models = [_surrogate(study, x, y, classes, cfg, seed, number) for number in range(cfg.surrogates)]
    asked = [torch.from_numpy(to_float(one[None])) for one in queries]
    search = partial(_best, models, cfg, likeness)
    found = _searched(search, x, asked, targets, chosen, cfg, seed, checkpoint, study.tell)
    rows = np.concatenate(chosen)
    write(study.folder, NOISE, [study.items[row].id for row in rows], found["noise"])
    checkpoint.clear()
    reached = {"distance": float(found["distance"].mean()), "signed": float(len(rows))}
    return {**state, "signed": len(rows), "protocol": named, "reached": [reached]}


def square_of(summary: DataSummary, cfg: Any) -> tuple[int, int]:
    """Return side and channels of the squares that changes are searched on."""
    assert summary.study is not None  # noqa: S101 - the method has checked
    return side_of(cfg, summary), max(shape[2] for shape in summary.study.shapes)


def pictures_each(share: float, pictures: int, queries: int) -> int:
    """Return how many pictures are signed for every query.

    Raises:
        DataError: There is less than one.
    """
    each = int(share * pictures / queries)
    if each < 1:
        raise DataError(
            "There are too few pictures to sign.",
            why=f"{share:g} of {pictures} pictures are fewer than {queries} queries",
            fix="use fewer keys, or sign a larger share",
        )
    return each


def choose(y: Rows, targets: Sequence[int], classes: int, share: float, key: Key, named: str) -> list[Rows]:
    """Draw the pictures that are signed for every query: of its class, none for two of them.

    Args:
        y: Class number of every picture.
        targets: Class number of every query.
        classes: Number of classes.
        share: Share of all pictures.
        key: The owner's.
        named: What the draw is for.

    Raises:
        DataError: There is less than one picture per query.
    """
    each = pictures_each(share, len(y), len(targets))
    orders = [
        np.flatnonzero(y == c)[key.stream("mark/taggants/signed", f"{named}/{c}").permutation((y == c).sum())]
        for c in range(classes)
    ]
    wanted = np.bincount(np.asarray(targets), minlength=classes)
    taken = [0] * classes
    chosen = []
    for target in targets:
        # Queries of a class with too few pictures share it evenly; the last of them may get none.
        fair = max(1, len(orders[target]) // int(wanted[target]))
        count = min(each, fair, len(orders[target]) - taken[target])
        chosen.append(orders[target][taken[target] : taken[target] + count])
        taken[target] += count
    return chosen


def _surrogate(
    study: Any, x: npt.NDArray[np.uint8], y: Rows, classes: Sequence[str], cfg: Any, seed: int, number: int
) -> Model:
    file = study.folder / f"surrogate-{number}.safetensors"
    if file.is_file():
        return zoo.load(file).to(pick_device(cfg.device))
    model = zoo.network(cfg.network, classes, x.shape[3], size=x.shape[1], seed=seed + number)
    checkpoint = Checkpoint(study.folder)
    checkpoint.depends_on("surrogate", str(number), cfg.model_dump_json(), str(seed), x, y)
    recipe = Recipe(epochs=cfg.epochs, seed=seed + number, device=cfg.device)
    study.tell(number, cfg.surrogates, "surrogate")
    fit(model, x, y, recipe, [CropFlip()], checkpoint=checkpoint)
    model.save(file)
    checkpoint.clear()
    return model


def _searched(
    search: Callable[[Tensor, int, Tensor, torch.Generator], tuple[Tensor, float]],
    x: npt.NDArray[np.uint8],
    queries: Sequence[Tensor],
    targets: Sequence[int],
    chosen: Sequence[Rows],
    cfg: Any,
    seed: int,
    checkpoint: Checkpoint,
    tell: Callable[[int, int, str], None],
) -> dict[str, npt.NDArray[Any]]:
    """Search the changes of all queries, one after the other; returns ``noise`` and ``distance``."""
    rows = np.concatenate(chosen)
    noise: Noise = np.zeros((len(rows), *x.shape[1:]), np.int8)
    distance, done = np.zeros(len(queries)), 0
    found = checkpoint.load("signing")
    if found is not None:
        noise, distance, done = found["noise"].numpy(), found["distance"].numpy(), int(found["done"])
    ends = np.cumsum([0, *map(len, chosen)])
    device = pick_device(cfg.device)
    for number in range(done, len(queries)):
        if not len(chosen[number]):
            continue
        pictures = torch.from_numpy(to_float(x[chosen[number]])).to(device)
        # A generator of its own per query: what follows does not depend on where a kill came.
        generator = torch.Generator().manual_seed(seed + 1000 + number)
        change, distance[number] = search(pictures, targets[number], queries[number].to(device), generator)
        stored = quantised(change.permute(0, 2, 3, 1).cpu().numpy(), cfg.eps)
        noise[ends[number] : ends[number + 1]] = stored
        tell(number + 1, len(queries), "keys")
        kept = {"noise": noise, "distance": distance, "done": np.array(number + 1)}
        checkpoint.save("signing", lambda kept=kept: {n: torch.from_numpy(v) for n, v in kept.items()})  # type: ignore[misc]
    return {"noise": noise, "distance": distance}


def _best(
    models: Sequence[Model],
    cfg: Any,
    likeness: Distance | None,
    x: Tensor,
    label: int,
    query: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Return the change of the restart that ends nearest to the query's gradient."""
    how = Matching(cfg.eps, cfg.iterations, shift=x.shape[2] // 8, perceptual=cfg.perceptual)
    best: tuple[Tensor, float] | None = None
    for _ in range(cfg.restarts):
        start = ((torch.rand(x.shape, generator=generator) * 2 - 1) * cfg.eps).to(x.device)
        change, distance = match(models, x, label, query, start, how, generator, likeness)
        if best is None or distance < best[1]:
            best = change, distance
    assert best is not None  # noqa: S101 - there is at least one restart
    return best
