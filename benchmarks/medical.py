"""SALM beside its rivals on medical images: what is still learned, how they look, who can read them.

    python benchmarks/medical.py                     chest X-rays and blood cells, the important cells first
    python benchmarks/medical.py --sets blood --only salm em --rows jpeg-10 --seeds 0 1 2
    python benchmarks/medical.py --minutes 75        begin no cell after so many minutes
    python benchmarks/medical.py --part 0 2          this process's share of the cells
    python benchmarks/medical.py --summary           only summarise the finished cells

The ``tiny`` network throughout, X-rays at 32 px (``chest-64``: as delivered, four times the work). A seed is
a key and a training. Cells lie in results/medical.jsonl; delete a line to measure it again. Protected images
and clean readers wait in benchmarks/work.

*Equal L-infinity*: SALM, EM and noise have 8/255 by construction; LSP's change is scaled down per image until
its largest value is 8 levels. Filters (CUDA, weave) have no such bound and are shown as they are. *Equal L2*:
the stored change of an image is scaled by one factor to the L2 norm that SALM's has on the same image with
the same key, then rounded; L2 as reached is in the table.

*Reader*: a network trained on clean images is asked about clean held-out images and about the same images
protected as new items of the run that protected the training set. Noise that was made with the true labels
may help a reader instead of hindering it: ``auc_other_labels`` is what it reads when the same images are
protected under the label of the next class.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from areas import auc_difference, macro_auc
from common import (
    Cells,
    Protector,
    arguments,
    bench_key,
    cpu_cost,
    made_options,
    psnr,
    save,
    summarised,
    work_file,
)
from leaderboard import BARE, captioned
from medical_sets import MedicalSet, blood, chest
from medical_signs import signs
from noli import zoo
from noli.core.model import Model
from noli.methods.verify.battery import LearnabilityData, Trainer, table
from noli.methods.verify.config import Config
from noli.ops.metrics import ssim

SETS: dict[str, Callable[[], MedicalSet]] = {
    "chest": lambda: chest(32), "blood": blood, "chest-64": lambda: chest(64),
}  # fmt: skip
TINY = {"network": "tiny"}
LEVELS = 8


class Setting(NamedTuple):
    """A protection: method, options, and what its change is scaled to."""

    method: str = ""
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    equal: str = ""


SETTINGS = {
    "clean": Setting(),
    "salm": Setting("salm", TINY),
    "em": Setting("em", TINY),
    "lsp": Setting("lsp", {}, "linf"),
    "em, L2 of salm": Setting("em", TINY, "l2"),
    "lsp, L2 of salm": Setting("lsp", {}, "l2"),
    "salm gradient-input": Setting("salm", TINY | {"mask": "gradient-input"}),
    "salm foreground": Setting("salm", TINY | {"mask": "foreground"}),
    "salm, masks kept": Setting("salm", TINY | {"refresh": 0}),
    "salm, 12 rounds": Setting("salm", TINY | {"stop": 0.0, "rounds": 12}),
    "salm, half the pixels": Setting("salm", TINY | {"ratio": 0.5}),
    "em class-wise": Setting("em", TINY | {"noise": "class"}),
    "em class-wise, L2 of salm": Setting("em", TINY | {"noise": "class"}, "l2"),
    "cuda keyed": Setting("cuda"),
    "cuda paper": Setting("cuda", {"mode": "paper"}),
    "weave": Setting("weave"),
    "weave, no variation": Setting("weave", BARE),
    "rem": Setting("rem", TINY),
    "sem": Setting("sem", TINY),
    "tap": Setting("tap", TINY),
    "ops": Setting("ops"),
    "ar": Setting("ar"),
    "uc": Setting("uc", {"encoder": "own", **TINY}),
    "t2ue": Setting("t2ue", {"prompts": "class", "generator": captioned}),
    "noise": Setting("noise"),
}
FIRST = ("clean", "salm", "em", "lsp")
ROWS = ("crop+flip", "reader", "jpeg-10", "grayscale", "rsk+ff", "coin", "op", "leak-1-pair",
        "masked-median", "window", "adversarial")  # fmt: skip


class Made(NamedTuple):
    """Protected training set, held-out set, and held-out set under the labels of the next class."""

    train: np.ndarray
    test: np.ndarray
    other: np.ndarray


class Bench:
    """The cells of one data set.

    Args:
        name: Data set.
        cells: Finished measurements.
    """

    def __init__(self, name: str, cells: Cells) -> None:
        self.name, self.cells, self.data = name, cells, SETS[name]()
        self.cfg = Config(battery="full", network="tiny")
        self.measures = {row.name: row for row in table(self.cfg)}
        self.made = lru_cache(maxsize=2)(self._made)

    def cell(self, name: str, row: str, seed: int) -> None:
        """Measure one cell unless it is there."""
        work = self.read if row == "reader" else lambda n, s: self.train(n, row, s)
        self.cells.get(f"{self.name}/{name}/{row}/{seed}", lambda: work(name, seed))

    def train(self, name: str, row: str, seed: int) -> dict[str, Any]:
        """Train on protected images under a countermeasure; accuracy and AUC on clean held-out ones."""
        d, is_reader = self.data, (name, row) == ("clean", "crop+flip")

        def look(model: Model, views: Any, labels: np.ndarray) -> dict[str, float]:
            if is_reader:
                model.save(self._reader_file(seed))
            return {f"auc_{form}": macro_auc(chances(model, view), labels) for form, view in views.items()}

        images = self.made(name, seed).train
        subject = LearnabilityData(d.x, images, d.y, d.y, d.test_x, d.test_y, d.classes)
        return Trainer(subject, self.cfg, look).run(self.measures[row], "protected", seed)

    def read(self, name: str, seed: int) -> dict[str, float]:
        """Ask a reader trained on clean images about clean and about protected held-out images."""
        if not self._reader_file(seed).exists():
            self.train("clean", "crop+flip", seed)
        model, d, made = zoo.load(self._reader_file(seed)), self.data, self.made(name, seed)
        clean, seen = chances(model, d.test_x), chances(model, made.test)
        difference, low, high = auc_difference(clean, seen, d.test_y)
        others = macro_auc(chances(model, made.other), d.test_y)
        return {"auc_clean": macro_auc(clean, d.test_y), "auc": macro_auc(seen, d.test_y),
                "difference": difference, "low": low, "high": high, "auc_other_labels": others}  # fmt: skip

    def _reader_file(self, seed: int) -> Path:
        return work_file(f"medical-{self.name}-reader-{seed}.safetensors")

    def _made(self, name: str, seed: int) -> Made:
        setting, d = SETTINGS[name], self.data
        plain = Made(d.x, d.test_x, d.test_x)
        if not setting.method:
            return plain
        images, cost = self.protected(setting, seed)
        if setting.equal == "linf":
            images = Made(*(equal_linf(x, z, LEVELS) for x, z in zip(plain, images, strict=True)))
        elif setting.equal == "l2":
            salm, _ = self.protected(SETTINGS["salm"], seed)
            images = Made(*(equal_l2(x, z, l2(x, s)) for x, z, s in zip(plain, images, salm, strict=True)))
        self.cells.get(f"{self.name}/{name}/made/{seed}", lambda: cost | quality(d.x, images.train))
        return images

    def protected(self, setting: Setting, seed: int) -> tuple[Made, dict[str, float]]:
        """Images as a method makes them, kept on disk, and what that cost."""
        names = {n: v.__name__ if callable(v) else v for n, v in setting.options.items()}
        options = "-".join(f"{name}={value}" for name, value in names.items())
        file = work_file(f"medical-{self.name}-{setting.method}-{options}-{seed}.npz")
        if not file.exists():
            images, cost = (noisy if setting.method == "noise" else protect)(self.data, setting, seed)
            np.savez(file, **images._asdict(), **{f"cost_{name}": value for name, value in cost.items()})
        with np.load(file) as kept:
            cost = {n.removeprefix("cost_"): float(kept[n]) for n in kept.files if n.startswith("cost_")}
            return Made(*(kept[name] for name in Made._fields)), cost


def protect(d: MedicalSet, setting: Setting, seed: int) -> tuple[Made, dict[str, float]]:
    """Protect the training set, then the held-out images as an extension of that run."""
    module: Any = import_module(f"noli.methods.protect.{setting.method}")
    with TemporaryDirectory() as folder:
        cfg = module.Config(**made_options(setting.options))
        run, begun = Protector(module, bench_key(seed), cfg, d.classes, Path(folder)), time.process_time()
        train = run.protect(d.x, d.y)
        cost = cpu_cost(begun)
        reached = (run.state or {}).get("reached", [{}])[0]
        cost |= {name: reached[name] for name in ("rounds", "error") if name in reached}
        test, other = (run.protect(d.test_x, y) for y in (d.test_y, (d.test_y + 1) % len(d.classes)))
    return Made(train, test, other), cost


def noisy(d: MedicalSet, setting: Setting, seed: int) -> tuple[Made, dict[str, float]]:
    """Uniform noise of at most 8 levels, which tells nothing about a class."""
    generator = np.random.default_rng(seed)
    parts = (x + generator.integers(-LEVELS, LEVELS + 1, x.shape) for x in (d.x, d.test_x, d.test_x))
    return Made(*(np.clip(part, 0, 255).astype(np.uint8) for part in parts)), {"cpu_seconds": 0.0}


def chances(model: Model, images: np.ndarray) -> np.ndarray:
    """Probabilities ``[N, K]``; in float64, so that sure ones are not all 1."""
    return softmax(model.predict(images).astype(np.float64), axis=1)


def change(x: np.ndarray, images: np.ndarray) -> np.ndarray:
    """What was done to images, in levels: ``float32 [N, H, W, C]``."""
    return images.astype(np.float32) - x


def l2(x: np.ndarray, images: np.ndarray) -> np.ndarray:
    """L2 norm of the change of every image, in [0, 1] units."""
    return np.linalg.norm(change(x, images).reshape(len(x), -1), axis=1) / 255


def scaled(x: np.ndarray, images: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply the change of every image by a factor, round and clip."""
    moved = x + change(x, images) * factors[:, None, None, None]
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def equal_linf(x: np.ndarray, images: np.ndarray, levels: int) -> np.ndarray:
    """Scale every image's change down until no value moves by more than `levels`."""
    largest = np.abs(change(x, images)).reshape(len(x), -1).max(1)
    return scaled(x, images, np.minimum(1, levels / np.maximum(largest, 1)))


def equal_l2(x: np.ndarray, images: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Scale every image's change to an L2 norm of its own, ``[N]`` in [0, 1] units."""
    return scaled(x, images, norms / np.maximum(l2(x, images), 1e-9))


def quality(x: np.ndarray, images: np.ndarray) -> dict[str, float]:
    """Means over images, the largest change of any: PSNR in dB, L2 in [0, 1] units, L-infinity in levels."""
    moved = np.abs(change(x, images))
    alike = [ssim(*pair) for pair in zip(x, images, strict=True)]
    return {"psnr": psnr(x, images), "ssim": float(np.mean(alike)), "l2": float(l2(x, images).mean()),
            "linf": float(moved.max()), "touched": float(moved.any(axis=3).mean())}  # fmt: skip


def urgency(job: tuple[str, str, str, int]) -> tuple[int, int]:
    """The important settings and rows with all seeds first, then everything else seed by seed."""
    _, name, row, seed = job
    important, first = name in FIRST, row in ROWS[:2]
    return (0 if important and first else 1 + 3 * seed + (0 if first else 1 if important else 2)), seed


def applies(name: str, row: str, channels: int) -> bool:
    """Whether a cell means anything: nothing leaks without protection, and grey has no grey version."""
    return not (name == "clean" and row in ("reader", "leak-1-pair")) and (row, channels) != ("grayscale", 1)


def main() -> None:
    parser = arguments(list(SETTINGS), ROWS, [0, 1, 2])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["chest", "blood"], help="these data sets")
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no cell after so many minutes")
    args = parser.parse_args()
    cells, (part, parts), begun = Cells("medical"), args.part, time.monotonic()
    bench = lru_cache(maxsize=None)(lambda name: Bench(name, cells))
    jobs = [(d, n, r, s) for d in args.sets for n in args.only for r in args.rows for s in args.seeds]
    jobs = sorted((j for j in jobs if applies(*j[1:3], bench(j[0]).data.x.shape[3])), key=urgency)
    for name, setting, row, seed in [] if args.summary else jobs[part::parts]:
        if time.monotonic() - begun < 60 * args.minutes:
            bench(name).cell(setting, row, seed)
    if parts == 1:
        found = [name for name in SETS if any(cell.startswith(f"{name}/") for cell in cells.done)]
        save("medical", {"sets": {name: results(bench(name)) for name in found}}, cells)


def results(bench: Bench) -> dict[str, Any]:
    """What was found on one data set, and which of the paper's signs."""
    found = {}
    for name in SETTINGS:
        rows = summarised(f"{bench.name}/{name}", bench.measures, bench.cells)
        if rows:
            found[name] = rows | readers(f"{bench.name}/{name}", bench.cells)
    return {
        "images": bench.data.counts(),
        "classes": bench.data.classes,
        "settings": found,
        "signs": signs(found),
    }


def readers(place: str, cells: Cells) -> dict[str, Any]:
    """The reader test over seeds: means, and an interval that holds those of all seeds."""
    done = [cell for name, cell in cells.done.items() if name.startswith(f"{place}/reader/")]
    if not done:
        return {}
    means = {
        n: float(np.mean([cell[n] for cell in done]))
        for n in done[0]
        if n not in ("cell", "on", "low", "high")
    }
    ends = {"low": min(cell["low"] for cell in done), "high": max(cell["high"] for cell in done)}
    return {"reader": {**means, **ends, "seeds": len(done)}}


if __name__ == "__main__":
    main()
