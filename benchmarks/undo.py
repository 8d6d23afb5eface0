"""How well the key brings 8-bit CIFAR-10 images back: PSNR of undo over 500 images."""

from __future__ import annotations

import time

import numpy as np

from common import CLASSES, bench_key, cache_sized, cifar10, save
from noli.core.dataset import Item, content_id
from noli.core.images import to_float, to_uint8
from noli.core.method import DataSummary
from noli.methods.protect import cuda

IMAGES = 500


def main() -> None:
    x, y = cifar10("train", IMAGES)
    items = [Item(content_id(image)[0], "", CLASSES[label]) for image, label in zip(x, y, strict=True)]
    key, rows = bench_key(0), {}
    for mode in ("keyed", "paper"):
        cfg = cuda.Config(mode=mode)
        state = cuda.prepare(DataSummary(IMAGES, CLASSES, {(32, 32, 3): IMAGES}), key, cfg)
        published = to_uint8(cuda.apply(state, to_float(x), items, key, cfg))
        extras = cuda.extras(state, to_float(x), items, key, cfg)
        back, started = np.empty_like(x), time.process_time()
        for run in cache_sized(*x.shape):
            batch = to_float(published[run])
            back[run] = to_uint8(cuda.invert(state, batch, items[run], key, cfg, extras[run]))
        speed = IMAGES / (time.process_time() - started)
        error = ((back.astype(float) - x) ** 2).reshape(IMAGES, -1).mean(1)
        found = 10 * np.log10(255**2 / np.maximum(error, 1e-3))
        rows[mode] = {
            "mean_db": found.mean(),
            "worst_db": found.min(),
            "percentile_5_db": np.percentile(found, 5),
            "share_above_30_db": (found >= 30).mean(),
            "images_per_cpu_s": speed,
        }
    save("undo", {"rows": rows, "images": IMAGES})


if __name__ == "__main__":
    main()
