"""Facts about a method: its card and its options."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from noli import options, registry
from noli.core.errors import UsageError
from noli.core.method import Spec


@dataclass(frozen=True)
class Option:
    """One option of a method: name, type with its range, default and meaning, in words."""

    name: str
    type: str
    default: str
    help: str


@dataclass(frozen=True)
class Explanation:
    """What there is to know about a method: its registry entry and its options, in the Config's order."""

    spec: Spec
    options: tuple[Option, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready fields."""
        plain = {name: getattr(self.spec, name) for name in ("name", "family", "arrow", "reversible")}
        return {
            **plain,
            "needs": sorted(self.spec.needs),
            "card": asdict(self.spec.card),
            "options": [asdict(option) for option in self.options],
        }


def explain(method: str) -> Explanation:
    """Return what a method stops, what it does not stop, and its options.

    Args:
        method: Registry name, ``protect/cuda`` or a plug-in's ``package/name``; noli's own also as ``cuda``.

    Raises:
        UsageError: Unknown method (with the nearest names).
        MissingPrerequisite: The method cannot be loaded.
    """
    if method in ("attack", *registry.FAMILIES):
        raise UsageError(f"{method} is a family, no method.", fix=f"name one of `noli list {method}`")
    own = {name.partition("/")[2]: name for name in registry.TABLE}
    spec = registry.get(own.get(method, method))
    rows = []
    for name, field in spec.config.model_fields.items():
        kind, _, default = options.describe(field).rpartition(", default ")
        meaning = options.meaning(spec.config, name)
        rows.append(Option(name, kind or default, default if kind else "", meaning))
    return Explanation(spec, tuple(rows))
