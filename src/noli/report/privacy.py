"""What may appear in a report: secrets never, names and places only when pictures may be shown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from noli.core.evidence import Evidence

NOT_SHOWN = "not shown"
WITHHELD = "withheld"

_SECRET = re.compile(
    r"secret|passphrase|password|passwd|token|credential|private|signature|access_?key|api_?key", re.I
)
_KEY_PLACE = re.compile(r"^(key|keys|key_?file|key_?path)$", re.I)
_LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s@]*@", re.I)
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#]*)[?#]\S*", re.I)
_DIGEST = re.compile(r"^[0-9a-f]{8,64}$")
# Fields of the manifest whose text is about noli and the machine, never about the data.
_OPEN = frozenset(
    {"run_id", "created", "finished", "status", "verb", "method", "key", "environment", "model"}
)
# Words that say how data is laid out or treated; free of names by construction.
_PLAIN = frozenset(
    {"layout", "format", "metadata", "mode", "direction", "on_error", "type", "battery", "claim", "network"}
)


def redact(value: Any, *, name: str = "", public: Collection[str] = ()) -> Any:
    """Return a copy of JSON data without anything secret.

    Fields with a telling name are blanked whatever they hold; places of key files are blanked too; logins
    and query strings are cut out of URLs, because object stores keep credentials there.

    Args:
        value: JSON data.
        name: Name of the field that holds `value`.
        public: Strings that may be shown under any name (key id and commitment).
    """
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in public):
        return value
    if _SECRET.search(name):
        return NOT_SHOWN
    if isinstance(value, Mapping):
        return {str(key): redact(item, name=str(key), public=public) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, name=name, public=public) for item in value]
    if isinstance(value, str):
        return NOT_SHOWN if _KEY_PLACE.match(name) else clean_url(value)
    return value


def clean_url(text: str) -> str:
    """Return text with logins and query strings removed from the URLs in it."""
    return _QUERY.sub(r"\1", _LOGIN.sub(r"\1", text))


def withhold(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest without names and places, for reports on data about people.

    An allow-list: numbers and digests stay everywhere; text stays only where it cannot come from the data
    (times, versions, machine, method). All other text, and all unknown names of fields, are replaced.
    """
    return {key: value if key in _OPEN else _withhold(value, str(key)) for key, value in manifest.items()}


def _withhold(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        # Field names can be class or file names too (per-class results).
        named = all(re.fullmatch(r"[a-z][a-z0-9_]*", str(key)) for key in value)
        if not named or name in ("results", "state"):
            return f"{WITHHELD} ({len(value)} entries)"
        return {key: _withhold(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_withhold(item, name) for item in value]
    if isinstance(value, str) and value and not _DIGEST.match(value) and name not in _PLAIN:
        return WITHHELD
    return value


def discreet(evidence: Evidence, manifest: Mapping[str, Any]) -> Evidence:
    """Return evidence without names and places.

    The reason why data allowed no answer at all may list class names, and classes can be people.
    """
    places = [str((manifest.get(side) or {}).get("uri") or "") for side in ("input", "output")]
    reason, limits = evidence.reason, list(evidence.limits)
    if not evidence.rows:
        reason = "The data allowed no answer; artifacts/evidence.json in the run folder says why."
    for place in filter(None, places):
        reason = reason.replace(place, WITHHELD)
        limits = [text.replace(place, WITHHELD) for text in limits]
    config = _withhold(evidence.config, "config")
    changes = {
        "reason": reason,
        "limits": tuple(limits),
        "config": config if isinstance(config, dict) else {},
    }
    return evidence.model_copy(update=changes)


def item_name(record: Mapping[str, Any], run_id: str, *, pictures: bool) -> str:
    """Return how a report calls an item: its name, or a digest when names may not be shown.

    The digest is the item's content id where there is one. Unlike a hash of the name it cannot be found by
    trying names of patients, and the data office can still look it up in the run folder.
    """
    path = str(record.get("path", ""))
    if pictures:
        return path
    content = str(record.get("id", ""))
    if _DIGEST.match(content):
        return f"item {content[:12]}"
    return "item " + hashlib.sha256(f"{run_id}/{path}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
