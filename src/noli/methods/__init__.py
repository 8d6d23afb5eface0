"""Methods, one file each, reachable as ``noli.methods.<family>.<name>``; loaded on first use."""

from noli._lazy import attach

__getattr__, __dir__ = attach(__name__, {"protect": "noli.methods.protect", "verify": "noli.methods.verify"})
