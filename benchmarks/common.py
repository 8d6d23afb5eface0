"""What the benchmarks share: where data and results lie, the machine's description, timing, cells."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from noli.core.dataset import Item, content_id
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import FOLDER, DataSummary, MethodConfig
from noli.data.study import ArrayStudy
from noli.methods.protect import cuda

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DATA = Path(os.environ.get("NOLI_BENCH_DATA", HERE.parent.parent / "shared" / "data"))


def cache_sized(count: int, height: int, width: int, channels: int) -> Iterator[slice]:
    """Cut ``count`` equal images into runs whose working arrays fit the processor's cache (about 1 MB).

    Work on large images is limited by memory traffic: one image at a time is faster there than a batch.
    """
    step = max(1, (1 << 18) // max(1, height * width * channels))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def machine() -> dict[str, Any]:
    """Describe the machine in words that travel with every result."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    features = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    return {"cpu": model or platform.processor(), "cores": os.cpu_count(), "features": features,
            "python": platform.python_version()}  # fmt: skip


def save(name: str, body: dict[str, Any]) -> Path:
    """Write ``results/name.json`` with the machine's description and print it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps({"machine": machine(), **body}, indent=1, sort_keys=True)
    path.write_text(text + "\n")
    print(text)
    return path


def clock(work: Callable[[], object], *, repeats: int = 5) -> dict[str, float]:
    """Median wall and CPU seconds of ``work`` after one warm-up."""
    work()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall": float(np.median(walls)), "cpu": float(np.median(cpus))}


def peak_mb() -> float:
    """Peak resident memory of this process and of its finished children, MB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) / 1024


def cifar10(split: str, items: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10 as ``uint8 [N, 32, 32, 3]`` and labels; exits with a message where it is not there."""
    path = DATA / "cifar10" / f"{split}-00000-of-00001.parquet"
    if not path.exists():
        raise SystemExit(f"not available: {path} (set NOLI_BENCH_DATA)")
    table = pq.read_table(path)
    images = []
    for row in table.column("img").to_pylist()[:items]:
        decoded = cv2.imdecode(np.frombuffer(row["bytes"], np.uint8), cv2.IMREAD_COLOR)
        images.append(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
    return np.stack(images), np.array(table.column("label").to_pylist()[:items], np.int64)


def bench_key(number: int) -> Key:
    """The benchmark's key of this number; public, so good for measuring only."""
    return Key.from_bytes(hashlib.sha256(f"benchmark key {number}".encode()).digest(), f"bench-{number}")


def protect_arrays(
    x: np.ndarray,
    y: np.ndarray,
    key: Key,
    cfg: MethodConfig,
    method: Any = cuda,
    *,
    classes: Sequence[str] = CLASSES,
    texts: Sequence[str] | None = None,
) -> np.ndarray:
    """Protect ``uint8 [N, H, W, C]`` with labels, and captions, in memory, as the runner does with files."""
    items = [
        Item(content_id(image)[0], f"{i}", classes[label], text=texts[i] if texts else None)
        for i, (image, label) in enumerate(zip(x, y, strict=True))
    ]
    out = np.empty_like(x)
    with TemporaryDirectory() as folder:
        study = ArrayStudy(items, list(x), Path(folder))
        summary = DataSummary(len(x), tuple(classes), {x.shape[1:]: len(x)}, study=study)
        state = {**method.prepare(summary, key, cfg), FOLDER: folder}
        for run in cache_sized(*x.shape):
            out[run] = to_uint8(method.apply(state, to_float(x[run]), items[run], key, cfg))
    return out


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Mean PSNR in dB over images ``uint8 [N, H, W, C]``."""
    error = ((a.astype(np.float32) - b) ** 2).reshape(len(a), -1).mean(1)
    return float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-3))))


class Cells:
    """Finished measurements in a JSON-lines file: resumable, any cell can be deleted and run again.

    Args:
        name: File name under ``results`` without suffix.
    """

    def __init__(self, name: str) -> None:
        self.path = RESULTS / f"{name}.jsonl"
        self.path.parent.mkdir(exist_ok=True)
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.done = {(row := json.loads(line))["cell"]: row for line in lines if line}

    def get(self, cell: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the finished cell, running it first when it is missing."""
        if cell not in self.done:
            row = {"cell": cell, **work()}
            with self.path.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            self.done[cell] = row
            print(json.dumps(row), flush=True)
        return self.done[cell]
