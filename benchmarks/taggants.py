"""Marks with secret classes: who is found, at what price, and who is accused falsely.

    python benchmarks/taggants.py                 all cells (about three hours of CPU time)
    python benchmarks/taggants.py --part 0 2      this process's share of the cells
    python benchmarks/taggants.py --only NAME     the cells of this setting, or of several
    python benchmarks/taggants.py --summary       only summarise the finished cells

10,000 images of CIFAR-10 are marked; a seed is a key and a training. Fresh victims train on them, some in
other ways than the rest (another network, optimiser or augmentation; half of the images; 10,000 clean ones
beside them; images compressed first), and answer the secret queries by their first class alone. `tiny` is
the surrogate of taggants, so that its victims called `tiny` share the architecture, not the weights. Controls
are 20 networks that trained on the images without marks, asked the same queries. Two peers: BadNets-style
marks, secret patches on images whose labels are changed; and radioactive data (radioactive.py), for which
`tiny` is the marking network too, and whose test asks nothing but takes the victim's weights. Cells lie in
results/taggants.jsonl; delete a line to measure it again. Marked images, marking and control networks wait in
benchmarks/work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

import radioactive
from common import CLASSES, Cells, Protector, bench_key, cifar10, cpu_cost, psnr, save, work_file
from noli import zoo
from noli.core.key import Key
from noli.core.model import Model
from noli.ops.exact import poisson_binomial_tail
from noli.proof import marks
from noli.train.callbacks import CropFlip, Cutout, Mixup
from noli.train.fit import Callback, fit
from noli.train.recipe import Recipe

CONTROLS = 20
PATCH = 5
# Measured while a mark had a fifth of its secrets that no test asked: of 25, the first 20 count, of 50, 40.
ASKED = {25: 20, 50: 40}
# Name -> method and options; the first is the default but for that.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gratings": ("gratings", {"keys": 25}),
    "gratings, 40 keys": ("gratings", {"keys": 50}),
    "gratings, 40 keys, 20 %": ("gratings", {"share": 0.2, "keys": 50}),
    "gratings, 5 %": ("gratings", {"share": 0.05, "keys": 25}),
    "gratings, 11/255": ("gratings", {"eps": 11 / 255, "keys": 25}),
    "gratings, 8/255": ("gratings", {"eps": 8 / 255, "keys": 25}),
    "gratings, 8/255, 20 %": ("gratings", {"eps": 8 / 255, "share": 0.2, "keys": 25}),
    "taggants": ("taggants", {"iterations": 60}),
    "taggants, 32/255": ("taggants", {"iterations": 60, "eps": 32 / 255}),
    "taggants, 64/255": ("taggants", {"iterations": 60, "eps": 64 / 255}),
    "patches with changed labels": ("patches", {"share": 0.1, "keys": 25}),
    "patches with changed labels, 20 %": ("patches", {"share": 0.2, "keys": 25}),
    "radioactive": ("radioactive", {"share": 0.1}),
    # Longer steps make it as visible as gratings: about 24 dB.
    "radioactive, 30/255": ("radioactive", {"share": 0.1, "eps": 30 / 255, "step": 1.5 / 255}),
}
RADIOACTIVE = [name for name, (method, _) in SETTINGS.items() if method == "radioactive"]
MATCHED = ["taggants", "taggants, 64/255"]
CONTROLLED = ["gratings", "gratings, 40 keys", *MATCHED, *RADIOACTIVE]


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
    return np.stack([np.asarray(cv2.imdecode(one, cv2.IMREAD_COLOR))[..., ::-1] for one in coded]), y


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
# Which victims of which seeds: defaults meet all of them, the frontier the first.
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
JOBS += [(name, "tiny", seed) for seed in range(3) for name in RADIOACTIVE]
JOBS += [(name, victim, seed) for seed in range(3) for name in MATCHED for victim in VICTIMS]

Said = dict[str, Any]


@dataclass(frozen=True)
class Marked:
    """Marked data, and what a network says about the marks."""

    x: np.ndarray
    y: np.ndarray
    says: Callable[[Model], Said]


def queried(queries: np.ndarray, targets: np.ndarray) -> Callable[[Model], Said]:
    """Ask every query: hits are first classes as the secrets have them."""

    def says(model: Model) -> Said:
        return {"hits": [int(one) for one in model.predict(queries).argmax(1) == targets]}

    return says


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
    return Marked(out, labels, queried(np.stack(queries), targets))


def pulled(setting: str, seed: int, options: dict[str, Any], cells: Cells) -> Marked:
    """Radioactive data; what they cost is without the training of the marking network."""
    (x, y, held_out, _), key = data(), bench_key(seed)
    marker = unmarked(f"marker-{seed}", 200 + seed)
    how = radioactive.Marking(**{name: value for name, value in options.items() if name != "share"})
    rows = radioactive.chosen(key, y, options["share"])
    along = radioactive.directions(key, len(CLASSES), radioactive.head(marker).shape[1])
    file = work_file(f"taggants-{setting}-{seed}.npy")
    if not file.exists():
        begun, out = time.process_time(), x.copy()
        generator = torch.Generator().manual_seed(seed)
        out[rows] = radioactive.mark(marker, x[rows], along[y[rows]], how, generator)
        cost = cpu_cost(begun) | {"psnr": psnr(x[rows], out[rows]), "signed": len(rows)}
        cells.get(f"{setting}/made/{seed}", lambda: cost)
        np.save(file, out)
    changed, anchor = np.load(file), radioactive.features(marker, held_out)

    def says(model: Model) -> Said:
        p, cosines = radioactive.white_box(model, anchor, along, held_out)
        gap = radioactive.black_box(model, x[rows], changed[rows], y[rows])
        return {"p": p, "cosines": cosines.tolist(), "loss_gap": gap}

    return Marked(changed, y, says)


def marked(setting: str, seed: int, cells: Cells) -> Marked:
    """Marked images, kept on disk; what they cost becomes the cell ``setting/made/seed``."""
    (method, options), (x, y, *_), key = SETTINGS[setting], data(), bench_key(seed)
    if method == "patches":
        found = patches(x, y, key, options)
        changed = (found.x != x).any((1, 2, 3))
        cost = {"psnr": psnr(x[changed], found.x[changed]), "signed": int(changed.sum())}
        cells.get(f"{setting}/made/{seed}", lambda: cost)
        return found
    if method == "radioactive":
        return pulled(setting, seed, options, cells)
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
    return Marked(np.load(file), y, queried(queries, targets))


def trained(x: np.ndarray, y: np.ndarray, victim: Victim, seed: int) -> Model:
    model = zoo.network(victim.network, CLASSES, seed=9000 + seed)
    fit(model, *victim.data(x, y, seed), Recipe(seed=9000 + seed, **victim.recipe), victim.callbacks())
    return model


def accuracy(model: Model) -> float:
    """Accuracy on clean images."""
    _, _, test_x, test_y = data()
    return float((model.predict(test_x).argmax(1) == test_y).mean())


def unmarked(name: str, seed: int) -> Model:
    """A network that trained without marks, kept on disk."""
    file = work_file(f"taggants-{name}.safetensors")
    if not file.exists():
        trained(*data()[:2], VICTIMS["tiny"], seed).save(file)
    return zoo.load(file)


def control(number: int) -> Model:
    return unmarked(f"control-{number}", 100 + number)


def controls(setting: str, seed: int, cells: Cells) -> Said:
    """What the controls say about one key's marks, a list of all of them for every name that a victim has."""
    found = marked(setting, seed, cells)
    said = [found.says(control(number)) for number in range(CONTROLS)]
    return {name: [one[name] for one in said] for name in said[0]}


def keys_of(setting: str) -> int:
    """Secrets that the test is about; radioactive data have one per class."""
    method, options = SETTINGS[setting]
    made = int(options.get("keys", marks.MarkConfig().keys))
    return len(CLASSES) if method == "radioactive" else ASKED.get(made, made)


def p_value(said: Said, setting: str) -> float:
    if "p" in said:
        return float(said["p"])
    asked_hits = said["hits"][: keys_of(setting)]
    return float(poisson_binomial_tail([1 / len(CLASSES)] * len(asked_hits), sum(asked_hits)))


def row_of(cells: Sequence[Said], setting: str) -> dict[str, Any]:
    """One kind of victim: what the seeds say."""
    found: dict[str, Any] = {
        "p": [p_value(cell, setting) for cell in cells],
        "accuracy": [cell["accuracy"] for cell in cells],
    }
    if setting in RADIOACTIVE:
        return found | {name: [cell[name] for cell in cells] for name in ("cosines", "loss_gap")}
    return found | {"hits": [sum(cell["hits"][: keys_of(setting)]) for cell in cells]}


def controls_row(cells: Sequence[Said], setting: str) -> dict[str, Any]:
    """The controls of all seeds."""
    name = "p" if setting in RADIOACTIVE else "hits"
    found = [p_value({name: one}, setting) for cell in cells for one in cell[name]]
    row = {
        "models": len(found),
        "smallest_p": min(found, default=None),
        "p_at_most_0.05": sum(p <= 0.05 for p in found),
    }
    gaps = [gap for cell in cells for gap in cell.get("loss_gap", [])]
    return row | ({"largest_loss_gap": max(gaps)} if gaps else {})


def summary(cells: Cells) -> dict[str, Any]:
    """Per setting and victim: what all seeds say, and p-values; beside them the controls and the harm."""
    found: dict[str, Any] = {}
    clean: dict[str, list[float]] = {}
    for name, cell in cells.done.items():
        if name.startswith("clean/"):
            clean.setdefault(name.split("/")[1], []).append(cell["accuracy"])

    def done(setting: str, row: str) -> list[Said]:
        return [cells.done[name] for s in range(3) if (name := f"{setting}/{row}/{s}") in cells.done]

    for setting in SETTINGS:
        made = done(setting, "made")
        rows = {victim: row_of(of, setting) for victim in VICTIMS if (of := done(setting, victim))}
        if rows:
            found[setting] = {
                "keys": keys_of(setting),
                "needs": "weights" if setting in RADIOACTIVE else "first class",
                "psnr_of_marked": float(np.mean([c["psnr"] for c in made])) if made else None,
                "marked": made[0]["signed"] if made else None,
                "cpu_seconds": made[0].get("cpu_seconds") if made else None,
                "victims": rows,
                "controls": controls_row(done(setting, "controls"), setting),
            }
    return {"settings": found, "clean_accuracy": clean, "images": 10_000}


def measure(cells: Cells, only: Sequence[str], part: int, parts: int) -> None:
    """Measure this process's share of the cells of some settings; the last process asks the controls."""
    for setting, victim, seed in [job for job in JOBS if job[0] in only][part::parts]:

        def work(s: str = setting, v: str = victim, n: int = seed) -> Said:
            found = marked(s, n, cells)
            model = trained(found.x, found.y, VICTIMS[v], n)
            return {**found.says(model), "accuracy": accuracy(model)}

        cells.get(f"{setting}/{victim}/{seed}", work)
    if part < parts - 1:
        return
    for number in range(CONTROLS):
        cells.get(f"clean/tiny/{number}", partial(plain, "tiny", number))
    for seed in range(3):
        cells.get(f"clean/small, cutout/{seed}", partial(plain, "small, cutout", seed))
    for setting in CONTROLLED:
        for seed in range(3) if setting in only else ():
            cells.get(f"{setting}/controls/{seed}", partial(controls, setting, seed, cells))


def plain(victim: str, number: int) -> dict[str, float]:
    """What a training without marks reaches; those of `tiny` are the controls."""
    model = control(number) if victim == "tiny" else trained(*data()[:2], VICTIMS[victim], number)
    return {"accuracy": accuracy(model)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="these settings")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="this process's share: I N")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args, cells = parser.parse_args(), Cells("taggants")
    if not args.summary:
        measure(cells, args.only, *args.part)
    save("taggants", summary(cells), cells)


if __name__ == "__main__":
    main()
