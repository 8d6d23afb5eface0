"""Data -> data: make published data useless for unauthorised training."""

from noli._lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "ar": "noli.methods.protect.ar",
        "cuda": "noli.methods.protect.cuda",
        "lsp": "noli.methods.protect.lsp",
    },
)
