"""The trade-off between effect, quality and what leaked pairs give away: where should keyed mode stand?

    python benchmarks/leak_frontier.py              measure what is missing, then summarise
    python benchmarks/leak_frontier.py --part 0 2   one of two processes side by side; summarise afterwards

CIFAR-10 subset, the small network, one seed; filters of two keys, the costlier rows with the first key only.
``accuracy`` is that of ordinary training (crop and flip), ``jpeg`` and ``adversarial`` that of the two most
harmful routine countermeasures, ``after_leak`` that of training on what a thief restored with one pair per
class. ``gain_1`` and ``gain_10`` are the thief's gain in dB, from that many pairs per class, on images that
were not leaked (2,000 images; exposure and border effects removed). Accuracies are on untouched test images;
the battery also tries transformed ones and takes the better, which under JPEG has been up to a point more.
"""

from __future__ import annotations

import argparse

import numpy as np

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.methods.protect import cuda
from noli.methods.verify.battery import REFERENCE, LearnabilityData, Trainer, table, unpack
from noli.methods.verify.config import Config
from noli.ops.leak import leak_attack

KEYS, LEAKED = (0, 1), 2000
POINTS = {
    "paper": cuda.Config(mode="paper"),
    **{
        f"keyed, {border} border, jitter {jitter:g}": cuda.Config(border=border, jitter=jitter)
        for border in ("zero", "reflect")
        for jitter in (0, 0.5, 1)
    },
    "keyed, zero border, jitter 1, blur 0.45": cuda.Config(blur=0.45),
    "keyed, reflect border, jitter 1, blur 0.45": cuda.Config(border="reflect", blur=0.45),
}
ROWS = {"accuracy": REFERENCE, "jpeg": "jpeg-10", "adversarial": "adversarial", "after_leak": "leak-1-pair"}
COSTLY = ("adversarial", "after_leak")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", type=int, nargs=2, metavar=("I", "N"), help="this process's share")
    part = parser.parse_args().part
    x, y = cifar10("train", 10_000)
    test_x, test_y = cifar10("test", 5_000)
    cells, judge = Cells("leak_frontier"), Config(battery="standard")
    rows = {m.name: m for m in table(judge)}

    def taught(point: str, key: int, column: str) -> dict[str, float]:
        made = protect_arrays(x, y, bench_key(key), POINTS[point])
        trainer = Trainer(LearnabilityData(x, made, y, y, test_x, test_y, CLASSES), judge)
        result = trainer.run(rows[ROWS[column]], "protected", 0)
        return {column: float(unpack(result["correct"]["untouched"], result["n"]).mean())}

    def given_away(point: str, key: int, _: str) -> dict[str, float]:
        made = protect_arrays(x, y, bench_key(key), POINTS[point])
        found = {f"gain_{p}": leak_attack(x[:LEAKED], made[:LEAKED], y[:LEAKED], p).gain for p in (1, 10)}
        return found | {"psnr": psnr(x, made)}

    columns = {"gain": given_away} | dict.fromkeys(ROWS, taught)
    jobs = [(p, k, c) for k in KEYS for c in columns for p in POINTS if k == KEYS[0] or c not in COSTLY]
    for point, key, column in jobs[part[0] :: part[1]] if part else jobs:
        work = columns[column]
        cells.get(f"{point}/{key}/{column}", lambda w=work, p=point, k=key, c=column: w(p, k, c))
    if not part:
        save("leak_frontier", {"rows": means(cells), "keys": len(KEYS)}, cells)


def means(cells: Cells) -> dict[str, dict[str, float]]:
    """Mean over keys of every point's finished figures."""
    found: dict[str, dict[str, list[float]]] = {}
    for place, cell in cells.done.items():
        numbers = {name: value for name, value in cell.items() if name not in ("cell", "on")}
        for name, value in numbers.items():
            found.setdefault(place.rsplit("/", 2)[0], {}).setdefault(name, []).append(value)
    return {point: {name: float(np.mean(v)) for name, v in row.items()} for point, row in found.items()}


if __name__ == "__main__":
    main()
