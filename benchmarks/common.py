"""What the benchmarks share: where data and results lie, the machine's description, timing, cells."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch

from noli.core.dataset import Item, content_id
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import FOLDER, DataSummary, MethodConfig
from noli.data.study import ArrayStudy
from noli.methods.protect import cuda
from noli.methods.verify.battery import Measure
from noli.methods.verify.rows import summarise

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


def place() -> str:
    """The machine in a few words, for single cells: they decide whether trainings ran in bf16 or float32."""
    found = machine()
    names = [found["cpu"], *found["features"]]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name()]
    return ", ".join((*names, f"torch {torch.__version__}"))


def cpu_cost(begun: float) -> dict[str, float]:
    """CPU seconds since ``time.process_time()`` was `begun`; none where a GPU may have done the work."""
    return {} if torch.cuda.is_available() else {"cpu_seconds": time.process_time() - begun}


def save(name: str, body: dict[str, Any], cells: Cells | None = None) -> Path:
    """Write ``results/name.json`` with this machine's description, or where the cells come from; print it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    here = {"machine": machine()} if cells is None else {"summarised on": machine(), "cells": cells.places()}
    text = json.dumps({**here, **body}, indent=1, sort_keys=True)
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


class Protector:
    """One method on images in memory, as the runner does it with files; it can be extended by new images.

    Args:
        method: Method module.
        key: Owner's key.
        cfg: The method's options.
        classes: Class names.
        folder: Where the method keeps its files.
    """

    def __init__(
        self, method: Any, key: Key, cfg: MethodConfig, classes: Sequence[str], folder: Path
    ) -> None:
        self.method, self.key, self.cfg, self.classes, self.folder = method, key, cfg, classes, folder
        self.state: dict[str, Any] | None = None

    def protect(self, x: np.ndarray, y: np.ndarray, texts: Sequence[str] | None = None) -> np.ndarray:
        """Protect ``uint8 [N, H, W, C]`` with labels; later calls add theirs to the run of the first."""
        items = [
            Item(content_id(image)[0], f"{i}", self.classes[label], text=texts[i] if texts else None)
            for i, (image, label) in enumerate(zip(x, y, strict=True))
        ]
        study = ArrayStudy(items, list(x), self.folder)
        summary = DataSummary(len(x), tuple(self.classes), {x.shape[1:]: len(x)}, study=study)
        found = self.method.prepare(summary, self.key, self.cfg, self.state)
        self.state = self.state or found
        state, out = {**found, FOLDER: str(self.folder)}, np.empty_like(x)
        for run in cache_sized(*x.shape):
            out[run] = to_uint8(self.method.apply(state, to_float(x[run]), items[run], self.key, self.cfg))
        return out


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
    with TemporaryDirectory() as folder:
        return Protector(method, key, cfg, classes, Path(folder)).protect(x, y, texts)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Mean PSNR in dB over images ``uint8 [N, H, W, C]``."""
    error = ((a.astype(np.float32) - b) ** 2).reshape(len(a), -1).mean(1)
    return float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-3))))


class Cells:
    """Finished measurements in JSON-lines files: resumable, any cell can be deleted and run again.

    Args:
        name: File name under ``results`` without suffix.
        apart: It is a folder with a file for every setting (a cell is ``setting/row/seed``), as a single one
            would grow too large to keep.
    """

    def __init__(self, name: str, *, apart: bool = False) -> None:
        self.path, self.apart = RESULTS / (name if apart else f"{name}.jsonl"), apart
        files = sorted(self.path.glob("*.jsonl")) if apart else [self.path]
        lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
        self.done = {(row := json.loads(line))["cell"]: row for line in lines if line}

    def file(self, cell: str) -> Path:
        """Where a cell lies."""
        setting = cell.rsplit("/", 2)[0]
        return self.path / f"{re.sub('[^a-z0-9]+', '-', setting)}.jsonl" if self.apart else self.path

    def places(self) -> dict[str, int]:
        """How many cells were measured where."""
        return dict(Counter(row.get("on", "not recorded") for row in self.done.values()))

    def get(self, cell: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the finished cell, running it first when it is missing."""
        if cell not in self.done:
            row = {"cell": cell, "on": place(), **work()}
            # In one piece: several processes may share the file.
            self.file(cell).parent.mkdir(parents=True, exist_ok=True)
            with self.file(cell).open("ab", buffering=0) as stream:
                stream.write(f"{json.dumps(row)}\n".encode())
            self.done[cell] = row
            print(json.dumps(row), flush=True)
        return self.done[cell]


def work_file(name: str) -> Path:
    """Where something waits that takes long to make and is no result."""
    path = HERE / "work" / name.replace("/", "_")
    path.parent.mkdir(exist_ok=True)
    return path


def made_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting's options; those that are functions make theirs now."""
    return {name: value() if callable(value) else value for name, value in options.items()}


def kept_images(
    cells: Cells,
    setting: str,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Protected images, kept on disk: making them may take longer than a training. No method: as they are.

    What they cost becomes the cell ``setting/made/seed``.
    """
    if not method:
        return x
    file = work_file(f"{cells.path.stem}-{setting}-{seed}-{len(x)}.npy")
    if not file.exists():
        module: Any = import_module(f"noli.methods.protect.{method}")
        cfg = module.Config(**made_options(options))
        begun = time.process_time()
        images = protect_arrays(x, y, bench_key(seed), cfg, module)
        cost = cpu_cost(begun) | {"psnr": psnr(x, images)}
        np.save(file, images)
        cells.get(f"{setting}/made/{seed}", lambda: cost)
    return np.load(file)


def arguments(settings: Sequence[str], rows: Sequence[str], seeds: Sequence[int]) -> argparse.ArgumentParser:
    """The command line of a table of settings and rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=settings, default=list(settings), help="these settings")
    parser.add_argument("--rows", nargs="+", default=rows, help="these rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds), help="these seeds")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="this process's share: I N")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    return parser


def summarised(name: str, measures: Mapping[str, Measure], cells: Cells) -> dict[str, Any]:
    """Rows of one setting, the row with the highest accuracy, quality and cost; empty if nothing is done."""
    rows = {}
    for row, measure in measures.items():
        places = [place for place in cells.done if place.startswith(f"{name}/{row}/")]
        # By seed: a cell that was measured again lies at the end of its file.
        done = [cells.done[place] for place in sorted(places, key=lambda place: int(place.rsplit("/", 1)[1]))]
        if done:
            result = summarise(measure, done, 0.95)
            rows[row] = result.model_dump(include={"level", "value", "low", "high", "values"})
            # Of several test forms the better one counts, as it does for the accuracy.
            areas = [value for number, value in result.detail.items() if number.startswith("auc_")]
            rows[row] |= {"auc": max(areas)} if areas else {}
    made = [cell for place, cell in cells.done.items() if place.startswith(f"{name}/made/")]
    judged = [row for row in rows if measures[row].level != "context"]
    kept = dict.fromkeys(key for cell in made for key in cell if key not in ("cell", "on"))
    numbers = {key: float(np.mean([cell[key] for cell in made if key in cell])) for key in kept}
    worst = max(judged, key=lambda row: rows[row]["value"], default=None)
    return {"rows": rows, "worst": worst, **numbers} if rows else {}
