"""The weave against its parts: which settings hold against which countermeasures, at which quality.

    python benchmarks/combination.py                 all settings, selected rows, one key (hours)
    python benchmarks/combination.py --only weave-a  one of them
    python benchmarks/combination.py --summary       only summarise the finished cells

CIFAR-10, 10,000 training images. The ``tiny`` network keeps it feasible on processors without bf16: figures
compare settings here, not with tables of other networks. Cells lie in results/combination.jsonl; delete a
line to measure it again.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from typing import Any

import numpy as np

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.methods.protect import cuda, weave
from noli.methods.verify.battery import LearnabilityData, Trainer, table
from noli.methods.verify.config import Config
from noli.methods.verify.rows import summarise

NONE = {"jitter": 0.0, "colour_jitter": 0.0}
SETTINGS: dict[str, tuple[Any, Any]] = {
    "clean": (None, None),
    "cuda paper": (cuda, cuda.Config(mode="paper")),
    "cuda keyed": (cuda, cuda.Config()),
    "weave, no variation": (weave, weave.Config(**NONE)),
    "weave, own taps": (weave, weave.Config(jitter=1.0, colour_jitter=0.0)),
    "weave, own taps and colours": (weave, weave.Config()),
    "weave, four codes": (weave, weave.Config(jitter=0.0, colour_jitter=0.0, codes=4)),
    "weave, gentle filters": (weave, weave.Config(gentle=0.5, **NONE)),
    "weave, 12/255": (weave, weave.Config(colour=12 / 255)),
}
ROWS = ("crop+flip", "rsk+ff", "coin", "grayscale", "jpeg-10", "adversarial", "leak-1-pair", "cutout+mixup")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=SETTINGS, help="only these settings")
    parser.add_argument("--rows", nargs="+", default=ROWS, help="only these rows")
    parser.add_argument("--keys", type=int, nargs="+", default=[0], help="numbers of the benchmark keys")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    cfg = Config(battery="standard", network="tiny")
    measures = {row.name: row for row in table(cfg)}
    x, y = cifar10("train", 10_000)
    test_x, test_y = cifar10("test", 5_000)
    cells = Cells("combination")

    @lru_cache(maxsize=1)
    def made(name: str, number: int) -> np.ndarray:
        method, config = SETTINGS[name]
        return x if method is None else protect_arrays(x, y, bench_key(number), config, method)

    def run(name: str, row: str, number: int) -> dict[str, Any]:
        data = LearnabilityData(x, made(name, number), y, y, test_x, test_y, CLASSES)
        return Trainer(data, cfg).run(measures[row], "protected", number)

    for number in [] if args.summary else args.keys:
        for name in args.only or SETTINGS:
            for row in args.rows:
                if not (name == "clean" and measures[row].leaked):
                    cells.get(f"{name}/{row}/{number}", lambda n=name, r=row, k=number: run(n, r, k))
    found = {name: rows for name in SETTINGS if (rows := summarised(name, measures, cells))}
    for name, setting in found.items():
        setting["psnr"] = psnr(x, made(name, 0))
    save("combination", {"settings": found, "training_images": len(x), "test_images": len(test_x)})


def summarised(name: str, measures: dict[str, Any], cells: Cells) -> dict[str, Any]:
    """Rows of one setting, and the one with the highest accuracy; empty when nothing is measured yet."""
    rows = {}
    for row, measure in measures.items():
        done = [cell for place, cell in cells.done.items() if place.startswith(f"{name}/{row}/")]
        if done:
            result = summarise(measure, done, 0.95)
            rows[row] = result.model_dump(include={"value", "low", "high", "values"})
    return {"rows": rows, "worst": max(rows, key=lambda row: rows[row]["value"])} if rows else {}


if __name__ == "__main__":
    main()
