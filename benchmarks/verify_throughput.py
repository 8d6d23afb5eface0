"""How fast `verify` trains: `fit()` on the small network against a plain float32 ResNet-18 loop.

    python benchmarks/verify_throughput.py [--quick]

Prints JSON and keeps it under ``results``: images per second of both on the same synthetic 32-pixel images
(speed does not depend on what they show), the ratio, and with ``--quick`` the wall time of the whole quick
battery on 4,000 + 1,000 images.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from common import save
from noli.methods.verify.battery import LearnabilityData
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import judge
from noli.train.callbacks import Adversarial, CropFlip
from noli.train.fit import fit
from noli.train.hardware import fast_bf16
from noli.train.recipe import Recipe
from noli.zoo import network

CLASSES = 10


def images(count: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Noise whose mean colour depends on the class."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    tints = generator.integers(40, 200, (CLASSES, 3))
    noise = generator.normal(0, 40, (count, side, side, 3))
    return np.clip(tints[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels


def plain_resnet18(count: int, batch: int = 128) -> float:
    """Images per second of the loop that most published code runs: float32, default layout, crop and flip."""
    x, y = images(count)
    model = network("resnet18", CLASSES)
    stored, labels = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    model.train()
    augment = CropFlip()
    seconds = 0.0
    for start in range(0, count, batch):
        began = time.perf_counter()
        part, target = augment.prepare_batch(
            stored[start : start + batch].float() / 255, labels[start : start + batch], generator
        )
        loss = F.cross_entropy(model(part.contiguous()), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if start:  # the first step pays for set-up
            seconds += time.perf_counter() - began
    return (count - batch) / seconds


def ours(count: int, epochs: int, *, adversarial: bool = False) -> float:
    x, y = images(count)
    fit(network("small", CLASSES), x[:256], y[:256], Recipe(epochs=1))
    callbacks = [CropFlip(), Adversarial()] if adversarial else [CropFlip()]
    return fit(network("small", CLASSES), x, y, Recipe(epochs=epochs), callbacks).images_per_second


def quick_battery() -> dict[str, float]:
    x, y = images(5000)
    data = LearnabilityData(
        clean_x=x[:4000],
        protected_x=x[:4000] // 2,
        clean_y=y[:4000],
        protected_y=y[:4000],
        test_x=x[4000:],
        test_y=y[4000:],
        classes=tuple(map(str, range(CLASSES))),
    )
    began, cpu = time.perf_counter(), time.process_time()
    evidence = judge(data, None, Config())
    rows = {row.name: round(row.detail["seconds"], 1) for row in evidence.rows}
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    return {"wall_seconds": round(wall, 1), "cpu_seconds": round(used, 1), **rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="also time the whole quick battery (minutes)")
    parser.add_argument(
        "--images", type=int, default=4000, help="images per measurement of the small network"
    )
    arguments = parser.parse_args()
    small, resnet = ours(arguments.images, 2), plain_resnet18(max(384, arguments.images // 8))
    result = {
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "bf16": fast_bf16("cpu"),
        "small_images_per_second": round(small),
        "small_adversarial_images_per_second": round(ours(arguments.images // 2, 1, adversarial=True)),
        "resnet18_float32_images_per_second": round(resnet, 1),
        "ratio": round(small / resnet, 1),
    }
    if arguments.quick:
        result["quick_battery_5k"] = quick_battery()
    save("verify_throughput", result)


if __name__ == "__main__":
    main()
