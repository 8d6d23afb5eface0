"""The manifest as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noli.core.evidence import Evidence

SHOWN_SHARDS = 200
Section = tuple[str, list[tuple[str, str]]]
_NAMES = {
    "run_id": "run",
    "uri": "place",
    "hash": "digest over names and contents",
    "cpu_cores": "cores",
    "git_commit": "noli commit",
    "git_dirty": "noli modified",
    "schema_version": "format of run.json",
    "peak_memory_mb": "peak memory (MiB)",
    "wall_seconds": "elapsed (s)",
    "cpu_seconds": "processor time (s)",
}


def sections(manifest: Mapping[str, Any], evidence: Evidence | None) -> list[Section]:
    """Return titled tables ``(name, value)`` of a redacted manifest; empty ones are left out.

    The method's prepared state is not shown: it is long, and ``run.json`` keeps it.
    """
    top = ("run_id", "status", "verb", "method", "created", "finished", "schema_version", "threads")
    found: list[Section] = [
        ("Run", flatten({name: manifest.get(name) for name in top})),
        ("Key (public part)", flatten(manifest.get("key"))),
        ("Input", flatten(manifest.get("input"))),
        ("Output", flatten(manifest.get("output"))),
        ("Model", flatten(manifest.get("model"))),
        ("Arguments as given", flatten(manifest.get("args_passed"))),
        ("Arguments after defaults", flatten(manifest.get("args_resolved"))),
        ("Results", flatten(manifest.get("results"))),
        ("Resources", flatten(manifest.get("resources"))),
        ("Machine and software", flatten(manifest.get("environment"))),
        ("Digests of the shards", _shards(manifest.get("shards") or [])),
    ]
    if evidence is not None:
        found += [
            ("Test settings", flatten(evidence.config)),
            ("Digests of the data tested", flatten(evidence.hashes)),
        ]
    return [(title, rows) for title, rows in found if rows]


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested JSON as ``(dotted name, text)`` rows; missing and empty values are left out."""
    if value is None or value == "" or value == [] or value == {}:
        return []
    if isinstance(value, Mapping):
        rows: list[tuple[str, str]] = []
        for name, item in value.items():
            shown = _NAMES.get(str(name), str(name).replace("_", " "))
            rows += flatten(item, f"{prefix}: {shown}" if prefix else shown)
        return rows
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(_text(item) for item in value))]
    return [(prefix or "value", _text(value))]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shards(shards: list[Any]) -> list[tuple[str, str]]:
    rows = [(f"{shard['index']} ({shard['items']} items)", str(shard["sha256"])) for shard in shards]
    if len(rows) > SHOWN_SHARDS:
        rest = len(rows) - SHOWN_SHARDS
        return [*rows[:SHOWN_SHARDS], (f"{rest} more", "in run.json")]
    return rows


def duration(resources: Mapping[str, Any]) -> str:
    """Return the elapsed time for people, or an empty string."""
    seconds = float(resources.get("wall_seconds") or 0.0)
    if seconds <= 0:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
