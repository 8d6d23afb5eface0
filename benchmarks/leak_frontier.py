"""The trade-off between effect, quality and what leaked pairs give away, over jitter and border.

CIFAR-10 subset, small network with crop and flip, two keys, one seed; leaked pairs on 2,000 images.
``gain`` is the thief's gain in dB on images that were not leaked (exposure and border effects removed);
``after leak`` is the accuracy of a network trained on what the thief restored with one pair per class.
"""

from __future__ import annotations

import sys

import numpy as np

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.methods.protect import cuda
from noli.methods.verify.battery import REFERENCE, Trainer, table, unpack
from noli.methods.verify.config import Config
from noli.methods.verify.subject import LearnabilityData
from noli.ops.leak import leak_attack

KEYS = (0, 1)
POINTS = {
    "paper": cuda.Config(mode="paper"),
    **{f"keyed reflect jitter {j:g}": cuda.Config(jitter=j) for j in (0.0, 1.0)},
}


def main() -> None:
    x, y = cifar10("train", 10_000)
    test_x, test_y = cifar10("test", 5_000)
    cells, judge = Cells("leak_frontier"), Config()
    rows = {m.name: m for m in table(judge)}

    def measure(number: int, cfg: cuda.Config) -> dict[str, float]:
        protected = protect_arrays(x, y, bench_key(number), cfg)
        trainer = Trainer(LearnabilityData(x, protected, y, y, test_x, test_y, CLASSES), judge)
        found = {}
        for name, row in (("accuracy", REFERENCE), ("after_leak", "leak-1-pair")):
            if name == "accuracy" or number == KEYS[0]:
                result = trainer.run(rows[row], "protected", 0)
                found[name] = float(unpack(result["correct"]["untouched"], result["n"]).mean())
        for pairs in (1, 10):
            found[f"gain_{pairs}"] = leak_attack(x[:2000], protected[:2000], y[:2000], pairs).gain
        return {**found, "psnr": psnr(x, protected)}

    part, parts = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (0, 1)
    table_rows = {}
    for place, (name, cfg) in enumerate(POINTS.items()):
        if place % parts != part:
            continue
        found = [cells.get(f"{name}/{n}", lambda n=n, cfg=cfg: measure(n, cfg)) for n in KEYS]
        columns = [c for c in found[0] if c != "cell"]
        table_rows[name] = {c: float(np.mean([f[c] for f in found if c in f])) for c in columns}
    if parts == 1:
        save("leak_frontier", {"rows": table_rows, "keys": len(KEYS)})


if __name__ == "__main__":
    main()
