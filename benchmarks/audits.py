"""Audits of every scheme of perceptual encryption: what comes back without the key, and in how much time.

    python benchmarks/audits.py                 all schemes (about half an hour of CPU time)
    python benchmarks/audits.py --only NAME     this scheme, or several
    python benchmarks/audits.py --summary       only summarise the finished cells

200 pictures of 192 pixels (or fewer, where a name says so), one of each of 200 classes of ImageNet, under one
key (or, where it says fresh, a key for every picture); 200 others are public. Attacks that treat picture by
picture stop after 60 CPU seconds, others after 600, which none needed. Cells lie in
results/audits.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

import noli
from common import DATA, Cells, arguments, bench_key, save

SCHEMES: dict[str, tuple[str, dict[str, Any]]] = {
    "pixel": ("pixel", {}),
    "etc, 16": ("etc", {"block": 16}),
    "etc, 8": ("etc", {"block": 8}),
    "etc, 16, fresh": ("etc", {"block": 16, "fresh": True}),
    "le, 4": ("le", {}),
    "ele, 4": ("ele", {}),
    "ele, 4, 100 pictures": ("ele", {}),
    "ele, 4, 50 pictures": ("ele", {}),
    "ele, 4, 25 pictures": ("ele", {}),
    "ele, 4, fresh": ("ele", {"fresh": True}),
    "shf, 4": ("shuffle", {"block": 4}),
    "shf, 8": ("shuffle", {"block": 8}),
    "shf, 16": ("shuffle", {"block": 16}),
    "shf, 4, fresh": ("shuffle", {"block": 4, "fresh": True}),
    "np, 4": ("shuffle", {"block": 4, "kind": "np"}),
    "ffx, 4": ("shuffle", {"block": 4, "kind": "ffx"}),
}
PICTURES = 200
FEWER = {f"ele, 4, {count} pictures": count for count in (100, 50, 25)}


def folder_of(images: np.ndarray, place: Path) -> Path:
    """Write images, blue first, as PNG files."""
    place.mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(place / f"{number:04d}.png"), image)
    return place


def cell(scheme: str) -> dict[str, Any]:
    """Lock and audit 200 pictures, or fewer; 200 others are public."""
    file = DATA / "imagenet1k_one_per_class_192.npz"
    if not file.exists():
        raise SystemExit(f"not available: {file} (set NOLI_BENCH_DATA)")
    with np.load(file) as found:
        body, ends = found["test_bytes"], found["test_offsets"]
    chosen = np.random.default_rng(0).permutation(len(ends) - 1)[: 2 * PICTURES]
    images = np.stack([cv2.imdecode(body[ends[one] : ends[one + 1]], cv2.IMREAD_COLOR) for one in chosen])
    method, options = SCHEMES[scheme]
    count = FEWER.get(scheme, PICTURES)
    with TemporaryDirectory() as work:
        place = Path(work)
        clean = folder_of(images[:count], place / "clean")
        public = folder_of(images[PICTURES:], place / "public")
        noli.lock(clean, place / "locked", method, key=bench_key(0), workers=1, **options)
        begun = time.process_time()
        limit = 60.0 if options.get("fresh") or method == "etc" else 600.0
        told = noli.audit(place / "locked", clean=clean, public=public, pictures=count, seconds=limit)
        seconds = time.process_time() - begun
    rows = {
        row.name: {
            "has": row.has, "ssim": row.ssim, "back": row.back, "pictures": row.pictures,
            "left_bits": row.left_bits, "seconds": row.seconds,
        }
        for row in told.rows
    }  # fmt: skip
    sizes = {
        name: getattr(told, name) for name in ("scrambled_ssim", "nominal", "capped", "effective", "least")
    }
    return {**sizes, "cpu_seconds": seconds, "rows": rows}


def main() -> None:
    args, cells = arguments(list(SCHEMES), [], [0]).parse_args(), Cells("audits")
    if not args.summary:
        for scheme in args.only[args.part[0] :: args.part[1]]:
            cells.get(scheme, lambda one=scheme: cell(one))  # type: ignore[misc]
    done = {name: cells.done[name] for name in SCHEMES if name in cells.done}
    table = {name: {k: v for k, v in one.items() if k not in ("cell", "on")} for name, one in done.items()}
    save("audits", {"schemes": table, "pictures": PICTURES}, cells)


if __name__ == "__main__":
    main()
