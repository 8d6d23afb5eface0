"""Learning from codes: what networks reach on InstaHide, NeuraCrypt and Color-NeuraCrypt, which are broken.

    python benchmarks/code_learning.py                 all cells (about three hours of CPU time)
    python benchmarks/code_learning.py --only NAME     the cells of this method, or of several
    python benchmarks/code_learning.py --summary       only summarise the finished cells

10,000 images of CIFAR-10 become codes under one key (a seed is a key and a training), and 5,000 test images.
InstaHide: a code of every picture per epoch, `small`, shifted and mirrored codes; test pictures are mixed
with any others, once and ten times (answers are averaged). NeuraCrypt: patches of 4 pixels, 256 values, in a
secret order; a transformer without places. Beside them the same transformer on the values of patches in
order, with places. Compare InstaHide with plain/small of scrambled_learning. Cells lie in
results/code_learning.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common import CLASSES, Cells, arguments, bench_key, cifar10, cpu_cost, save
from noli import zoo
from noli.core.dataset import Item
from noli.core.images import to_float
from noli.core.method import Codes
from noli.core.model import Model, evaluating
from noli.methods.lock import instahide, neuracrypt
from noli.train.callbacks import CropFlip
from noli.train.fit import Callback, fit
from noli.train.recipe import Recipe
from noli.zoo.base import seeded
from noli.zoo.isotropic import Attend

EPOCHS, TOKEN_EPOCHS, ANSWERS = 15, 25, 10
PATCH, WIDTH, DEPTH, HEADS = 4, 96, 6, 4
SIZE: dict[str, Any] = {"side": 32, "patch": PATCH, "width": 256, "i_understand_this_is_broken": True}
SETTINGS = ("instahide", "instahide, k 2", "patches", "neuracrypt", "color-neuracrypt")


@dataclass(frozen=True)
class Arrays:
    """Pictures in memory, as methods see a data set."""

    images: np.ndarray
    labels: np.ndarray
    name: str
    classes: tuple[str, ...] = CLASSES
    channels: int = 3
    public: None = None

    @cached_property
    def items(self) -> list[Item]:
        """Names, from which codes follow."""
        return [Item(id=f"{self.name}/{number}", path="") for number in range(len(self.images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> np.ndarray:
        image: np.ndarray = self.images[number]
        return image


class Coded(Callback):
    """Codes in the place of numbered images, another copy in every epoch."""

    def __init__(self, codes: Codes, mirrored: bool) -> None:
        self.codes, self.epoch = codes, 0
        self.augment = CropFlip() if mirrored else Callback()

    def prepare_batch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return codes and their labels, soft or hard."""
        places = (x[:, 0, 0, :4] * 255).round().long() @ torch.tensor([1, 256, 256**2, 256**3])
        copy = self.epoch % self.codes["codes"].shape[1]
        found, labels = (torch.from_numpy(part[places.numpy(), copy]) for part in self.codes.values())
        return self.augment.prepare_batch(found.float(), labels, generator)

    def on_epoch_end(self, model: Model, epoch: int, loss: float) -> None:
        """Take the next copy."""
        self.epoch = epoch + 1


def numbered(count: int) -> np.ndarray:
    """Images that say nothing but their number, for the training loop takes stored images only."""
    images = np.zeros((count, 8, 8, 1), np.uint8)
    images[:, 0, :4, 0] = np.arange(count, dtype="<u4").view(np.uint8).reshape(count, 4)
    return images


class Reader(nn.Module):
    """A transformer over the vectors of a picture ``[N, 1, P, D]``."""

    def __init__(self, values: int, places: int) -> None:
        super().__init__()
        self.embed = nn.Linear(values, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(1, places, WIDTH)) if places else None
        self.layers = nn.Sequential(*(Attend(WIDTH, HEADS) for _ in range(DEPTH)), nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        tokens = self.embed(x[:, 0])
        logits: Tensor = self.head(
            self.layers(tokens if self.places is None else tokens + self.places).mean(1)
        )
        return logits


def mixes(seed: int, k: int) -> tuple[Codes, Codes]:
    """InstaHide: codes of training and of test pictures."""
    (x, y), (test_x, test_y), key = cifar10("train", 10_000), cifar10("test", 5_000), bench_key(seed)
    told = {"k": k, "i_understand_this_is_broken": True}
    train = Arrays(x, y, "train")
    both = Arrays(np.concatenate([test_x, x]), np.concatenate([test_y, y]), "test")
    learned = instahide.coder(train, key, instahide.Config(copies=EPOCHS, **told))
    asked = instahide.coder(both, key, instahide.Config(copies=ANSWERS, **told))
    return learned(train, range(len(x))), asked(both, range(len(test_x)))


def patched(images: np.ndarray) -> np.ndarray:
    """Values of patches in order, ``float16 [N, P, D]``, of the mean and spread that networks like."""
    count, side = len(images), images.shape[1] // PATCH
    cut = ((to_float(images) - 0.5) / 0.25).reshape(count, 3, side, PATCH, side, PATCH)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(count, side * side, -1).astype(np.float16)


def vectors(seed: int, setting: str) -> tuple[Codes, Codes]:
    """NeuraCrypt, or plain patches: codes of training and of test pictures."""
    key, found = bench_key(seed), []
    colour = "planes" if setting == "color-neuracrypt" else "joint"
    for split, count in (("train", 10_000), ("test", 5_000)):
        pictures = Arrays(*cifar10(split, count), split)
        if setting == "patches":
            codes: Codes = {"codes": patched(pictures.images), "labels": pictures.labels}
        else:
            coder = neuracrypt.coder(pictures, key, neuracrypt.Config(colour=colour, **SIZE))
            codes = coder(pictures, range(len(pictures)))
        found.append({"codes": codes["codes"][:, None, None], "labels": codes["labels"][:, None]})
    return found[0], found[1]


def answers(model: Model, codes: np.ndarray) -> np.ndarray:
    """Probabilities ``[N, copies, K]``."""
    count, copies = codes.shape[:2]
    flat = codes.reshape(-1, *codes.shape[2:])
    with torch.no_grad(), evaluating(model):
        found = [
            model(torch.from_numpy(part).float()).softmax(1) for part in np.array_split(flat, count // 50)
        ]
    return torch.cat(found).reshape(count, copies, -1).numpy()


def cell(setting: str, seed: int) -> dict[str, Any]:
    """Encode, learn, answer."""
    begun, mixed = time.process_time(), setting.startswith("instahide")
    learned, asked = mixes(seed, 2 if "k 2" in setting else 4) if mixed else vectors(seed, setting)
    if mixed:
        net: nn.Module = zoo.network("small", CLASSES, seed=seed).net
        recipe = Recipe(epochs=EPOCHS, seed=seed)
    else:
        with seeded(seed):
            places, values = learned["codes"].shape[3:]
            net = Reader(values, places if setting == "patches" else 0)
        adam: dict[str, Any] = {"optimiser": "adam", "lr": 1e-3, "weight_decay": 0.05}
        recipe = Recipe(epochs=TOKEN_EPOCHS, channels_last=False, seed=seed, **adam)
    channels = learned["codes"].shape[2] if mixed else 1
    flat = (0.0,) * channels, (1.0,) * channels
    model = Model(net, mean=flat[0], std=flat[1], class_names=CLASSES, arch="codes", arch_args={})
    numbers = numbered(len(learned["codes"]))
    fit(model, numbers, np.zeros(len(numbers), np.int64), recipe, [Coded(learned, mixed)])
    said, true = answers(model, asked["codes"]), cifar10("test", 5_000)[1]
    one, all_of = (float((part.argmax(1) == true).mean()) for part in (said[:, 0], said.mean(1)))
    return {"accuracy": all_of, "accuracy, one code": one, **cpu_cost(begun)}


def summary(cells: Cells) -> dict[str, Any]:
    """Mean and all values per setting."""
    table = {}
    for setting in SETTINGS:
        done = [one for name, one in cells.done.items() if name.rsplit("/", 1)[0] == setting]
        if done:
            told = [name for name in done[0] if name not in ("cell", "on")]
            row = {name: float(np.mean([one[name] for one in done])) for name in told}
            table[setting] = row | {"values": [one["accuracy"] for one in done]}
    return {"settings": table, "images": 10_000}


def main() -> None:
    args, cells = arguments(SETTINGS, (), range(3)).parse_args(), Cells("code_learning")
    jobs = [(setting, seed) for seed in args.seeds for setting in args.only]
    if not args.summary:
        for setting, seed in jobs[args.part[0] :: args.part[1]]:
            cells.get(f"{setting}/{seed}", lambda job=(setting, seed): cell(*job))  # type: ignore[misc]
    save("code_learning", summary(cells), cells)


if __name__ == "__main__":
    main()
