"""How well `verify` tells protected versions of the originals from other pictures, before it trains.

Share of CIFAR-10 pictures (3,000, two keys) that pass as versions of their original: protected ones, and
ones whose original is another picture. Both modes, two filter sizes.
"""

from __future__ import annotations

import numpy as np

from common import bench_key, cifar10, protect_arrays, save
from noli.methods.protect import cuda
from noli.methods.verify.pairing import likeness

KEYS = (0, 1)


def main() -> None:
    x, y = cifar10("train", 3000)
    found = {}
    for mode in ("keyed", "paper"):
        for kernel in (3, 9):
            made = [protect_arrays(x, y, bench_key(n), cuda.Config(mode=mode, kernel=kernel)) for n in KEYS]
            found[f"{mode}, {kernel} x {kernel}"] = {
                "versions": float(np.mean([likeness(x, p) for p in made])),
                "others": float(np.mean([likeness(x, np.roll(p, 1, axis=0)) for p in made])),
            }
    save("likeness", {"pass": found, "pictures": len(x), "keys": len(KEYS)})


if __name__ == "__main__":
    main()
