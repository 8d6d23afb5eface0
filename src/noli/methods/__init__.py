"""Methods, one file each, reachable as ``noli.methods.<family>.<name>``; loaded on first use."""

from noli._lazy import attach

_FAMILIES = ("lock", "mark", "protect", "verify")
__getattr__, __dir__ = attach(__name__, {family: f"noli.methods.{family}" for family in _FAMILIES})
