"""What a network answers that was trained on protected images: tests from the papers themselves.

    python benchmarks/answers.py               CUDA's and TAP's, three keys (minutes on two cores)
    python benchmarks/answers.py --seeds 0

CUDA (arXiv 2303.04278): a network learns from filter to label, so test images that carry the filter of their
own class are told apart, and with the filters of other classes (every class has the next one's) hardly any
is right. TAP (arXiv 2106.10807): images of a class are moved towards the next class and keep their label, so
clean images are taken for the class before their own; the figure is its share among wrong answers (a ninth by
chance). Bounds were fixed beforehand, from the papers' figures: 99.9, 2.5 %, and "visible". Data, network
and training are the leaderboard's. Cells lie in results/answers.jsonl; benchmarks/signs.py prints them.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from common import CLASSES, Cells, Protector, arguments, bench_key, cifar10, save
from noli.methods.protect import cuda, tap
from noli.methods.verify.battery import REFERENCE, LearnabilityData, Trainer, table
from noli.methods.verify.config import Config

CFG = Config(network="tiny")
# Setting -> method, options; and its tests: name -> bound, and whether the figure is to be at least that.
SETTINGS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "cuda paper": (cuda, {"mode": "paper"}),
    "tap": (tap, {"network": "tiny"}),
}
TESTS: dict[str, dict[str, tuple[float, bool]]] = {
    "cuda paper": {"filtered as their class": (0.9, True), "filtered as the next class": (0.1, False)},
    "tap": {"taken for the class before, of the wrong": (2 / 9, True)},
}


def measured(name: str, seed: int) -> dict[str, float]:
    """Train one network, and ask it."""
    x, y = cifar10("train", 10_000)
    test_x, test_y = cifar10("test", 5_000)
    module, options = SETTINGS[name]
    with TemporaryDirectory() as folder:
        maker = Protector(module, bench_key(seed), module.Config(**options), CLASSES, Path(folder))
        made = maker.protect(x, y)
        asked = {}
        if module is cuda:
            turns = dict(zip(TESTS[name], (0, 1), strict=True))
            asked = {test: maker.protect(test_x, (test_y + by) % 10) for test, by in turns.items()}

    def look(model: Any, views: Any, labels: np.ndarray) -> dict[str, float]:
        if asked:
            return {
                test: float((model.predict(shown).argmax(1) == test_y).mean())
                for test, shown in asked.items()
            }
        answers = model.predict(views["untouched"]).argmax(1)
        wrong = answers != labels
        return {next(iter(TESTS[name])): float((answers == (labels - 1) % 10)[wrong].mean())}

    data = LearnabilityData(x, made, y, y, test_x, test_y, CLASSES)
    usual = {row.name: row for row in table(CFG)}[REFERENCE]
    found = Trainer(data, CFG, look).run(usual, "protected", seed)["detail"]
    return {test: found[test] for test in TESTS[name]}


def main() -> None:
    args = arguments(list(SETTINGS), [REFERENCE], range(3)).parse_args()
    cells = Cells("answers")
    for seed in [] if args.summary else args.seeds:
        for name in args.only:
            cells.get(f"{name}/{seed}", lambda n=name, s=seed: measured(n, s))
    body: dict[str, Any] = {}
    for name, tests in TESTS.items():
        done = [row for cell, row in sorted(cells.done.items()) if cell.startswith(f"{name}/")]
        body[name] = {
            test: {"values": [row[test] for row in done], "bound": bound, "at_least": least}
            for test, (bound, least) in tests.items()
        }
    save("answers", {"settings": body}, cells)


if __name__ == "__main__":
    main()
