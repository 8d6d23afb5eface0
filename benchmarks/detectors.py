"""Locked detectors: what the key is worth, on blood cells and raccoons, and FastestDet on photographs.

    python benchmarks/detectors.py                 all cells (about 50 minutes of CPU time)
    python benchmarks/detectors.py --only NAME     the cells of this setting, or of several
    python benchmarks/detectors.py --summary       only summarise the finished cells

A small detector at 192 pixels; a fifth of the pictures only tests. A seed is a key; of the unprotected one, a
start of the training. mAP with the key, without it, with 20 other keys, and with a number of wrong places;
and what thieves reach with 5 to 100 pictures with boxes.
The data lie in bccd.zip and raccoon.zip. FastestDet's public weights are converted once; there are no boxes
for them here, so its answers on four photographs are compared. Cells lie in results/detectors.jsonl.
"""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import torch
from skimage import data as photographs

from common import DATA, Cells, arguments, bench_key, cpu_cost, save, work_file
from noli.core.model import evaluating
from noli.core.theft import BOXED, SHARES
from noli.data.annotations import read_boxes
from noli.methods.lock import detector as method
from noli.train.detecting import RECIPE, packed, precision, train_detector
from noli.train.detector_target import DetectorLock
from noli.train.picking import Effort, pick
from noli.zoo.detector import Detector, detector, import_fastestdet, load_detector
from noli.zoo.fastestdet import COCO, SIDE
from noli.zoo.locked_detector import fold_detector

SETS: dict[str, dict[str, Any]] = {
    "bccd": {"stride": 8, "epochs": 40},
    "raccoon": {"stride": 16, "epochs": 100},
}
ONE, THREE = ("body.3",), ("body.1", "body.3", "body.5")
LOCKS: dict[str, dict[str, Any]] = {
    "unprotected": {},
    "folded cp": {"transform": "cp", "layers": ONE},
    "folded np": {"transform": "np", "layers": ONE},
    "folded both": {"transform": "both", "layers": ONE},
    "folded cp, three layers": {"transform": "cp", "layers": THREE},
    "folded np, three layers": {"transform": "np", "layers": THREE},
    "folded both, three layers": {"transform": "both", "layers": THREE},
    "paper cp": {"mode": "paper", "transform": "cp", "layers": ONE},
    "paper np": {"mode": "paper", "transform": "np", "negation": "max", "layers": ONE},
    "paper pp": {"mode": "paper", "transform": "pp", "layers": ONE},
}
PHOTOS = {"chelsea": "cat", "motorcycle": "motorbike", "coffee": "cup", "astronaut": "person"}
EACH = "each layer"
# What thieves reach with pictures that have boxes, and whether they also search for the key.
THIEVES = {"thief, folded cp": True, "thief, folded both, three layers": False}
SETTINGS = [f"{data}, {lock}" for data in SETS for lock in (*LOCKS, EACH, *THIEVES)] + [
    "fastestdet, folded cp"
]
Halves = tuple[tuple[str, ...], np.ndarray, torch.Tensor, np.ndarray, torch.Tensor]


def halves(name: str, cfg: method.Config) -> Halves:
    """Class names; pictures and boxes for training; pictures and boxes for the test."""
    file = DATA / f"{name}.zip"
    if not file.exists():
        raise SystemExit(f"not available: {file} (set NOLI_BENCH_DATA)")
    found = read_boxes(file, cfg.side)
    boxes = packed(found.boxes, found.labels)
    seen, held = found.split(cfg.held_out)
    return found.classes, found.images[seen], boxes[seen], found.images[held], boxes[held]


def unprotected(name: str, cfg: method.Config, seed: int) -> Detector:
    """The detector without a lock, trained once per start."""
    file = work_file(f"detector-{name}-{seed}.safetensors")
    if not file.exists():
        names, x, boxes, _, _ = halves(name, cfg)
        model = detector(names, seed=seed, stride=cfg.stride)
        train_detector(model, x, boxes, RECIPE.model_copy(update={"epochs": cfg.epochs, "seed": seed}))
        model.save(file)
    return load_detector(file).eval()


def cell(setting: str, seed: int) -> dict[str, Any]:
    """Lock with one key and measure."""
    name, _, lock = setting.partition(", ")
    if name == "fastestdet":
        return photographed(seed)
    if lock == EACH:
        return by_layer(name, seed)
    if lock in THIEVES:
        return stolen(name, lock, seed)
    cfg, begun = method.Config(**SETS[name], **LOCKS[lock]), time.process_time()
    names, x, boxes, test_x, test_boxes = halves(name, cfg)
    if lock == "unprotected":
        model = unprotected(name, cfg, seed)
        found = precision(model, test_x, test_boxes, len(names))
        by_class = dict(zip(names, found.of_class, strict=True))
        cost = cpu_cost(begun)
        return {"map50": {"plain": found.at_half}, "map": {"plain": found.coco}, "classes": by_class, **cost}
    base = unprotected(name, cfg, 0)
    locked = method.transform(base, x, boxes, bench_key(seed), cfg)
    cost = cpu_cost(begun)
    return {**method.matrix(locked, base, bench_key(seed), test_x, test_boxes, cfg), **cost}


def stolen(name: str, lock: str, seed: int) -> dict[str, Any]:
    """Pick a lock with 5 to 100 pictures with boxes, of those that the detector has learned from."""
    more = {"thief_pictures": 100, **LOCKS[lock.removeprefix("thief, ")]}
    cfg, begun, key = method.Config(**SETS[name], **more), time.process_time(), bench_key(seed)
    _, x, boxes, test_x, test_boxes = halves(name, cfg)
    locked = method.transform(unprotected(name, cfg, 0), x, boxes, key, cfg)
    effort = Effort(method.PICTURES_OF_THIEVES, (20,) if THIEVES[lock] else (), 20, 2 * cfg.epochs)
    found = pick(DetectorLock(locked, key), (x, boxes), (test_x, test_boxes), effort, unit=BOXED)
    needed = {f"{share:.0%}": found.needed(share) for share in SHARES}
    return {"theft": found.model_dump(mode="json"), "needed": needed, **cpu_cost(begun)}


def by_layer(name: str, seed: int) -> dict[str, Any]:
    """One layer locked by folding, every one of them in turn: mAP@0.5 without the key and with 20 others."""
    cfg = method.Config(**SETS[name])
    names, _, _, x, boxes = halves(name, cfg)
    base, found = unprotected(name, cfg, 0), dict[str, dict[str, float]]()
    for form in ("cp", "np"):
        for layer in [f"body.{number}" for number in range(6)]:
            locked = fold_detector(
                base, [layer], bench_key(seed), torch.zeros(1, 3, cfg.side, cfg.side), form
            )
            guesses = [locked.lock.turns(bench_key(1000 + number)) for number in range(cfg.wrong_keys)]
            models = [locked.stolen, *map(locked.guessed, guesses)]
            none, *wrong = [precision(model, x, boxes, len(names)).at_half for model in models]
            told = {"no key": none, "wrong keys": float(np.mean(wrong)), "worst wrong key": max(wrong)}
            found[f"{form} {layer}"] = told
    return {"layers": found}


def photographed(seed: int) -> dict[str, Any]:
    """Lock FastestDet and compare its surest answers on photographs."""
    file = work_file("fastestdet.safetensors")
    if not file.exists():
        source = DATA / "weights" / "fastestdet_coco80.pth"
        if not source.exists():
            raise SystemExit(f"not available: {source} (set NOLI_BENCH_DATA)")
        import_fastestdet(source).save(file)
    model = load_detector(file).eval()
    x = np.stack([resized(photograph(name)) for name in PHOTOS])
    begun = time.perf_counter()
    locked = fold_detector(model, ["SPP"], bench_key(seed), torch.zeros(1, 3, SIDE, SIDE))
    seconds = time.perf_counter() - begun
    opened, raw = locked.opened(bench_key(seed)), model.predict(x)
    gaps = [float(np.abs(one.predict(x) - raw).max()) for one in (opened, locked.stolen)]
    answers = {name: surest(one, x) for name, one in
               (("plain", model), ("key", opened), ("no key", locked.stolen))}  # fmt: skip
    return {"lock_seconds": seconds, "gap with key": gaps[0], "gap without": gaps[1], "answers": answers}


def photograph(name: str) -> np.ndarray:
    return photographs.stereo_motorcycle()[0] if name == "motorcycle" else getattr(photographs, name)()


def resized(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image[..., :3], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def surest(model: Detector, x: np.ndarray) -> dict[str, Any]:
    """Class and score of the surest finding on every photograph."""
    with evaluating(model):
        found = model.detect(x, least=0.01)
    return {
        name: [COCO[one.labels[0]], round(float(one.scores[0]), 3)] if len(one.labels) else None
        for name, one in zip(PHOTOS, found, strict=True)
    }


def summary(cells: Cells) -> dict[str, Any]:
    """Mean, lowest and highest over the keys of every setting."""
    table: dict[str, Any] = {}
    for setting in SETTINGS:
        done = [one for name, one in cells.done.items() if name.startswith(f"{setting}/")]
        for measure in ("map50", "map", "displaced"):
            for row in dict.fromkeys(row for one in done for row in one.get(measure, {})):
                values = [one[measure][row] for one in done]
                spread = {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
                table.setdefault(setting, {}).setdefault(measure, {})[row] = spread
        if done:
            table.setdefault(setting, {})["keys"] = len(done)
            costs = [one["cpu_seconds"] for one in done if "cpu_seconds" in one]
            table[setting] |= {"cpu_seconds": float(np.median(costs))} if costs else {}
        if done and "layers" in done[0]:
            table[setting]["layers"] = done[0]["layers"]
        if done and "theft" in done[0]:
            table[setting] |= {
                "theft": [one["theft"] for one in done],
                "needed": [one["needed"] for one in done],
            }
        if done and "answers" in done[0]:
            table[setting] |= {name: done[0][name] for name in done[0] if name not in ("cell", "on")}
    return {"settings": table, "side": method.Config().side, "wrong_keys": method.Config().wrong_keys}


def main() -> None:
    args, cells = arguments(SETTINGS, [], range(3)).parse_args(), Cells("detectors")
    jobs = [(setting, seed) for seed in args.seeds for setting in args.only]
    if not args.summary:
        for setting, seed in jobs[args.part[0] :: args.part[1]]:
            cells.get(f"{setting}/{seed}", lambda job=(setting, seed): cell(*job))  # type: ignore[misc]
    save("detectors", summary(cells), cells)


if __name__ == "__main__":
    main()
