"""Keyed patch embeddings: what the key is worth, on CIFAR-10.

    python benchmarks/keyed_models.py                 all cells (about four hours of CPU time)
    python benchmarks/keyed_models.py --only NAME     the cells of this setting, or of several
    python benchmarks/keyed_models.py --summary       only summarise the finished cells

10,000 training images; the public network and the attacker's own pair are trained once per network, a seed is
a key. Accuracies on 2,000 test images with 20 wrong keys; on 100 of them under APGD-CE, APGD-T, FAB-T and
Square at 4/255, by what the attacker has; and what a thief reaches with 1 to 40 further labelled images per
class. Cells lie in results/keyed_models.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common import CLASSES, Cells, arguments, bench_key, cifar10, save, work_file
from noli import zoo
from noli.core.theft import SHARES
from noli.methods.lock import embeddings
from noli.zoo.keyed_folder import load_keyed, save_keyed
from noli.zoo.keyed_thieves import guess

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
    own = work_file(f"keyed-rival-{setting}")
    if not own.exists():
        save_keyed(embeddings.rival(base, x, y, cfg), own)
    keyed = embeddings.transform(base, x, y, bench_key(seed), cfg)
    robust = embeddings.attacked(keyed, base, load_keyed(own, guess(0)), test_x, test_y, cfg)
    more_x, more_y = cifar10("train", 12_000)
    thief = embeddings.stolen(keyed, base, (more_x[10_000:], more_y[10_000:]), (test_x, test_y), cfg)
    ways = {f"{one.level}, {one.way}, {one.attack}": one.accuracy for one in robust.attempts}
    labels = {f"thief, {row.attack}, {row.labels}": row.score for row in thief.rows}
    least = {f"{level}, least": value for level, value in robust.least.items()}
    needed = {f"labels for {share:.0%}": thief.needed(share) for share in SHARES}
    facts = {"attacked clean": robust.clean, "thief, matched": thief.matched}
    return {**embeddings.use(keyed, base, test_x, test_y, cfg), **least, **ways, **labels, **needed, **facts}


def summary(cells: Cells) -> dict[str, Any]:
    """Mean, lowest and highest over the keys of every setting."""
    table: dict[str, Any] = {}
    for setting in SETTINGS:
        done = [one for name, one in cells.done.items() if name.startswith(f"{setting}/")]
        rows = {name for one in done for name in one if name not in ("cell", "on")}
        for row in sorted(rows):
            values = [one[row] for one in done if one.get(row) is not None]
            if not values:
                continue  # nobody reached it
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
