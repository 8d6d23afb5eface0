"""What the Python API and the command line both call: one function a verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noli._lazy import attach

if TYPE_CHECKING:
    from noli.api._demo import DemoResult as DemoResult
    from noli.api._demo import demo as demo
    from noli.api._doctor import DoctorReport as DoctorReport
    from noli.api._doctor import doctor as doctor
    from noli.api._explain import Explanation as Explanation
    from noli.api._explain import explain as explain
    from noli.api._protect import ProtectRun as ProtectRun
    from noli.api._protect import plan as plan
    from noli.api._protect import preview as preview
    from noli.api._protect import protect as protect
    from noli.api._undo import diff as diff
    from noli.api._undo import undo as undo
    from noli.api._verify import verify as verify
    from noli.api._write import write_report as write_report

__all__ = [
    "DemoResult",
    "DoctorReport",
    "Explanation",
    "ProtectRun",
    "demo",
    "diff",
    "doctor",
    "explain",
    "plan",
    "preview",
    "protect",
    "undo",
    "verify",
    "write_report",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "DemoResult": "noli.api._demo:DemoResult",
        "DoctorReport": "noli.api._doctor:DoctorReport",
        "Explanation": "noli.api._explain:Explanation",
        "ProtectRun": "noli.api._protect:ProtectRun",
        "demo": "noli.api._demo:demo",
        "diff": "noli.api._undo:diff",
        "doctor": "noli.api._doctor:doctor",
        "explain": "noli.api._explain:explain",
        "plan": "noli.api._protect:plan",
        "preview": "noli.api._protect:preview",
        "protect": "noli.api._protect:protect",
        "undo": "noli.api._undo:undo",
        "verify": "noli.api._verify:verify",
        "write_report": "noli.api._write:write_report",
    },
)
