"""Folder to folder on two workers: protection against the same decoding and encoding without protection."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

import identity
from common import bench_key, save
from noli.core.method import Spec
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
from noli.methods.protect import cuda

SIDES = {224: 600, 32: 6000}


def write_images(folder: Path, side: int, count: int) -> None:
    """Smooth random pictures as PNG, ten classes."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.integers(0, 256, (max(2, side // 8), max(2, side // 8), 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        place = folder / f"class {i % 10}" / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), picture)


def seconds(source: Path, out: Path, spec: Spec, cfg: object, workers: int) -> float:
    """Wall seconds of one run into a fresh folder."""
    for leftover in (out, Path(f"{out}.noli")):
        shutil.rmtree(leftover, ignore_errors=True)
    started = time.perf_counter()
    run_data(RunRequest(str(source), str(out), spec, cfg, key=bench_key(0), workers=workers))  # type: ignore[arg-type]
    return time.perf_counter() - started


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for side, count in SIDES.items():
            source = Path(name) / f"in{side}"
            write_images(source, side, count)
            for workers in (1, 2):
                pairs = []
                for _ in range(3):
                    plain = seconds(source, Path(name) / "plain", identity.SPEC, identity.Config(), workers)
                    ours = seconds(source, Path(name) / "ours", cuda.SPEC, cuda.Config(), workers)
                    pairs.append((plain / ours, count / ours))
                share, speed = np.median(pairs, axis=0)
                rows.append({"side": side, "workers": workers, "images": count,
                             "share_of_unprotected_throughput": share, "images_per_s": speed})  # fmt: skip
    save("folder_speed", {"rows": rows})


if __name__ == "__main__":
    main()
