"""Start-up is a contract: light commands import nothing heavy, and the public names are what they say."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import ModuleType

import pytest

import noli
import noli.api

HEAVY = ("torch", "cv2", "pyarrow", "matplotlib", "scipy", "skimage", "PIL", "fsspec", "httpx")
# The public API. A change here is a change of what users may rely on: say so in the changelog.
INVENTORY = {
    "Evidence": "class",
    "Key": "class",
    "NoliError": "class",
    "ProtectRun": "class",
    "Run": "class",
    "__version__": "str",
    "attack": "function",
    "audit": "function",
    "audit_model": "function",
    "check_bundle": "function",
    "check_bundles": "function",
    "choose": "function",
    "demo": "function",
    "detect": "function",
    "device_key": "function",
    "diff": "function",
    "diff_texts": "function",
    "doctor": "function",
    "encode": "function",
    "explain": "function",
    "export_model": "function",
    "licence": "function",
    "lock": "function",
    "lock_model": "function",
    "mark": "function",
    "mark_model": "function",
    "mark_texts": "function",
    "methods": "module",
    "open_sealed": "function",
    "open_source": "function",
    "opened_detector": "function",
    "patch_order": "function",
    "plan": "function",
    "plan_mark": "function",
    "predict": "function",
    "preview": "function",
    "proliferate": "function",
    "propose_words": "function",
    "protect": "function",
    "protect_auto": "function",
    "recipient": "function",
    "revoke_device": "function",
    "revoke_licences": "function",
    "rotate": "function",
    "rotate_device": "function",
    "seal": "function",
    "t2ue": "module",
    "trace_model": "function",
    "undo": "function",
    "verify": "function",
    "write_report": "function",
}


def loaded_by(code: str) -> set[str]:
    ending = f"\nimport sys, json; print('\\n' + json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code + ending], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_reading_about_a_method_needs_no_torch() -> None:
    load = "from noli import registry\n[registry.get(name) for name in registry.TABLE]"
    assert "torch" not in loaded_by(load)


@pytest.mark.parametrize(
    "code",
    [
        "import noli; dir(noli); noli.__version__",
        "import noli.api, noli.methods, noli.registry; dir(noli.api)",
        "import noli; noli.Key",
        *(
            f"from noli.cli.main import main; assert main({words!r}) == 0"
            for words in (["--help"], ["list"], ["list", "protect"], ["list", "attack"], ["attack"],
                          ["attack", "--help"], ["protect", "--help"], ["protect", "auto", "--help"],
                          ["key", "--help"], ["verify", "--help"], ["check", "--help"],
                          ["mark", "--help"], ["lock", "export", "--help"],
                          ["mark", "plan", "labels", "--help"], ["t2ue", "--help"], ["--version"])
        ),
    ],
)  # fmt: skip
def test_light_commands_import_nothing_heavy(code: str) -> None:
    assert loaded_by(code) == set()


def test_the_inventory_of_public_names_is_exact_and_sorted() -> None:
    assert noli.__all__ == sorted(INVENTORY)
    for name, kind in INVENTORY.items():
        value = getattr(noli, name)
        found = "module" if isinstance(value, ModuleType) else type(value).__name__
        assert {"type": "class", "ModelMetaclass": "class"}.get(found, found) == kind, name
        assert name in dir(noli)


def test_public_names_are_documented() -> None:
    for name in noli.__all__:
        if name != "__version__":
            assert (getattr(noli, name).__doc__ or "").strip(), name


@pytest.mark.parametrize("package", ["noli", "noli.api"])
def test_lazy_names_and_all_agree(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_methods_are_reachable_by_path() -> None:
    from noli import registry

    for name in registry.TABLE:
        family, short = name.split("/")
        method = getattr(getattr(noli.methods, family), short)
        assert method.SPEC.name == name
        assert method.__name__ == registry.TABLE[name].module
