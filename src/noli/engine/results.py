"""The figures of a finished run, computed from its records in one streaming pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from noli.core.manifest import ShardInfo
from noli.core.run import Record, Run, read_lines
from noli.data.dicom import BEYOND


@dataclass
class Spread:
    """Mean, minimum and maximum of a stream of numbers; identical images (no finite PSNR) are counted."""

    n: int = 0
    total: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")
    identical: int = 0

    def add(self, value: float | None) -> None:
        """Count one value; None stands for infinity."""
        if value is None:
            self.identical += 1
            return
        self.n += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)

    def named(self, name: str) -> dict[str, float | None]:
        """Return ``{name}_mean``, ``_min`` and ``_max`` over finite values (None when there is none)."""
        found = (round(self.total / self.n, 4), self.low, self.high) if self.n else (None, None, None)
        return dict(zip((f"{name}_mean", f"{name}_min", f"{name}_max"), found, strict=True))


@dataclass
class Tally:
    """Everything counted over the records of a run; ``failed`` items never worked, also not when retried."""

    items: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    with_gps: int = 0
    dicom: int = 0
    beyond_window: int = 0
    failed: set[str] = field(default_factory=set)
    psnr: Spread = field(default_factory=Spread)
    linf: Spread = field(default_factory=Spread)
    restored: Spread = field(default_factory=Spread)
    shards: list[ShardInfo] = field(default_factory=list)
    hash_in: Any = field(default_factory=hashlib.sha256)
    hash_out: Any = field(default_factory=hashlib.sha256)

    def add(self, record: Record) -> None:
        """Count one record."""
        if "error" in record:
            self.failed.add(record["path"])
            return
        # Repaired after it had been skipped: its later record counts.
        self.failed.discard(record["path"])
        self.items += 1
        self.bytes_in += record["size"]
        self.bytes_out += record["size_out"]
        self.with_gps += any(note.startswith("GPS") for note in record["notes"])
        self.dicom += any(note.startswith("DICOM") for note in record["notes"])
        self.beyond_window += BEYOND in record["notes"]
        self.psnr.add(record["psnr"])
        self.linf.add(record["linf"] * (255 / 65535 if record["bits"] == 16 else 1))
        if "restored_psnr" in record:
            self.restored.add(record["restored_psnr"])
        self.hash_in.update(_line(record["path"], record["sha256_in"]))
        self.hash_out.update(_line(record["out"], record["sha256_out"]))

    def results(self) -> dict[str, Any]:
        """Return the ``results`` of the manifest; `linf` is in 8-bit levels, PSNR in dB."""
        found: dict[str, Any] = {
            "items": self.items,
            "skipped": len(self.failed),
            "identical": self.psnr.identical,
            **self.psnr.named("psnr"),
            "linf_max": self.linf.named("linf")["linf_max"],
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "with_gps": self.with_gps,
        }
        if self.dicom:
            found["dicom"] = self.dicom
        if self.beyond_window:
            found["beyond_window"] = self.beyond_window
        if compared := self.restored.n + self.restored.identical:
            found |= {"restored_compared": compared, "restored_identical": self.restored.identical}
            found |= self.restored.named("restored_psnr")
        return found


def stored_names(run: Run) -> dict[str, str]:
    """Return how a finished output calls its items: out-path of the records -> path in the output.

    Rows are recorded as they count in the source; the output counts only those it holds.
    """
    outs = [record["out"] for record in run.iter_records() if "error" not in record]
    if run.manifest.output is None or run.manifest.output.layout not in ("npz", "parquet"):
        return {out: out for out in outs}
    tables: dict[str, list[int]] = {}
    for out in outs:
        table, _, row = out.rpartition("#")
        tables.setdefault(table, []).append(int(row))
    return {
        f"{t}#{row}": f"{t}#{rank}" for t, rows in tables.items() for rank, row in enumerate(sorted(rows))
    }


def tally(run: Run) -> Tally:
    """Count all records of a run, one at a time."""
    found = Tally()
    for index in range(sum(generation.shards for generation in run.manifest.generations)):
        digest, count = hashlib.sha256(), 0
        for record in read_lines(run.shard_record(index)):
            found.add(record)
            count += 1
            if "error" not in record:
                digest.update(_line(record["out"], record["sha256_out"]))
        found.shards.append(ShardInfo(index=index, items=count, sha256=digest.hexdigest()))
    return found


def _line(name: str, sha256: str) -> bytes:
    return name.encode("utf-8", "surrogatepass") + b"\0" + sha256.encode() + b"\n"
