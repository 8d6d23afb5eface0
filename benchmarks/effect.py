"""What protected CIFAR-10 still teaches: data variants x countermeasures x seeds.

    python benchmarks/effect.py subset            10,000 training images, the whole standard battery, 3 seeds
    python benchmarks/effect.py full              all 50,000 images (weeks on two cores, 1-2 hours on an H100)
    python benchmarks/effect.py long              the 10,000, the `tiny` network and four times the passes
    python benchmarks/effect.py subset --seeds 1  only the first seed

Every seed has a key of its own, so that the spread covers keys and trainings (the weave keys 2 to 4, the
others keys 0 to 2). Two kinds of controls: noise,
and the very same protection with one filter for all classes, which shows what the filters cost when they do
not tell the classes apart. Finished cells lie in results/effect_*.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from typing import Any

import numpy as np

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.methods.protect import cuda, weave
from noli.methods.verify.battery import REFERENCE, LearnabilityData, Measure, Trainer, table
from noli.methods.verify.config import Config
from noli.methods.verify.rows import summarise

STANDARD = Config(battery="standard")
LONG = STANDARD.model_copy(update={"network": "tiny", "epochs": 4 * STANDARD.epochs})
# Training and test images, None for all; how long which network is trained.
SIZES = {"subset": (10_000, 5_000, STANDARD), "full": (None, None, STANDARD), "long": (10_000, 5_000, LONG)}
MODES = {"paper CUDA": cuda.Config(mode="paper"), "keyed CUDA": cuda.Config()}
NOISE = "random noise 8/255"
CONTROLS = (NOISE, *(f"{mode}, one filter for all" for mode in MODES))
MAIN = ("clean", *MODES, "weave")
VARIANTS = (*MAIN, *CONTROLS)
MOST = 10  # seeds of a row


def variant(name: str, seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Training images of one variant."""
    if name == "clean":
        return x
    if name == NOISE:
        noise = np.random.default_rng(seed).integers(-8, 9, x.shape)
        return np.clip(x + noise, 0, 255).astype(np.uint8)
    if name == "weave":  # keys 0 and 1 took part in the choice of its defaults
        return protect_arrays(x, y, bench_key(seed + 2), weave.Config(), weave)
    mode, universal, _ = name.partition(", one filter")
    return protect_arrays(x, np.zeros_like(y) if universal else y, bench_key(seed), MODES[mode])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("size", nargs="?", default="subset", choices=list(SIZES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="this process's share: I N")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=VARIANTS, help="these variants")
    parser.add_argument(
        "--rows", nargs="+", help="only these rows", choices=[m.name for m in table(STANDARD)]
    )
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    seeds, (part, parts), (train, test, cfg) = args.seeds, args.part, SIZES[args.size]
    x, y = cifar10("train", train)
    test_x, test_y = cifar10("test", test)
    cells, rows = Cells(f"effect_{args.size}"), [m for m in table(STANDARD) if not m.share]

    @lru_cache(maxsize=2)
    def trainer(name: str, seed: int) -> Trainer:
        made = variant(name, seed, x, y)
        return Trainer(LearnabilityData(x, made, y, y, test_x, test_y, CLASSES), cfg)

    names = args.only
    jobs = [
        (s, n, r) for s in range(seeds) for n in names for r in rows if not (r.leaked and n not in MAIN[1:])
    ]
    jobs = [job for job in jobs if not args.rows or job[2].name in args.rows]
    # An unfinished table is of most use with its reference rows complete.
    jobs.sort(key=lambda job: (job[2].name != REFERENCE, job[0], job[1] in CONTROLS))
    # Whole variants per process: making one takes as long as a training on a GPU.
    jobs = [job for job in jobs if (job[0] * len(names) + names.index(job[1])) % parts == part]
    for seed, name, row in [] if args.summary else jobs:
        cells.get(
            f"{name}/{row.name}/{seed}", lambda s=seed, n=name, r=row: trainer(n, s).run(r, "protected", s)
        )
    if parts == 1:
        found = {name: one for name in VARIANTS if (one := summarised(name, rows, cells))["rows"]}
        for name in [name for name in VARIANTS[1:] if name in found]:
            found[name]["psnr"] = np.mean([psnr(x, variant(name, s, x, y)) for s in range(seeds)])
        clean = found["clean"]["rows"][REFERENCE]["low"]
        body = {
            "variants": found,
            "bound": 1 / len(CLASSES) + STANDARD.bound * (clean - 1 / len(CLASSES)),
            "training_images": len(x),
            "test_images": len(test_x),
        }
        save(f"effect_{args.size}", body, cells)


def summarised(name: str, rows: list[Measure], cells: Cells) -> dict[str, Any]:
    """Mean over all finished seeds with interval per row of one variant, and the row with the highest."""
    found = {}
    for row in rows:
        done = [cells.done[c] for s in range(MOST) if (c := f"{name}/{row.name}/{s}") in cells.done]
        if done:
            result = summarise(row, done, 0.95)
            found[row.name] = result.model_dump(include={"level", "value", "low", "high", "values"})
            if "leak_gain_db" in result.detail:
                found[row.name]["leak_gain_db"] = result.detail["leak_gain_db"]
    return {"rows": found, "worst": max(found, key=lambda r: found[r]["value"], default=None)}


if __name__ == "__main__":
    main()
