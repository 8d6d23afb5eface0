"""Anything -> Evidence: measure whether a protection holds."""

from noli._lazy import attach

__getattr__, __dir__ = attach(__name__, {"learnability": "noli.methods.verify.learnability"})
