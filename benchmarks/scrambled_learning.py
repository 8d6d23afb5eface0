"""Learning on scrambled pictures: what networks reach with and without a part made for it.

    python benchmarks/scrambled_learning.py                 all cells (about four hours of CPU time)
    python benchmarks/scrambled_learning.py --only NAME     the cells of this scheme, or of several
    python benchmarks/scrambled_learning.py --rows NAME     of this network, or of several
    python benchmarks/scrambled_learning.py --summary       only summarise the finished cells

10,000 images of CIFAR-10, blocks of 4 pixels as in Madono et al. (arXiv 2001.07761, table 3); a seed is a key
and a training. Images are shifted and mirrored before they are scrambled, and 5,000 test images are scrambled
with the same key. Without adaptation, accuracy should fall from plain over LE and EtC to ELE. Cells lie in
results/scrambled_learning.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import CLASSES, Cells, arguments, bench_key, cifar10, save
from noli import zoo
from noli.core.images import to_float, to_uint8
from noli.core.keystream import Stream
from noli.ops import schemes
from noli.ops.scramble import Scramble, scramble
from noli.train.callbacks import CropFlip
from noli.train.fit import fit
from noli.train.recipe import Recipe

SHAPE, BLOCK = (32, 32, 3), 4
SCHEMES = ("plain", "le", "etc", "ele", "shf", "pixel")
NETWORKS = ("small", "convmixer", "vit", "le-adaptnet", "ele-adaptnet")
RECIPES: dict[str, dict[str, Any]] = {
    "vit": {"epochs": 25, "optimiser": "adam", "lr": 1e-3, "weight_decay": 0.05},
    "convmixer": {"epochs": 15, "optimiser": "adam", "lr": 3e-3, "weight_decay": 0.01},
}
ORDER = ("plain", "le", "etc", "ele")


def scrambling(scheme: str, seed: int) -> Scramble | None:
    """The scheme under the benchmark's key of this number."""
    key = bench_key(seed)

    def draw(purpose: str, told: str) -> Stream:
        return key.stream(f"bench/{purpose}", told)

    if scheme == "plain":
        return None
    if scheme == "pixel":
        return schemes.pixel(SHAPE, draw)
    return {"le": schemes.le, "etc": schemes.etc, "ele": schemes.ele, "shf": schemes.shf}[scheme](
        SHAPE, BLOCK, draw
    )


class Scrambled(CropFlip):
    """Shifts, mirrors, then scrambles: pictures must be augmented before."""

    def __init__(self, how: Scramble | None) -> None:
        self.how = how

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return scrambled images; labels stay."""
        x, y = super().prepare_batch(x, y, generator)
        if self.how is None:
            return x, y
        stored = to_uint8(x.numpy())
        return torch.from_numpy(to_float(scramble(stored, self.how))).contiguous(), y


def cell(scheme: str, network: str, seed: int) -> dict[str, Any]:
    """Train one network on one scheme under one key."""
    (x, y), (test_x, test_y) = cifar10("train", 10_000), cifar10("test", 5_000)
    how = scrambling(scheme, seed)
    model = zoo.network(network, CLASSES, seed=seed)
    recipe = Recipe(**{"epochs": 15, **RECIPES.get(network, {}), "seed": seed})
    fit(model, x, y, recipe, [Scrambled(how)])
    seen = test_x if how is None else scramble(test_x, how)
    found: dict[str, Any] = {"accuracy": float((model.predict(seen).argmax(1) == test_y).mean())}
    if how is not None:
        # The same network without the key: plain pictures, and those under another one.
        other = scrambling(scheme, seed + 1000)
        assert other is not None
        for name, images in (("plain", test_x), ("other key", scramble(test_x, other))):
            found[f"accuracy, {name}"] = float((model.predict(images).argmax(1) == test_y).mean())
    return found


def summary(cells: Cells) -> dict[str, Any]:
    """Mean and all values per scheme and network, and whether the published order was found."""
    table: dict[str, dict[str, Any]] = {}
    for network in NETWORKS:
        for scheme in SCHEMES:
            done = [one for name, one in cells.done.items() if name.startswith(f"{scheme}/{network}/")]
            if done:
                names = [name for name in done[0] if name.startswith("accuracy")]
                row = {name: float(np.mean([one[name] for one in done])) for name in names}
                row["values"] = [one["accuracy"] for one in done]
                table.setdefault(network, {})[scheme] = row
    without = table.get("small", {})
    means = [without[scheme]["accuracy"] for scheme in ORDER if scheme in without]
    ordered = means == sorted(means, reverse=True) if len(means) == len(ORDER) else None
    return {"networks": table, "order": " > ".join(ORDER), "order found": ordered, "images": 10_000}


def main() -> None:
    args, cells = arguments(SCHEMES, NETWORKS, range(3)).parse_args(), Cells("scrambled_learning")
    jobs = [(scheme, net, seed) for net in args.rows for seed in args.seeds for scheme in args.only]
    if not args.summary:
        for scheme, net, seed in jobs[args.part[0] :: args.part[1]]:
            cells.get(f"{scheme}/{net}/{seed}", lambda job=(scheme, net, seed): cell(*job))  # type: ignore[misc]
    save("scrambled_learning", summary(cells), cells)


if __name__ == "__main__":
    main()
