"""Small data sets in memory for methods that learn."""

import numpy as np
import torch

from noli import zoo
from noli.core.dataset import Item
from noli.data.study import ArrayStudy
from noli.train.lesson import Lesson


def some_study(folder, n, first=0, classes=("cat", "dog", "eel"), side=16, channels=3):
    generator = np.random.default_rng(first)
    pixels = [generator.integers(0, 256, (side, side, channels), np.uint8) for _ in range(n)]
    items = [Item(f"{first + i:04d}", f"{first + i}.png", classes[i % len(classes)]) for i in range(n)]
    return ArrayStudy(items, pixels, folder)


def joined(*studies):
    items = [item for study in studies for item in study.items]
    return ArrayStudy(items, [image for study in studies for image in study.pixels], studies[0].folder)


def some_lesson(cfg, n=10, classes=3, classwise=False):
    """Random pictures of 16 pixels and random noise, as a method in the midst of its work has them."""
    generator = np.random.default_rng(5)
    x, y = generator.integers(0, 256, (n, 16, 16, 3), np.uint8), np.arange(n) % classes
    rows = y if classwise else np.arange(n)
    noise = generator.integers(-90, 91, (rows.max() + 1, 16, 16, 3)).astype(np.int8)
    model = zoo.network("tiny", classes, 3, size=16, seed=1)
    seeded = torch.Generator().manual_seed(7)
    return Lesson(model, x, y, noise, rows, np.ones(len(noise), bool), False, cfg, seeded, lambda *_: None)
