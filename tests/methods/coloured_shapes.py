"""A small data set whose classes are shapes; colour, place and size carry no information about the class."""

import numpy as np

from noli.methods.verify.battery import LearnabilityData

NAMES = ("bar", "disc", "ring", "square")
# Four colours of equal luma: a trainer who drops colour sees four times the same grey.
EQUAL_LUMA = np.array([(255, 58, 0), (0, 188, 0), (0, 138, 255), (138, 76, 218)], np.uint8)
FAR_APART = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)], np.uint8)


def shapes(count, seed=0, side=16):
    """Return images uint8 [count, side, side, 3] and labels int64 [count], classes in turn."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    images = np.empty((count, side, side, 3), np.uint8)
    labels = np.arange(count) % len(NAMES)
    for image, label in zip(images, labels, strict=True):
        cy, cx = generator.uniform(side * 0.35, side * 0.65, 2)
        size = generator.uniform(side * 0.22, side * 0.32)
        dy, dx = np.abs(rows - cy), np.abs(columns - cx)
        distance = np.hypot(dy, dx)
        masks = (
            dy < size / 3,
            distance < size,
            (distance < size * 1.2) & (distance > size * 0.6),
            np.maximum(dy, dx) < size,
        )
        ground, colour = generator.integers(0, 100, 3), generator.integers(130, 256, 3)
        drawn = np.where(masks[label][..., None], colour, ground) + generator.normal(0, 12, (side, side, 3))
        image[:] = np.clip(drawn, 0, 255)
    return images, labels.astype(np.int64)


def frame(images, labels, colours=FAR_APART):
    """Protect crudely: a bright frame in a class-wise colour, easier to learn than any shape."""
    out = images.copy()
    for image, label in zip(out, labels, strict=True):
        image[:3], image[-3:], image[:, :3], image[:, -3:] = (colours[label],) * 4
    return out


def subject(protect=lambda x, y: x, *, train=400, test=200, labels=None):
    """Return LearnabilityData of coloured shapes; ``labels`` overrides the true ones."""
    x, y = shapes(train + test)
    y = y if labels is None else labels(y)
    return LearnabilityData(
        clean_x=x[:train],
        protected_x=protect(x[:train], y[:train]),
        clean_y=y[:train],
        protected_y=y[:train],
        test_x=x[train:],
        test_y=y[train:],
        classes=NAMES,
    )
