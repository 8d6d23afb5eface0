"""How often verify is wrong where the truth is planted: unprotected data, and data that cannot teach.

    python benchmarks/null_runs.py --runs 20
    python benchmarks/null_runs.py --kinds none --runs 20    only unprotected data
    python benchmarks/null_runs.py --runs 0                  only summarise the finished cells

Every run draws other photographs of the embedded set (900 for training, 450 held out), protects them with a
method whose effect is known, and asks the quick battery at the routine level. ``none``: pictures with noise
of two levels, as any program changes them; "supported" is false. ``faded``: pictures of which a twentieth is
left under a flat grey of their class; whatever is learned is the grey, and "supported" is true (the check
that protected pictures resemble their originals would refuse them, and is off for these). ``keyed``: keyed
CUDA at its defaults with a key for every run, judged at the naive level with every check on; here nothing is
planted, and what is true on these photographs is not known. ``weave``: draws of CIFAR-10 (5,000 for training,
5,000 held out) under the weave, a key for every run, every check on; with 10,000 images the leaderboard finds
that it holds in every row of this battery. Cells lie in results/null_runs.jsonl.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, save
from noli.core.evidence import LEVELS, Level
from noli.data.demo import photo_crops
from noli.methods.protect import cuda, weave
from noli.methods.verify.battery import LearnabilityData
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import judge
from noli.methods.verify.load import load
from noli.ops.stats import wilson

CFG = Config(network="tiny", min_steps=60, epochs=6, partial=())


class Kind(NamedTuple):
    """How runs are judged, at which level, and on what: data set, training and test images."""

    cfg: Config
    claim: Level
    data: str = "photos"
    train: int = 900
    test: int = 450


KINDS = {
    "none": Kind(CFG, "routine"),
    "faded": Kind(CFG.model_copy(update={"min_likeness": 0.0}), "routine"),
    "keyed": Kind(CFG, "naive"),  # CUDA is published for ordinary training only
    "weave": Kind(Config(network="tiny", partial=()), "routine", "cifar", 5_000, 5_000),
}


def changed(
    kind: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, number: int, classes: Sequence[str]
) -> np.ndarray:
    """Return the "protected" images of one kind."""
    if kind == "none":
        return np.clip(x + rng.integers(-2, 3, x.shape), 0, 255).astype(np.uint8)
    if kind == "keyed":
        return protect_arrays(x, y, bench_key(number), cuda.Config(), classes=classes)
    if kind == "weave":  # keys 0 and 1 took part in the choice of its defaults
        return protect_arrays(x, y, bench_key(number + 2), weave.Config(), weave)
    grey = np.linspace(20, 235, y.max() + 1)[y][:, None, None, None]
    return (0.05 * x + 0.95 * grey + 0.5).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    args = parser.parse_args()
    cells = Cells("null_runs")
    for kind in args.kinds:
        for number in range(args.runs):
            cells.get(f"{kind}/{number}", lambda k=kind, n=number: verdicts(k, n))
    rates: dict[str, Any] = {}
    for kind, how in KINDS.items():
        done = [cell for name, cell in cells.done.items() if name.startswith(f"{kind}/")]
        seen = Counter(f"{level}: {cell[level]}" for cell in done for level in LEVELS)
        hits = seen[f"{how.claim}: supported"]
        low, high = wilson(hits, len(done))
        rates[kind] = {"supported": hits, "runs": len(done), "low": low, "high": high, "all": dict(seen)}
        rates[kind] |= {"claim": how.claim, "training_images": how.train, "test_images": how.test}
    save("null_runs", {"kinds": rates}, cells)


@lru_cache(maxsize=2)
def pool(data: str) -> LearnabilityData:
    """All images from which the runs on a data set draw theirs."""
    if data == "cifar":
        (x, y), held = cifar10("train"), cifar10("test")
        return LearnabilityData(x, x, y, y, *held, CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        photos = photo_crops(f"{folder}/photos")
        return load(photos, photos, Config(max_items=10_000))


def verdicts(kind: str, number: int) -> dict[str, str]:
    """Judge one draw; return the verdict per level."""
    how = KINDS[kind]
    full, rng = pool(how.data), np.random.default_rng(number)
    rows = rng.permutation(len(full.clean_x))[: how.train]
    held = rng.permutation(len(full.test_x))[: how.test]
    x, y = full.clean_x[rows], full.clean_y[rows]
    made = changed(kind, x, y, rng, number, full.classes)
    data = LearnabilityData(x, made, y, y, full.test_x[held], full.test_y[held], full.classes)
    evidence = judge(data, None, how.cfg)
    found = {level.level: level.verdict for level in evidence.levels}
    return {str(level): found.get(level, evidence.verdict) for level in LEVELS}


if __name__ == "__main__":
    main()
