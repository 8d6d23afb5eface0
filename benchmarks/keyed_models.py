"""Keyed patch embeddings: what the key is worth, on CIFAR-10.

    python benchmarks/keyed_models.py                 all cells (about two hours of CPU time)
    python benchmarks/keyed_models.py --only NAME     the cells of this setting, or of several
    python benchmarks/keyed_models.py --summary       only summarise the finished cells

10,000 training images; the public network is trained once per network, a seed is a key. Accuracies on 2,000
test images, with 20 wrong keys, and under PGD (20 steps, 4/255) on 200 of them by what the attacker has. PGD
is a stand-in for AutoAttack. Cells lie in results/keyed_models.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common import CLASSES, Cells, arguments, bench_key, cifar10, save, work_file
from noli import zoo
from noli.methods.lock import embeddings

SETTINGS: dict[str, dict[str, Any]] = {
    "convmixer": {},
    "convmixer, converted": {"converted": True},
    "convmixer, four pairs": {"pairs": 4},
    "vit": {"network": "vit"},
    "vit, converted": {"network": "vit", "converted": True},
}


def cell(setting: str, seed: int) -> dict[str, Any]:
    """Lock the public network with one key and measure the matrix."""
    (x, y), (test_x, test_y) = cifar10("train", 10_000), cifar10("test", 2_000)
    cfg = embeddings.Config(**SETTINGS[setting])
    file = work_file(f"keyed-{cfg.network}.safetensors")
    if not file.exists():
        embeddings.public_network(x, y, CLASSES, cfg).save(file)
    base = zoo.load(file)
    keyed = embeddings.transform(base, x, y, bench_key(seed), cfg)
    return embeddings.matrix(keyed, base, test_x, test_y, cfg)


def summary(cells: Cells) -> dict[str, Any]:
    """Mean, lowest and highest over the keys of every setting."""
    table: dict[str, Any] = {}
    for setting in SETTINGS:
        done = [one for name, one in cells.done.items() if name.startswith(f"{setting}/")]
        rows = {name for one in done for name in one if name not in ("cell", "on")}
        for row in sorted(rows):
            values = [one[row] for one in done if row in one]
            table.setdefault(setting, {})[row] = {
                "mean": float(np.mean(values)), "low": min(values), "high": max(values)
            }  # fmt: skip
        if done:
            table[setting]["keys"] = len(done)
    return {"settings": table, "images": 10_000, "eps": 4 / 255}


def main() -> None:
    args, cells = arguments(list(SETTINGS), [], range(3)).parse_args(), Cells("keyed_models")
    jobs = [(setting, seed) for seed in args.seeds for setting in args.only]
    if not args.summary:
        for setting, seed in jobs[args.part[0] :: args.part[1]]:
            cells.get(f"{setting}/{seed}", lambda job=(setting, seed): cell(*job))  # type: ignore[misc]
    save("keyed_models", summary(cells), cells)


if __name__ == "__main__":
    main()
