"""noli: look, don't train. Protect data sets against unauthorised training, and measure how well it holds.

Everything is loaded on first use; ``import noli`` itself imports no array or imaging library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noli._lazy import attach

if TYPE_CHECKING:
    from noli import methods as methods
    from noli.api import ProtectRun as ProtectRun
    from noli.api import demo as demo
    from noli.api import diff as diff
    from noli.api import doctor as doctor
    from noli.api import explain as explain
    from noli.api import plan as plan
    from noli.api import preview as preview
    from noli.api import protect as protect
    from noli.api import undo as undo
    from noli.api import verify as verify
    from noli.api import write_report as write_report
    from noli.core.errors import NoliError as NoliError
    from noli.core.evidence import Evidence as Evidence
    from noli.core.key import Key as Key
    from noli.core.run import Run as Run
    from noli.data.sources import open_source as open_source

__version__ = "0.1.0"

_VERBS = ("demo", "diff", "doctor", "explain", "plan", "preview", "protect", "undo", "verify", "write_report")
_NAMES = {name: f"noli.api:{name}" for name in ("ProtectRun", *_VERBS)} | {
    "Evidence": "noli.core.evidence:Evidence",
    "Key": "noli.core.key:Key",
    "NoliError": "noli.core.errors:NoliError",
    "Run": "noli.core.run:Run",
    "methods": "noli.methods",
    "open_source": "noli.data.sources:open_source",
}
__all__ = sorted([*_NAMES, "__version__"])
__getattr__, __dir__ = attach(__name__, _NAMES)
