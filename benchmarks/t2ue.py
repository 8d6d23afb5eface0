"""What a generator that processors can train does to classifiers and to image-text models: T2UE.

    python benchmarks/t2ue.py               all cells (under an hour of CPU time)
    python benchmarks/t2ue.py --seed 1      another key and other trainings
    python benchmarks/t2ue.py --summary     only summarise the finished cells

CIFAR-10: the generator learns from 5,000 captioned images (a class name in one of ten templates) and protects
10,000 others; a classifier, and an image-text model trained from scratch with fixed text vectors, are tested
on clean images. Emoji: names as captions; the generator learns from 600 emoji in two styles, the Twitter
pictures of the others are protected, and the image-text model has to find the Google pictures of the same
names. All trainers are ``tiny``. The emoji are in two packages of npm, which are unpacked where
NOLI_BENCH_EMOJI says (`npm pack emoji-datasource-twitter@16.0.0 emoji-datasource-google@16.0.0`, then each to
a folder called twitter and google); without them that half is left out.

Ranks count from 1; with equal captions the first match counts. Cells lie in results/t2ue.jsonl; delete a line
to measure it again. Generators wait in benchmarks/work.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from common import CLASSES, HERE, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.data.study import square
from noli.methods.protect import em, t2ue
from noli.methods.verify.battery import LearnabilityData, Trainer, table, unpack
from noli.methods.verify.config import Config
from noli.train.options import GeneratorConfig
from noli.train.recipe import Recipe
from noli.train.t2ue import learn_generator, learn_joint
from noli.zoo.text import TextEncoder, load_text

TEMPLATES = (
    "a photo of a {}", "a picture of a {}", "a small image of a {}", "a blurry photo of a {}",
    "one {} in the middle", "a close-up of a {}", "this is a {}", "a low resolution photo of a {}",
    "a snapshot showing a {}", "a {} seen from some distance",
)  # fmt: skip
EPS = 8 / 255
EMOJI = Path(os.environ.get("NOLI_BENCH_EMOJI", HERE / "work" / "emoji"))
PUBLIC_EMOJI = 600


@dataclass(frozen=True)
class Captioned:
    """Pictures ``uint8 [N, 32, 32, 3]``, class numbers, class names and captions."""

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    texts: list[str]


@dataclass(frozen=True)
class Bench:
    """One data set.

    Attributes:
        public: What generators learn from.
        own: What is protected.
        test: Clean pairs.
        generators: Name -> how it is trained.
        recipe: How image-text models are trained.
        supervised, retrieval: Settings that are measured.
    """

    public: Captioned
    own: Captioned
    test: Captioned
    generators: dict[str, dict[str, Any]]
    recipe: Recipe
    supervised: tuple[str, ...]
    retrieval: tuple[str, ...]


def cifar_bench() -> Bench:
    x, y = cifar10("train", 15_000)
    test_x, test_y = cifar10("test", 5_000)

    def told(images: np.ndarray, labels: np.ndarray, seed: int) -> Captioned:
        picks = np.random.default_rng(seed).integers(0, len(TEMPLATES), len(labels))
        texts = [TEMPLATES[k].format(CLASSES[label]) for k, label in zip(picks, labels, strict=True)]
        return Captioned(images, labels, CLASSES, texts)

    settings = (
        "clean", "random per picture", "random per class", "em class-wise", "t2ue class-wise", "t2ue",
        "t2ue aligned",
    )  # fmt: skip
    return Bench(
        told(x[10_000:], y[10_000:], 1),
        told(x[:10_000], y[:10_000], 2),
        told(test_x, test_y, 3),
        {
            "t2ue": {"surrogate": "tiny", "epochs": 4},
            "t2ue aligned": {},  # all defaults
        },
        Recipe(),
        settings,
        settings,
    )


def emoji_bench() -> Bench | None:
    lists = [EMOJI / style / "package" for style in ("twitter", "google")]
    if not all(folder.is_dir() for folder in lists):
        return None
    rows = sorted(json.loads((lists[0] / "emoji.json").read_bytes()), key=lambda row: str(row["unified"]))
    rows = [row for row in rows if row["has_img_twitter"] and row["has_img_google"]]
    classes = tuple(sorted({row["category"] for row in rows}))
    order = np.random.default_rng(0).permutation(len(rows))

    def pictures(style: int, picked: np.ndarray) -> Captioned:
        folder = lists[style] / "img" / lists[style].parent.name / "64"
        chosen = [rows[i] for i in picked]
        x = np.stack([on_white(folder / row["image"]) for row in chosen])
        y = np.array([classes.index(row["category"]) for row in chosen])
        return Captioned(x, y, classes, [row["name"].lower() for row in chosen])

    first, second = (pictures(style, order[:PUBLIC_EMOJI]) for style in (0, 1))
    public = Captioned(
        np.concatenate([first.x, second.x]),
        np.concatenate([first.y, second.y]),
        classes,
        first.texts + second.texts,
    )
    rest = order[PUBLIC_EMOJI:]
    return Bench(
        public,
        pictures(0, rest),
        pictures(1, rest),
        {
            "t2ue": {"surrogate": "tiny", "epochs": 16},
            "t2ue aligned": {},
        },
        Recipe(epochs=40),
        (),
        ("clean", "random per picture", "em", "t2ue", "t2ue aligned"),
    )


def on_white(file: Path) -> np.ndarray:
    """Read a picture with transparency as ``uint8 [32, 32, 3]`` on white."""
    picture = cv2.cvtColor(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA).astype(
        np.float32
    )
    alpha = picture[..., 3:] / 255
    return square((picture[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8), 32, 3)


def generator(name: str, data: str, bench: Bench, cells: Cells) -> str:
    """Train a generator if it is not there; return its file."""
    file = HERE / "work" / f"{data}-{name}.safetensors".replace(" ", "-")
    if not file.exists():
        cfg = GeneratorConfig(**bench.generators[name])
        begun = time.process_time()
        made, reached = learn_generator(bench.public.x, bench.public.texts, cfg)
        file.parent.mkdir(exist_ok=True)
        made.save(file)
        cost = {**reached, "cpu_seconds": time.process_time() - begun, "digest": made.weight_hash()}
        cells.get(f"{data}/generator/{name}", lambda: cost)
    return str(file)


def protected(setting: str, data: str, bench: Bench, seed: int, cells: Cells) -> np.ndarray:
    """The owner's pictures under one setting, ``uint8 [N, 32, 32, 3]``."""
    own, key = bench.own, bench_key(seed)
    if setting == "clean":
        return own.x
    if setting.startswith("random"):
        draw = np.random.default_rng(seed)
        several = draw.choice([-1.0, 1.0], (len(own.classes), *own.x.shape[1:]))[own.y]
        signs = several if "class" in setting else draw.choice([-1.0, 1.0], own.x.shape)
        return np.clip(own.x + EPS * 255 * signs + 0.5, 0, 255).astype(np.uint8)
    if setting.startswith("em"):
        kind = "class" if "class" in setting else "sample"
        cfg = em.Config(noise=kind, network="tiny", rounds=10, device="cpu")
        return protect_arrays(own.x, own.y, key, cfg, em, classes=own.classes)
    kind = "class" if "class" in setting else "sample"
    name = setting.removesuffix(" class-wise")
    told = t2ue.Config(
        generator=generator(name, data, bench, cells),
        noise=kind,
        prompts="class" if kind == "class" else "caption",
    )
    return protect_arrays(own.x, own.y, key, told, t2ue, classes=own.classes, texts=own.texts)


def retrieval(x: np.ndarray, bench: Bench, text: TextEncoder, seed: int) -> dict[str, Any]:
    """Train an image-text model from scratch; Hit@10 and median rank on clean pairs, both ways."""
    names = list(dict.fromkeys([*bench.own.texts, *bench.test.texts]))
    place = {name: row for row, name in enumerate(names)}
    texts = text(names)
    rows = np.array([place[name] for name in bench.own.texts])
    joint = learn_joint(x, rows, texts, "tiny", bench.recipe.model_copy(update={"seed": seed}), seed=seed)
    asked = list(dict.fromkeys(bench.test.texts))
    truth = np.array([asked.index(name) for name in bench.test.texts])
    working = torch.from_numpy(bench.test.x).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        pictures = torch.cat([joint(part) for part in working.split(500)])
        similar = (pictures @ joint.texts(text(asked)).T).numpy()
    own = similar[np.arange(len(truth)), truth]
    to_text = (similar > own[:, None]).sum(1) + 1
    best = np.array([similar[truth == k, k].max() for k in range(len(asked))])
    to_picture = (similar > best).sum(0) + 1
    return {
        "i2t_hit10": float(np.mean(to_text <= 10)),
        "i2t_median_rank": float(np.median(to_text)),
        "t2i_hit10": float(np.mean(to_picture <= 10)),
        "t2i_median_rank": float(np.median(to_picture)),
        "pictures": len(truth),
        "captions": len(asked),
    }


def supervised(x: np.ndarray, bench: Bench, seed: int) -> dict[str, Any]:
    """Train a classifier with shifts and mirroring; its accuracy on clean pictures."""
    cfg = Config(battery="quick", network="tiny")
    row = {row.name: row for row in table(cfg)}["crop+flip"]
    own, test = bench.own, bench.test
    subject = LearnabilityData(own.x, x, own.y, own.y, test.x, test.y, own.classes)
    return Trainer(subject, cfg).run(row, "protected", seed)


def measure(data: str, bench: Bench, seed: int, cells: Cells, text: Callable[[], TextEncoder]) -> None:
    """Run all cells of one data set that are missing."""

    @lru_cache(maxsize=1)
    def made(setting: str) -> np.ndarray:
        begun = time.process_time()
        x = protected(setting, data, bench, seed, cells)
        cost = {"psnr": psnr(bench.own.x, x), "cpu_seconds": time.process_time() - begun}
        if setting != "clean":
            cells.get(f"{data}/made/{setting}/{seed}", lambda: cost)
        return x

    for setting in dict.fromkeys([*bench.supervised, *bench.retrieval]):
        if setting in bench.supervised:
            place = f"{data}/supervised/{setting}/{seed}"
            cells.get(place, lambda s=setting: supervised(made(s), bench, seed))
        if setting in bench.retrieval:
            place = f"{data}/retrieval/{setting}/{seed}"
            cells.get(place, lambda s=setting: retrieval(made(s), bench, text(), seed))


def summarised(cells: Cells) -> dict[str, Any]:
    """Cells by data set, kind and setting; means over seeds."""
    found: dict[str, Any] = {}
    for place, cell in cells.done.items():
        data, kind, setting, *_ = place.split("/")
        if "correct" in cell:
            cell = {"accuracy": float(unpack(cell["correct"]["untouched"], cell["n"]).mean())}
        numbers = {name: value for name, value in cell.items() if isinstance(value, int | float)}
        found.setdefault(data, {}).setdefault(kind, {}).setdefault(setting, []).append(numbers)
    for kinds in found.values():
        for settings in kinds.values():
            for setting, runs in settings.items():
                mean = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
                settings[setting] = {**mean, "seeds": len(runs)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0, help="number of the key and of the trainings")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    cells, text = Cells("t2ue"), lru_cache(load_text)
    if not args.summary:
        emoji = emoji_bench()
        if emoji is None:
            print(f"no emoji in {EMOJI}: that half is left out (see the head of this file)")
        else:
            measure("emoji", emoji, args.seed, cells, text)
        measure("cifar10", cifar_bench(), args.seed, cells, text)
    save("t2ue", summarised(cells), cells)


if __name__ == "__main__":
    main()
