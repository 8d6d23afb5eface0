"""The trade-off between effect, quality and what leaked pairs give away, with and without per-image taps.

CIFAR-10 subset, small network with crop and flip, two keys, one seed; leaked pairs on 2,000 images.
``gain`` is the thief's gain in dB on images that were not leaked (exposure and border effects removed);
``accuracy_after_leak`` is that of a network trained on what the thief restored with one pair per class.
"""

from __future__ import annotations

import numpy as np

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.methods.protect import cuda
from noli.methods.verify.battery import REFERENCE, LearnabilityData, Trainer, table, unpack
from noli.methods.verify.config import Config
from noli.ops.leak import leak_attack

KEYS, LEAKED = (0, 1), 2000
POINTS = {
    "paper": cuda.Config(mode="paper"),
    **{f"keyed reflect jitter {j:g}": cuda.Config(jitter=j) for j in (0.0, 1.0)},
}


def main() -> None:
    x, y = cifar10("train", 10_000)
    test_x, test_y = cifar10("test", 5_000)
    cells, judge = Cells("leak_frontier"), Config()
    rows = {m.name: m for m in table(judge)}

    def protected(number: int, cfg: cuda.Config) -> np.ndarray:
        return protect_arrays(x, y, bench_key(number), cfg)

    def taught(number: int, cfg: cuda.Config, row: str) -> dict[str, float]:
        made = protected(number, cfg)
        trainer = Trainer(LearnabilityData(x, made, y, y, test_x, test_y, CLASSES), judge)
        result = trainer.run(rows[row], "protected", 0)
        accuracy = float(unpack(result["correct"]["untouched"], result["n"]).mean())
        return {"accuracy": accuracy, "psnr": psnr(x, made)}

    def gains(number: int, cfg: cuda.Config) -> dict[str, float]:
        made = protected(number, cfg)
        return {f"gain_{p}": leak_attack(x[:LEAKED], made[:LEAKED], y[:LEAKED], p).gain for p in (1, 10)}

    summary = {}
    for name, cfg in POINTS.items():
        found: dict[str, list[float]] = {}
        for n in KEYS:
            parts = [cells.get(f"{name}/{n}/accuracy", lambda n=n, c=cfg: taught(n, c, REFERENCE))]
            parts.append(cells.get(f"{name}/{n}/gain", lambda n=n, c=cfg: gains(n, c)))
            if n == KEYS[0]:
                leak = cells.get(f"{name}/{n}/after", lambda n=n, c=cfg: taught(n, c, "leak-1-pair"))
                found["accuracy_after_leak"] = [leak["accuracy"]]
            for column, value in ((k, v) for part in parts for k, v in part.items() if k != "cell"):
                found.setdefault(column, []).append(value)
        summary[name] = {column: float(np.mean(values)) for column, values in found.items()}
    save("leak_frontier", {"rows": summary, "keys": len(KEYS)})


if __name__ == "__main__":
    main()
