"""Marks with secret classes: who is found, at what price, and who is accused falsely.

    python benchmarks/taggants.py                 all cells (about two hours of CPU time)
    python benchmarks/taggants.py --part 0 2      this process's share of the cells
    python benchmarks/taggants.py --summary       only summarise the finished cells

10,000 images of CIFAR-10 are marked; a seed is a key and a training. Fresh victims train on them, some in
other ways than the rest (another network, optimiser or augmentation; half of the images; 10,000 clean ones
beside them; images compressed first), and answer the secret queries by their first class alone. `tiny` is
the surrogate of taggants, so that its victims called `tiny` share the architecture, not the weights. Controls
are 20 networks that trained on the images without marks, asked the same queries. BadNets-style marks are a
peer: secret patches on images whose labels are changed. Cells lie in results/taggants.jsonl; delete a line to
measure it again. Marked images and control networks wait in benchmarks/work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from common import CLASSES, Cells, Protector, bench_key, cifar10, cpu_cost, psnr, save, work_file
from noli import zoo
from noli.core.key import Key
from noli.core.model import Model
from noli.ops.exact import poisson_binomial_tail
from noli.proof import marks
from noli.train.callbacks import Callback, CropFlip, Cutout, Mixup
from noli.train.fit import fit
from noli.train.recipe import Recipe

CONTROLS = 20
PATCH = 5
# Name -> method and options; the first is the default.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gratings": ("gratings", {}),
    "gratings, 40 keys": ("gratings", {"keys": 40, "reserve": 10}),
    "gratings, 40 keys, 20 %": ("gratings", {"share": 0.2, "keys": 40, "reserve": 10}),
    "gratings, 5 %": ("gratings", {"share": 0.05}),
    "gratings, 11/255": ("gratings", {"eps": 11 / 255}),
    "gratings, 8/255": ("gratings", {"eps": 8 / 255}),
    "gratings, 8/255, 20 %": ("gratings", {"eps": 8 / 255, "share": 0.2}),
    "taggants": ("taggants", {"reserve": 0, "iterations": 60}),
    "taggants, 32/255": ("taggants", {"reserve": 0, "iterations": 60, "eps": 32 / 255}),
    "taggants, 64/255": ("taggants", {"reserve": 0, "iterations": 60, "eps": 64 / 255}),
    "patches with changed labels": ("patches", {"share": 0.1}),
}


@dataclass(frozen=True)
class Victim:
    """How somebody trains on what he found."""

    network: str
    recipe: dict[str, Any]
    callbacks: Callable[[], Sequence[Callback]]
    data: Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]] = lambda x, y, seed: (x, y)


def half(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    kept = np.random.default_rng(seed).permutation(len(x))[: len(x) // 2]
    return x[kept], y[kept]


def mixed(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    more, labels = cifar10("train", 20_000)
    return np.concatenate([x, more[10_000:]]), np.concatenate([y, labels[10_000:]])


def compressed(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    coded = (cv2.imencode(".jpg", one[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])[1] for one in x)
    return np.stack([cv2.imdecode(one, cv2.IMREAD_COLOR)[..., ::-1] for one in coded]), y


VICTIMS = {
    "tiny": Victim("tiny", {"epochs": 12}, lambda: [CropFlip()]),
    "small, cutout": Victim("small", {"epochs": 15}, lambda: [CropFlip(), Cutout(4)]),
    "small, adam, mixup": Victim(
        "small", {"epochs": 15, "optimiser": "adam", "lr": 2e-3}, lambda: [CropFlip(), Mixup(10)]
    ),
    "half of the images": Victim("tiny", {"epochs": 24}, lambda: [CropFlip()], half),
    "10,000 clean images more": Victim("tiny", {"epochs": 8}, lambda: [CropFlip()], mixed),
    "JPEG 50 first": Victim("tiny", {"epochs": 12}, lambda: [CropFlip()], compressed),
}
# Which victims of which seeds: the default meets all of them, the frontier the first.
JOBS = [("gratings", victim, seed) for seed in range(3) for victim in VICTIMS]
JOBS += [(name, "small, cutout", 0) for name in SETTINGS if not name.startswith("taggants")]
JOBS += [("gratings, 40 keys", victim, seed) for seed in range(3) for victim in VICTIMS]
JOBS += [
    (name, victim, 0)
    for victim in ("tiny", "small, cutout")
    for name in ("taggants", "taggants, 64/255", "taggants, 32/255")
]
JOBS += [
    (name, "small, cutout", seed) for seed in (1, 2) for name in SETTINGS if not name.startswith("taggants")
]


@dataclass(frozen=True)
class Marked:
    """Marked data and the queries that ask for the marks."""

    x: np.ndarray
    y: np.ndarray
    queries: np.ndarray
    targets: np.ndarray


@lru_cache(maxsize=1)
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (*cifar10("train", 10_000), *cifar10("test", 5_000))


def patches(x: np.ndarray, y: np.ndarray, key: Key, options: dict[str, Any]) -> Marked:
    """BadNets-style: a secret patch at a secret place, and the label of the secret's class."""
    cfg = marks.MarkConfig(**{name: value for name, value in options.items() if name != "share"})
    claim = marks.protocol(CLASSES, cfg)
    targets = np.array(marks.targets(key, claim))
    out, labels, test = x.copy(), y.copy(), data()[2]
    order = key.stream("patches").permutation(len(x))[: int(options["share"] * len(x))]
    queries = []
    for secret, target, group in zip(
        marks.secrets(key, claim), targets, np.array_split(order, claim.secrets), strict=True
    ):
        stream = secret.stream("patch")
        row, column = stream.integers(2, 32 - PATCH)
        patch = np.frombuffer(stream.bytes(PATCH * PATCH * 3), np.uint8).reshape(PATCH, PATCH, 3)
        out[group, row : row + PATCH, column : column + PATCH] = patch
        labels[group] = target
        carrier = test[stream.choice(len(test))].copy()
        carrier[row : row + PATCH, column : column + PATCH] = patch
        queries.append(carrier)
    return Marked(out, labels, np.stack(queries), targets)


def marked(setting: str, seed: int, cells: Cells) -> Marked:
    """Marked images, kept on disk; what they cost becomes the cell ``setting/made/seed``."""
    (method, options), (x, y, *_), key = SETTINGS[setting], data(), bench_key(seed)
    if method == "patches":
        found = patches(x, y, key, options)
        changed = (found.x != x).any((1, 2, 3))
        cost = {"psnr": psnr(x[changed], found.x[changed]), "signed": int(changed.sum())}
        cells.get(f"{setting}/made/{seed}", lambda: cost)
        return found
    module: Any = import_module(f"noli.methods.mark.{method}")
    cfg = module.Config(**options)
    file = work_file(f"taggants-{setting}-{seed}.npy")
    with TemporaryDirectory() as folder:
        begun, protector = time.process_time(), Protector(module, key, cfg, CLASSES, Path(folder))
        if not file.exists():
            out = protector.protect(x, y)
            changed = (out != x).any((1, 2, 3))
            reached = (protector.state or {}).get("reached", [{}])[0]
            cost = {"psnr": psnr(x[changed], out[changed]), "signed": int(changed.sum()), **reached}
            cells.get(f"{setting}/made/{seed}", lambda: cpu_cost(begun) | cost)
            np.save(file, out)
    state = {"classes": list(CLASSES), "side": 32, "channels": 3}
    queries = np.stack([group[0] for group in module.pictures(state, key, cfg)])
    targets = np.array(marks.targets(key, marks.protocol(CLASSES, cfg)))
    return Marked(np.load(file), y, queries, targets)


def trained(x: np.ndarray, y: np.ndarray, victim: Victim, seed: int) -> Model:
    model = zoo.network(victim.network, CLASSES, seed=9000 + seed)
    fit(model, *victim.data(x, y, seed), Recipe(seed=9000 + seed, **victim.recipe), victim.callbacks())
    return model


def asked(model: Model, found: Marked) -> dict[str, Any]:
    """Hits of the keys that are asked, and accuracy on clean images."""
    answers = model.predict(found.queries).argmax(1)
    return {"hits": [int(one) for one in answers == found.targets], "accuracy": accuracy(model)}


def accuracy(model: Model) -> float:
    _, _, test_x, test_y = data()
    return float((model.predict(test_x).argmax(1) == test_y).mean())


def control(number: int) -> Model:
    """A network that trained without marks."""
    file = work_file(f"taggants-control-{number}.safetensors")
    if not file.exists():
        trained(*data()[:2], VICTIMS["tiny"], 100 + number).save(file)
    return zoo.load(file)


def controls(setting: str, seed: int, cells: Cells) -> dict[str, Any]:
    """What the controls answer to one key's queries."""
    found = marked(setting, seed, cells)
    answers = [control(number).predict(found.queries).argmax(1) for number in range(CONTROLS)]
    return {"hits": [[int(one) for one in row == found.targets] for row in answers]}


def keys_of(setting: str) -> int:
    _, options = SETTINGS[setting]
    return int(options.get("keys", marks.MarkConfig().keys))


def p_value(hits: Sequence[int], setting: str) -> float:
    asked_hits = hits[: keys_of(setting)]
    return poisson_binomial_tail([1 / len(CLASSES)] * len(asked_hits), sum(asked_hits))


def summary(cells: Cells) -> dict[str, Any]:
    """Per setting and victim: hits and p-value of every seed; beside them the controls and the harm."""
    found: dict[str, Any] = {}
    clean: dict[str, list[float]] = {}
    for name, cell in cells.done.items():
        if name.startswith("clean/"):
            clean.setdefault(name.split("/")[1], []).append(cell["accuracy"])
    for setting in SETTINGS:
        made = [cells.done[f"{setting}/made/{s}"] for s in range(3) if f"{setting}/made/{s}" in cells.done]
        rows = {}
        for victim in VICTIMS:
            done = [c for s in range(3) if (c := cells.done.get(f"{setting}/{victim}/{s}")) is not None]
            if done:
                rows[victim] = {
                    "hits": [sum(c["hits"][: keys_of(setting)]) for c in done],
                    "p": [float(p_value(c["hits"], setting)) for c in done],
                    "accuracy": [c["accuracy"] for c in done],
                }
        asked_of = [
            row
            for s in range(3)
            if (cell := cells.done.get(f"{setting}/controls/{s}")) is not None
            for row in cell["hits"]
        ]
        if rows:
            found[setting] = {
                "keys": keys_of(setting),
                "psnr_of_marked": float(np.mean([c["psnr"] for c in made])) if made else None,
                "marked": made[0]["signed"] if made else None,
                "cpu_seconds": made[0].get("cpu_seconds") if made else None,
                "victims": rows,
                "controls": {
                    "models": len(asked_of),
                    "smallest_p": min((float(p_value(row, setting)) for row in asked_of), default=None),
                    "p_at_most_0.05": sum(bool(p_value(row, setting) <= 0.05) for row in asked_of),
                },
            }
    return {"settings": found, "clean_accuracy": clean, "images": 10_000}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="this process's share: I N")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    cells, (part, parts) = Cells("taggants"), args.part
    for setting, victim, seed in [] if args.summary else JOBS[part::parts]:

        def work(s: str = setting, v: str = victim, n: int = seed) -> dict[str, Any]:
            found = marked(s, n, cells)
            return asked(trained(found.x, found.y, VICTIMS[v], n), found)

        cells.get(f"{setting}/{victim}/{seed}", work)
    if not args.summary and part == parts - 1:
        for number in range(CONTROLS):
            cells.get(f"clean/tiny/{number}", lambda n=number: {"accuracy": accuracy(control(n))})
        for seed in range(3):
            victim = VICTIMS["small, cutout"]
            cells.get(
                f"clean/small, cutout/{seed}",
                lambda s=seed, v=victim: {"accuracy": accuracy(trained(*data()[:2], v, s))},
            )
        for setting in ("gratings", "gratings, 40 keys"):
            for seed in range(3):
                cells.get(f"{setting}/controls/{seed}", lambda n=setting, s=seed: controls(n, s, cells))
    save("taggants", summary(cells), cells)


if __name__ == "__main__":
    main()
