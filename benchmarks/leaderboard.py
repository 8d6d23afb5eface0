"""Every protection against every countermeasure: accuracy on clean images, PSNR, CPU seconds to make.

    python benchmarks/leaderboard.py                   all methods, three seeds (days on two cores)
    python benchmarks/leaderboard.py --only sem "cuda keyed" --rows coin --seeds 0 1 2
    python benchmarks/leaderboard.py --part 0 2             this process's share of the cells
    python benchmarks/leaderboard.py --rows made           only make the images: PSNR, CPU seconds
    python benchmarks/leaderboard.py --summary              only summarise the finished cells

10,000 images of CIFAR-10, the ``tiny`` network for surrogates and trainers alike, so that it is feasible on
processors without bf16: figures compare methods and countermeasures here, not with tables of other networks.
A seed is a key and a training. T2UE's generator learns from 5,000 other, captioned images (t2ue.py), outside
of the CPU seconds. Cells lie in results/leaderboard/; delete a line to measure it again.
Protected images wait in benchmarks/work. In rows with leaked
pairs ``clean`` is a training on the leaked originals alone: what no protection reaches.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from common import CLASSES, Cells, arguments, cifar10, kept_images, save, summarised
from noli.methods.verify.battery import LearnabilityData, Measure, Part, Trainer, table
from noli.methods.verify.config import Config
from t2ue import cifar_bench, generator


def captioned() -> str:
    """T2UE's generator, trained if it is not there."""
    return generator("t2ue", "cifar10", cifar_bench(), Cells("t2ue"))


TINY = {"network": "tiny"}
# The weave as it was first: one pattern and one filter for all pictures of a class.
BARE = {"colour": 8 / 255, "jitter": 0.0, "colour_jitter": 0.0}
# Found by benchmarks/weave_settings.py.
BRIGHT = {"colour": 30 / 255, "brightness": 22 / 255, "codes": 3, "border": "reflect"}
# Name -> method and options; the options are the methods' defaults where none are given, and functions make
# theirs when images are made.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "clean": ("", {}),
    "cuda paper": ("cuda", {"mode": "paper"}),
    "cuda keyed": ("cuda", {}),
    "em class-wise": ("em", {"noise": "class", **TINY}),
    "em": ("em", TINY),
    "rem": ("rem", TINY),
    "sem": ("sem", TINY),
    "salm": ("salm", TINY),
    "tap": ("tap", TINY),
    "ops": ("ops", {}),
    "lsp": ("lsp", {}),
    "ar": ("ar", {}),
    "t2ue": ("t2ue", {"prompts": "class", "generator": captioned}),
    "uc": ("uc", {"encoder": "own", **TINY}),
    "uc, packaged encoder": ("uc", {"encoder": "efficientnet-lite0"}),
    "uc, generator": ("uc", {"encoder": "own", "maker": "generator", **TINY}),
    "uc, all data": ("uc", {"encoder": "own", "data": "all", **TINY}),
    "uc, four patterns": ("uc", {"encoder": "own", "patterns": 4, **TINY}),
    "weave": ("weave", {}),
    "weave, no variation": ("weave", BARE),
    "weave, own taps": ("weave", BARE | {"jitter": 1.0}),
    "weave, own taps and colours": ("weave", BARE | {"jitter": 1.0, "colour_jitter": 1.0}),
    "weave, four codes": ("weave", BARE | {"codes": 4}),
    "weave, gentle filters": ("weave", BARE | {"gentle": 0.5}),
    "weave, 12/255": ("weave", BARE | {"colour": 12 / 255}),
    "weave, 16/255, own taps": ("weave", BARE | {"jitter": 1.0, "colour": 16 / 255}),
    "weave, 20/255, own colours 0.5": ("weave", {"colour": 20 / 255, "colour_jitter": 0.5}),
    "weave, 20/255, own colours 1": ("weave", {"colour": 20 / 255, "colour_jitter": 1.0}),
    "weave, 28/255": ("weave", {"colour": 28 / 255}),
    "weave, bright, three codes": ("weave", BRIGHT),
}
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
MERGED = Measure(
    "merged",
    "other labels: animals or vehicles",
    "context",
    regroup=lambda _: np.array([int(name in ANIMALS) for name in CLASSES]),
)
# In the order in which they are measured: an unfinished table is of most use with the first ones complete.
# The first eight go before the others with all seeds. `leak-10-in-all` is `leak-1-pair` with ten classes.
EARLY = 8
ROWS = (
    "crop+flip", "grayscale", "jpeg-10", "rsk+ff", "coin", "op", "adversarial", "leak-1-pair", "test-time",
    "grayscale+coin", "leak-1-pair+grayscale", "leak-1-pair+coin", "plain", "cutout", "mixup", "grayscale+op",
    "jpeg-75+coin", "ueraser", "leak-100-in-all", "purifier", "leak-500-bridge", "self-supervised",
    "pretrained", "merged", "regroup-1", "regroup-2", "op+coin", "leak-1-pair+op", "leak-1-pair-residual",
    "leak-1-pair-patterns", "leak-1-pair-filter", "leak-1-pair-both", "leak-500-in-all", "leak-100-bridge",
    "short", "best-epoch", "cutout+mixup", "cutmix", "randaugment", "window", "jpeg-30", "jpeg-75", "bits-2",
    "blur", "median", "dct-lowpass", "resize", "adversarial-2", "adversarial-8", "adversarial-l2-0.5",
    "adversarial-l2-1.0", "masked-median", "ueraser-lite", "ueraser-jpeg",
    "partial-20", "partial-40", "partial-60", "partial-80",
)  # fmt: skip


def part_of(name: str, measure: Measure) -> Part:
    """Which images a row trains on: where only a share is protected, the others are clean.

    Beside leaked pairs the row of clean images is that of the leaked originals alone.
    """
    if name == "clean" and measure.leaked:
        return "leaked-alone"
    return "mixed" if measure.share else "protected"


def main() -> None:
    args = arguments(list(SETTINGS), ROWS, range(3)).parse_args()
    cfg = Config(battery="full", network="tiny")
    measures = {row.name: row for row in (*table(cfg), MERGED)}
    x, y = cifar10("train", 10_000)
    test_x, test_y = cifar10("test", 5_000)
    cells, (part, parts) = Cells("leaderboard", apart=True), args.part

    def made(name: str, seed: int) -> np.ndarray:
        return kept_images(cells, name, *SETTINGS[name], seed, x, y)

    @lru_cache(maxsize=1)
    def trainer(name: str, seed: int) -> Trainer:
        images = made(name, seed)
        return Trainer(LearnabilityData(x, images, y, y, test_x, test_y, CLASSES), cfg)

    groups = [rows for rows in (args.rows[:EARLY], args.rows[EARLY:]) if rows]
    jobs = [(s, n, r) for rows in groups for s in args.seeds for n in args.only for r in rows]
    apart = {name for name, measure in measures.items() if measure.share}
    jobs = [job for job in jobs if not (job[1] == "clean" and job[2] in apart)]
    for seed, name, row in [] if args.summary else jobs[part::parts]:
        if row == "made":
            made(name, seed)
            continue
        cells.get(
            f"{name}/{row}/{seed}",
            lambda s=seed, n=name, r=row: trainer(n, s).run(measures[r], part_of(n, measures[r]), s),
        )
    found = {name: rows for name in SETTINGS if (rows := summarised(name, measures, cells))}
    sizes = {"training_images": len(x), "test_images": len(test_x)}
    save("leaderboard", {"settings": found, **sizes}, cells)


if __name__ == "__main__":
    main()
