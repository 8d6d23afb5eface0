"""The papers' own setting, for a GPU: ResNet-18, all of CIFAR-10, 100 epochs, published figures beside ours.

    python benchmarks/resnet18.py --seeds 0 1 2
    python benchmarks/resnet18.py --images 64 --epochs 1 --only "cuda paper"     does it run at all?

The recipe is that of CUDA's official script (batch 512, SGD 0.1 falling to a tenth after 40 % and 80 %,
weight decay 5e-4, gradients clipped at 5, shifts and mirroring); momentum is Nesterov's here. Adversarial
training is L-infinity 4/255 with 10 PGD steps of 1.5 eps / steps. EM and SEM learn with ResNet-18 and their
papers' steps. Cells lie in results/resnet18.jsonl. Not part of ``make bench``, which needs no GPU: a plain
training takes four minutes on an H100. Our CIFAR-10 is a copy stored as JPEG of quality 75; the published
figures are for the original.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common import CLASSES, Cells, arguments, cifar10, kept_images, save, summarised
from noli.methods.verify.battery import LearnabilityData, Measure, Trainer, table
from noli.methods.verify.config import Config
from noli.train.recipe import Recipe

OFFICIAL = Recipe(epochs=100, batch=512, lr=0.1, schedule="step", grad_clip=5.0)
DEEP = {"network": "resnet18"}
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "clean": ("", {}),
    "cuda paper": ("cuda", {"mode": "paper"}),
    "cuda keyed": ("cuda", {}),
    "em": ("em", {**DEEP, "rounds": 10}),
    "sem": ("sem", {**DEEP, "steps": 5000}),
    "lsp": ("lsp", {}),
    "weave": ("weave", {}),
}
ROWS = ("crop+flip", "grayscale", "jpeg-10", "adversarial", "coin", "op")
CUDA, ISS, DUNE = "arXiv 2303.04278", "arXiv 2301.13838", "arXiv 2605.01718"
PUBLISHED = {
    ("clean", "crop+flip"): (94.66, CUDA),
    ("clean", "grayscale"): (92.41, ISS),
    ("clean", "jpeg-10"): (85.38, ISS),
    ("clean", "adversarial"): (89.51, CUDA),
    ("cuda paper", "crop+flip"): (18.48, CUDA),
    ("cuda paper", "grayscale"): (20.12, CUDA),
    ("cuda paper", "adversarial"): (44.40, CUDA),
    ("em", "crop+flip"): (21.05, ISS),
    ("em", "grayscale"): (93.01, ISS),
    ("em", "jpeg-10"): (81.50, ISS),
    ("em", "adversarial"): (88.62, CUDA),
    ("sem", "crop+flip"): (15.94, DUNE),
    ("sem", "grayscale"): (31.94, DUNE),
    ("sem", "adversarial"): (32.43, DUNE),
    ("lsp", "crop+flip"): (19.07, ISS),
    ("lsp", "grayscale"): (82.47, ISS),
    ("lsp", "jpeg-10"): (83.01, ISS),
}


def as_published(measure: Measure, epochs: int) -> Measure:
    """Return a countermeasure with the official recipe instead of the battery's."""

    def recipe(ours: Recipe) -> Recipe:
        return OFFICIAL.model_copy(update={"epochs": epochs, "seed": ours.seed, "device": ours.device})

    return replace(measure, recipe=recipe)


def main() -> None:
    parser = arguments(list(SETTINGS), ROWS, range(3))
    parser.add_argument("--images", type=int, help="only the first training images, for a trial")
    parser.add_argument("--epochs", type=int, default=OFFICIAL.epochs)
    args = parser.parse_args()
    trial = args.images is not None or args.epochs != OFFICIAL.epochs
    name = "resnet18_trial" if trial else "resnet18"
    cfg = Config(battery="full", network="resnet18", adversarial_eps=4 / 255, adversarial_steps=10)
    measures = {m.name: as_published(m, args.epochs) for m in table(cfg) if m.name in ROWS}
    (x, y), (test_x, test_y) = cifar10("train", args.images), cifar10("test", args.images)
    cells = Cells(name)
    for seed in [] if args.summary else args.seeds:
        for setting in args.only:
            images = kept_images(cells, setting, *SETTINGS[setting], seed, x, y)
            trainer = Trainer(LearnabilityData(x, images, y, y, test_x, test_y, CLASSES), cfg)
            for row in args.rows:
                cells.get(
                    f"{setting}/{row}/{seed}",
                    lambda t=trainer, r=row, s=seed: t.run(measures[r], "protected", s),
                )
    found = {setting: rows for setting in SETTINGS if (rows := summarised(setting, measures, cells))}
    for (setting, row), (percent, source) in PUBLISHED.items():
        if row in (rows := found.get(setting, {"rows": {}})["rows"]):
            rows[row] |= {"published": percent / 100, "source": source}
    save(name, {"settings": found, "training_images": len(x), "epochs": args.epochs}, cells)


if __name__ == "__main__":
    main()
