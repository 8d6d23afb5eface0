"""Small data sets in memory for methods that learn."""

import numpy as np

from noli.core.dataset import Item
from noli.data.study import ArrayStudy


def some_study(folder, n, first=0, classes=("cat", "dog", "eel"), side=16, channels=3):
    generator = np.random.default_rng(first)
    pixels = [generator.integers(0, 256, (side, side, channels), np.uint8) for _ in range(n)]
    items = [Item(f"{first + i:04d}", f"{first + i}.png", classes[i % len(classes)]) for i in range(n)]
    return ArrayStudy(items, pixels, folder)


def joined(*studies):
    items = [item for study in studies for item in study.items]
    return ArrayStudy(items, [image for study in studies for image in study.pixels], studies[0].folder)
