"""What may appear in a report: secrets never, names and places only when pictures may be shown."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from noli.core.errors import clean_url
from noli.core.evidence import Evidence

NOT_SHOWN = "not shown"
WITHHELD = "withheld"

_SECRET = re.compile(
    r"secret|passphrase|password|passwd|token|credential|private|signature|access_?key|api_?key", re.I
)
_KEY_PLACE = re.compile(r"key|keys|key_?file|key_?path", re.I)
# What of a manifest tells about noli, the machine and amounts, never about the data.
_OPEN = ("schema_version", "run_id", "created", "finished", "status", "verb", "method", "key", "model",
         "environment", "threads", "resources", "shards")  # fmt: skip
_OPEN_SIDE = ("layout", "items", "skipped", "bytes", "hash", "format", "metadata")
_OPEN_WORDS = ("mode", "battery", "claim", "network")


def redact(value: Any, name: str = "") -> Any:
    """Return a copy of JSON data without anything secret.

    Fields with a telling name are blanked whatever they hold; places of key files are blanked too; logins
    and query strings are cut out of URLs, because object stores keep credentials there.
    """
    if value is None or isinstance(value, bool):
        return value
    if _SECRET.search(name) or (isinstance(value, str) and _KEY_PLACE.fullmatch(name)):
        return NOT_SHOWN
    if isinstance(value, Mapping):
        return {str(key): redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, name) for item in value]
    return clean_url(value) if isinstance(value, str) else value


def without_names(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest without names and places, for reports on data about people: an allow-list."""
    kept = {name: manifest[name] for name in _OPEN if name in manifest}
    for side in ("input", "output"):
        kept[side] = {name: value for name, value in (manifest.get(side) or {}).items() if name in _OPEN_SIDE}
    kept["args_resolved"] = _plain((manifest.get("args_resolved") or {}).get("config") or {})
    return kept


def evidence_without_names(evidence: Evidence, manifest: Mapping[str, Any]) -> Evidence:
    """Return evidence without names and places.

    The reason why data allowed no answer at all may list class names, and classes can be people.
    """
    text = evidence.model_dump_json()
    for side in ("input", "output"):
        if place := (manifest.get(side) or {}).get("uri"):
            text = text.replace(json.dumps(place, ensure_ascii=False)[1:-1], WITHHELD)
    changes: dict[str, Any] = {"config": _plain(evidence.config)}
    if not evidence.rows:
        changes["reason"] = "The data allowed no answer; artifacts/evidence.json in the run folder says why."
    return Evidence.model_validate_json(text).model_copy(update=changes)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keep numbers, and the words that name a way to work."""
    return {n: v for n, v in config.items() if isinstance(v, int | float) or n in _OPEN_WORDS}


def item_name(record: Mapping[str, Any], run_id: str, *, names: bool) -> str:
    """Return how a report calls an item: its name, or a digest when names may not be shown.

    The digest is the item's content id where there is one. Unlike a hash of the name it cannot be found by
    trying names of patients, and the data office can still look it up in the run folder.
    """
    if names:
        return str(record["path"])
    salted = f"{run_id}/{record['path']}".encode("utf-8", "surrogatepass")
    return f"item {(record.get('id') or hashlib.sha256(salted).hexdigest())[:12]}"
