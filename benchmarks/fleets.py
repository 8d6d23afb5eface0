"""Fleets: what pictures that are made on one device do to others, on CIFAR-10.

    python benchmarks/fleets.py                 all settings (about three hours of CPU time)
    python benchmarks/fleets.py --only NAME     this setting, or several
    python benchmarks/fleets.py --summary       only summarise what is finished

5,000 images, a fifth of them held out; a public network, then eight devices of one owner's key and one of the
attacker's own; 100 held-out images under APGD-CE, APGD-T and FAB-T at 4/255, the worst counting for each.
Published figures could not be read; aimed at: off the diagonal 70 % of the clean accuracy, no key at most
half of it, 5 MB per device. Cells lie in results/fleets.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import noli
from common import CLASSES, Cells, arguments, bench_key, cifar10, cpu_cost, save, work_file
from noli.core.transfer import Transfer

DEVICES = tuple(f"device-{number}" for number in range(8))
SETTINGS: dict[str, dict[str, Any]] = {
    "convmixer, rank 8": {"network": "convmixer"},
    "convmixer, rank 0": {"network": "convmixer", "rank": 0},
    "convmixer, public start": {"network": "convmixer", "start": "public"},
    "convmixer, public start, apart 1": {"network": "convmixer", "start": "public", "apart": 1.0},
    "vit, rank 8": {"network": "vit"},
    "vit, rank 0": {"network": "vit", "rank": 0},
}


def cell(setting: str, seed: int) -> dict[str, Any]:
    """Make a fleet and its matrix; an interrupted one goes on."""
    x, y = cifar10("train", 5_000)
    file = work_file("fleets-pictures.npz")
    if not file.exists():
        np.savez(file, images=x, labels=np.array(CLASSES)[y])
    begun = time.process_time()
    run = noli.proliferate(
        file, work_file(f"fleets-{setting}-{seed}"), devices=DEVICES, key=bench_key(seed), workers=1,
        **SETTINGS[setting],
    )  # fmt: skip
    found = run.manifest.results
    transfer = Transfer.model_validate(found["transfer"])
    rows = {row: float(np.mean([one[row] for one in found["accuracy"].values()])) for row in
            ("clean", "no key", "wrong keys", "worst wrong key")}  # fmt: skip
    return {
        **rows,
        "own": transfer.own,
        "across": float(np.mean(transfer.across)),
        "worst across": min(transfer.across),
        "kept": transfer.kept,
        "attacker's own device": float(np.mean(transfer.accuracy[-2])),
        "public network": float(np.mean(transfer.accuracy[-1])),
        "attacked clean": float(np.mean(transfer.clean)),
        "matrix": transfer.accuracy,
        "largest_bytes": found["largest_bytes"],
        **cpu_cost(begun),
    }


def summary(cells: Cells) -> dict[str, Any]:
    """Every setting, as measured, and whether it does what was aimed at."""
    table: dict[str, Any] = {}
    for setting in SETTINGS:
        for name, one in cells.done.items():
            if name.startswith(f"{setting}/"):
                aims = {
                    "off the diagonal": one["kept"] >= 0.7,
                    "no key": one["no key"] <= one["clean"] / 2,
                    "size": one["largest_bytes"] <= 5e6,
                }
                facts = {key: value for key, value in one.items() if key not in ("cell", "on")}
                table.setdefault(setting, []).append({**facts, "aims": aims})
    return {"settings": table, "devices": len(DEVICES), "images": 5_000, "eps": 4 / 255}


def main() -> None:
    args, cells = arguments(list(SETTINGS), [], range(1)).parse_args(), Cells("fleets")
    jobs = [(setting, seed) for seed in args.seeds for setting in args.only]
    if not args.summary:
        for setting, seed in jobs[args.part[0] :: args.part[1]]:
            cells.get(f"{setting}/{seed}", lambda job=(setting, seed): cell(*job))  # type: ignore[misc]
    save("fleets", summary(cells), cells)


if __name__ == "__main__":
    main()
