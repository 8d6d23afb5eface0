"""noli: look, don't train. Protect data sets against unauthorised training, and measure how well it holds.

Everything is loaded on first use; ``import noli`` itself imports no array or imaging library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noli._lazy import attach

if TYPE_CHECKING:
    from noli import methods
    from noli.api import (
        ProtectRun,
        attack,
        audit,
        audit_model,
        check_bundle,
        check_bundles,
        choose,
        demo,
        detect,
        device_key,
        diff,
        diff_texts,
        doctor,
        encode,
        explain,
        export_model,
        licence,
        lock,
        lock_model,
        mark,
        mark_model,
        mark_texts,
        open_sealed,
        opened_detector,
        patch_order,
        plan,
        plan_mark,
        predict,
        preview,
        proliferate,
        propose_words,
        protect,
        protect_auto,
        recipient,
        revoke_device,
        revoke_licences,
        rotate,
        rotate_device,
        seal,
        t2ue,
        trace_model,
        undo,
        verify,
        write_report,
    )
    from noli.core.errors import NoliError
    from noli.core.evidence import Evidence
    from noli.core.key import Key
    from noli.core.run import Run
    from noli.data.sources import open_source

__version__ = "0.1.0"

__all__ = [
    "Evidence",
    "Key",
    "NoliError",
    "ProtectRun",
    "Run",
    "__version__",
    "attack",
    "audit",
    "audit_model",
    "check_bundle",
    "check_bundles",
    "choose",
    "demo",
    "detect",
    "device_key",
    "diff",
    "diff_texts",
    "doctor",
    "encode",
    "explain",
    "export_model",
    "licence",
    "lock",
    "lock_model",
    "mark",
    "mark_model",
    "mark_texts",
    "methods",
    "open_sealed",
    "open_source",
    "opened_detector",
    "patch_order",
    "plan",
    "plan_mark",
    "predict",
    "preview",
    "proliferate",
    "propose_words",
    "protect",
    "protect_auto",
    "recipient",
    "revoke_device",
    "revoke_licences",
    "rotate",
    "rotate_device",
    "seal",
    "t2ue",
    "trace_model",
    "undo",
    "verify",
    "write_report",
]

__getattr__, __dir__ = attach(
    __name__,
    {name: f"noli.api:{name}" for name in __all__}
    | {
        "Evidence": "noli.core.evidence:Evidence",
        "Key": "noli.core.key:Key",
        "NoliError": "noli.core.errors:NoliError",
        "Run": "noli.core.run:Run",
        "methods": "noli.methods",
        "t2ue": "noli.api.t2ue",
        "open_source": "noli.data.sources:open_source",
    },
)
