"""Data -> data: make published data useless for unauthorised training."""

from noli._lazy import attach

__getattr__, __dir__ = attach(__name__, {"cuda": "noli.methods.protect.cuda"})
