"""What the Python API and the command line both call: one function a verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noli._lazy import attach

if TYPE_CHECKING:
    from noli.api._attack import attack as attack
    from noli.api._audit import audit as audit
    from noli.api._auto import choose as choose
    from noli.api._auto import protect_auto as protect_auto
    from noli.api._check import check_bundle as check_bundle
    from noli.api._check import check_bundles as check_bundles
    from noli.api._countermeasures import Countermeasure as Countermeasure
    from noli.api._countermeasures import countermeasures as countermeasures
    from noli.api._demo import DemoResult as DemoResult
    from noli.api._demo import demo as demo
    from noli.api._detect import Detection as Detection
    from noli.api._detect import detect as detect
    from noli.api._detect import rehearse as rehearse
    from noli.api._doctor import DoctorReport as DoctorReport
    from noli.api._doctor import doctor as doctor
    from noli.api._explain import Explanation as Explanation
    from noli.api._explain import explain as explain
    from noli.api._fleet import device_key as device_key
    from noli.api._fleet import proliferate as proliferate
    from noli.api._fleet import revoke_device as revoke_device
    from noli.api._fleet import rotate_device as rotate_device
    from noli.api._fleet import trace_model as trace_model
    from noli.api._lock import encode as encode
    from noli.api._lock import lock as lock
    from noli.api._lock import lock_model as lock_model
    from noli.api._lock import rotate as rotate
    from noli.api._mark import MarkRun as MarkRun
    from noli.api._mark import mark as mark
    from noli.api._mark import stamp as stamp
    from noli.api._mark_models import ModelRun as ModelRun
    from noli.api._mark_models import mark_model as mark_model
    from noli.api._mark_texts import TextRun as TextRun
    from noli.api._mark_texts import mark_texts as mark_texts
    from noli.api._mark_texts import propose_words as propose_words
    from noli.api._plan_mark import plan_mark as plan_mark
    from noli.api._protect import ProtectRun as ProtectRun
    from noli.api._protect import plan as plan
    from noli.api._protect import preview as preview
    from noli.api._protect import protect as protect
    from noli.api._seal import licence as licence
    from noli.api._seal import open_sealed as open_sealed
    from noli.api._seal import opened_detector as opened_detector
    from noli.api._seal import recipient as recipient
    from noli.api._seal import revoke_licences as revoke_licences
    from noli.api._seal import seal as seal
    from noli.api._verify import verify as verify
    from noli.api._write import write_report as write_report
    from noli.engine.diff import diff as diff
    from noli.engine.exporting import Exported as Exported
    from noli.engine.exporting import export_model as export_model
    from noli.engine.exporting import patch_order as patch_order
    from noli.engine.model_audit import audit_model as audit_model
    from noli.engine.predicting import Predictions as Predictions
    from noli.engine.predicting import predict as predict
    from noli.engine.texts.compare import TextDiff as TextDiff
    from noli.engine.texts.compare import are_texts as are_texts
    from noli.engine.texts.compare import diff_texts as diff_texts
    from noli.engine.undo import undo as undo

_MODULES = {
    "noli.api._attack": ("attack",),
    "noli.api._auto": ("choose", "protect_auto"),
    "noli.api._check": ("check_bundle", "check_bundles"),
    "noli.api._countermeasures": ("Countermeasure", "countermeasures"),
    "noli.api._demo": ("DemoResult", "demo"),
    "noli.api._detect": ("Detection", "detect", "rehearse"),
    "noli.api._doctor": ("DoctorReport", "doctor"),
    "noli.api._explain": ("Explanation", "explain"),
    "noli.api._audit": ("audit",),
    "noli.api._fleet": ("device_key", "proliferate", "revoke_device", "rotate_device", "trace_model"),
    "noli.api._lock": ("encode", "lock", "lock_model", "rotate"),
    "noli.api._mark": ("MarkRun", "mark", "stamp"),
    "noli.api._mark_models": ("ModelRun", "mark_model"),
    "noli.api._mark_texts": ("TextRun", "mark_texts", "propose_words"),
    "noli.api._plan_mark": ("plan_mark",),
    "noli.api._protect": ("ProtectRun", "plan", "preview", "protect"),
    "noli.api._seal": (
        "licence",
        "open_sealed",
        "opened_detector",
        "recipient",
        "revoke_licences",
        "seal",
    ),
    "noli.api._verify": ("verify",),
    "noli.api._write": ("write_report",),
    "noli.engine.diff": ("diff",),
    "noli.engine.exporting": ("Exported", "export_model", "patch_order"),
    "noli.engine.model_audit": ("audit_model",),
    "noli.engine.predicting": ("Predictions", "predict"),
    "noli.engine.texts.compare": ("TextDiff", "are_texts", "diff_texts"),
    "noli.engine.undo": ("undo",),
}
_NAMES = {name: f"{module}:{name}" for module, names in _MODULES.items() for name in names}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = attach(__name__, _NAMES)
