"""Data -> data: make published data useless for unauthorised training."""

from noli._lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "ar": "noli.methods.protect.ar",
        "cuda": "noli.methods.protect.cuda",
        "em": "noli.methods.protect.em",
        "lsp": "noli.methods.protect.lsp",
        "ops": "noli.methods.protect.ops",
        "rem": "noli.methods.protect.rem",
        "salm": "noli.methods.protect.salm",
        "sem": "noli.methods.protect.sem",
        "t2ue": "noli.methods.protect.t2ue",
        "tap": "noli.methods.protect.tap",
        "uc": "noli.methods.protect.uc",
        "weave": "noli.methods.protect.weave",
    },
)
