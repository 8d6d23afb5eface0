"""What protected CIFAR-10 still teaches: data variants x countermeasures x seeds.

    python benchmarks/effect.py subset            10,000 training images, the whole standard battery, 3 seeds
    python benchmarks/effect.py full              all 50,000 images, selected rows, 1 seed
    python benchmarks/effect.py subset --seeds 1  only the first seed

Resumable: finished cells lie in results/effect_subset.jsonl; delete a line to measure that cell again.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.core.images import cache_sized, to_float, to_uint8
from noli.methods.protect import cuda
from noli.methods.verify.battery import REFERENCE, LearnabilityData, Measure, Trainer, table
from noli.methods.verify.config import Config
from noli.methods.verify.rows import summarise
from noli.ops.filters import filter_batch

FULL_ROWS = ("crop+flip", "jpeg-10", "rsk+ff", "coin")
KEY = 0
CONTROLS = ("random noise 8/255", "one filter for all")


def variants(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Training sets by name; the two controls must stay near clean."""
    key = bench_key(KEY)
    noise = np.random.default_rng(0).integers(-8, 9, x.shape)
    return {
        "clean": x,
        "paper CUDA": protect_arrays(x, y, key, cuda.Config(mode="paper")),
        "keyed CUDA": protect_arrays(x, y, key, cuda.Config()),
        "random noise 8/255": np.clip(x + noise, 0, 255).astype(np.uint8),
        "one filter for all": one_filter(x),
    }


def one_filter(x: np.ndarray) -> np.ndarray:
    """Every image through the same unit-sum filter, whatever its class."""
    kernel = cuda.class_filter(bench_key(KEY), "universal", 0, 3, 0.3, False)[0]
    out = np.empty_like(x)
    for run in cache_sized(*x.shape):
        kernels = np.repeat(kernel[None] / kernel.sum(), run.stop - run.start, axis=0)
        out[run] = to_uint8(np.clip(filter_batch(to_float(x[run]), kernels), 0, 1))
    return out


def _urgency(name: str, row: str) -> int:
    """What says most is measured first, so that an unfinished table is of use."""
    if name in CONTROLS and row != REFERENCE:
        return 3
    if row in ("jpeg-30", "jpeg-75"):
        return 2
    return int(name == "clean")


def wanted(size: str, cfg: Config) -> list[Measure]:
    """Rows to measure; partial protection only where something is protected."""
    rows = [m for m in table(cfg) if not m.share]
    return rows if size == "subset" else [m for m in rows if m.name in FULL_ROWS]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("size", nargs="?", default="subset", choices=["subset", "full"])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="this process's share: I N")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    small = args.size == "subset"
    seeds, (part, parts) = args.seeds or (3 if small else 1), args.part
    cfg = Config(battery="standard")
    x, y = cifar10("train", 10_000 if small else None)
    test_x, test_y = cifar10("test", 5_000 if small else None)
    cells, sets, rows = Cells(f"effect_{args.size}"), variants(x, y), wanted(args.size, cfg)
    trainers = {
        name: Trainer(LearnabilityData(x, data, y, y, test_x, test_y, CLASSES), cfg)
        for name, data in sets.items()
    }
    jobs = [(s, r, n) for s in range(seeds) for n in sets for r in rows if not (r.leaked and n == "clean")]
    jobs.sort(key=lambda job: (job[0], _urgency(job[2], job[1].name)))
    for seed, row, name in [] if args.summary else jobs[part::parts]:
        cells.get(
            f"{name}/{row.name}/{seed}",
            lambda t=trainers[name], r=row, s=seed: t.run(r, "protected", s),
        )
    if parts == 1:
        summary = {name: summarised(name, rows, seeds, cells) for name in sets}
        for name, data in sets.items():
            summary[name]["psnr"] = None if name == "clean" else psnr(x, data)
        body = {"variants": summary, "training_images": len(x), "test_images": len(test_x), "key": KEY}
        save(f"effect_{args.size}", body)


def summarised(name: str, rows: list[Measure], seeds: int, cells: Cells) -> dict[str, Any]:
    """Mean over seeds with interval per row of one variant, and the row with the highest accuracy."""
    found = {}
    for row in rows:
        done = [cells.done[c] for s in range(seeds) if (c := f"{name}/{row.name}/{s}") in cells.done]
        if done:
            result = summarise(row, done, 0.95)
            found[row.name] = result.model_dump(include={"level", "value", "low", "high", "values"})
            if "leak_gain_db" in result.detail:
                found[row.name]["leak_gain_db"] = result.detail["leak_gain_db"]
    return {"rows": found, "worst": max(found, key=lambda r: found[r]["value"])}


if __name__ == "__main__":
    main()
