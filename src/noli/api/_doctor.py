"""Is this machine fit to run noli? Every finding comes with the line that repairs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from noli.core.environment import available_cores, capture_environment, package_version

Status = Literal["ok", "info", "warning", "problem"]
TORCH_PIN = "2.13.0"
MIN_FREE_BYTES = 2 * 10**9
# Import name -> distribution, of everything the base install promises.
BASE = {
    "cryptography": "cryptography", "cv2": "opencv-python-headless", "fsspec": "fsspec", "httpx": "httpx",
    "jinja2": "jinja2", "matplotlib": "matplotlib", "numpy": "numpy", "PIL": "pillow", "pyarrow": "pyarrow",
    "pydantic": "pydantic", "rich": "rich", "safetensors": "safetensors", "scipy": "scipy",
    "skimage": "scikit-image", "typer": "typer", "yaml": "pyyaml",
}  # fmt: skip

# Modules of theirs that can be present and still not load.
COMPILED = ("cv2", "pyarrow", "PIL.Image", "scipy.stats")


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        status: ``ok``, ``info``, ``warning`` (noli works, something is slower or odd) or ``problem``.
        found: What was found.
        fix: What to do about it.
    """

    name: str
    status: Status
    found: str
    fix: str | None = None


@dataclass(frozen=True)
class DoctorReport:
    """All findings; ``ok`` when none is a problem."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True when nothing keeps noli from working."""
        return all(check.status != "problem" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready fields."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def doctor(folder: str | Path = ".") -> DoctorReport:
    """Check interpreter, packages, processor, disk and plug-ins; changes nothing, uses no network.

    Args:
        folder: Where results would be written.
    """
    python = Check("python", "ok", f"{sys.version.split()[0]} in {sys.prefix}")
    found = (*_packages(), _torch(), *_torchvision(), *_opencv_twins(), _processor(), *_disk(Path(folder)))
    return DoctorReport((python, *found, *_plugins()))


def _packages() -> Iterator[Check]:
    missing = [dist for name, dist in BASE.items() if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        yield Check("packages", "problem", f"missing: {names}", f"pip install {' '.join(missing)}")
        return
    noli = package_version("noli") or "not installed as a package"
    yield Check("packages", "ok", f"noli {noli}, {len(BASE)} packages present")
    for module in COMPILED:
        ok, text = _python_says(f"import {module}")
        if not ok:
            dist = BASE[module.partition(".")[0]]
            yield Check(f"{dist} loads", "problem", text, f"pip install --force-reinstall {dist}")


def _torch() -> Check:
    install = f'pip install "torch=={TORCH_PIN}"'
    if importlib.util.find_spec("torch") is None:
        return Check("torch", "problem", "not installed; verify needs it", install)
    ok, text = _python_says(
        "import torch; c = torch.cuda; a = c.is_available(); "
        "print(torch.__version__, c.get_device_name(0) if a else 'CPU only', sep=', ')"
    )
    if not ok:
        return Check("torch", "problem", text, install)
    if text.split("+")[0].split(",")[0] != TORCH_PIN:
        return Check("torch", "warning", f"{text}; tested with {TORCH_PIN}", install)
    return Check("torch", "ok", text)


def _torchvision() -> Iterator[Check]:
    # Never imported here: beside a CPU build of torch the packaged wheel dies on import, and takes timm,
    # lpips and the image models of transformers with it.
    if importlib.util.find_spec("torchvision") is None:
        return
    ok, text = _python_says("import torch, torchvision; print(torchvision.__version__)")
    if ok:
        yield Check("torchvision", "ok", f"{text} (noli does not use it)")
    else:
        fix = "pip uninstall torchvision (noli does not need it; other packages fail on it)"
        yield Check("torchvision", "warning", f"present, but broken beside this torch: {text}", fix)


def _opencv_twins() -> Iterator[Check]:
    twins = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
    others = [name for name in twins if package_version(name)]
    if others and package_version("opencv-python-headless"):
        found = f"several builds overwrite each other: opencv-python-headless, {', '.join(others)}"
        fix = f"pip uninstall {' '.join(others)} && pip install --force-reinstall opencv-python-headless"
        yield Check("opencv", "warning", found, fix)


def _processor() -> Check:
    machine, cores = capture_environment(), available_cores()
    fast = [name for name in ("amx_bf16", "avx512_bf16") if name in machine.cpu_features]
    bf16 = f"bf16 training: {', '.join(fast)}" if fast else "no bf16 (trainings run in float32)"
    found = ", ".join((machine.cpu, f"{cores} cores", bf16, *machine.gpu))
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) < cores:
        fix = f"unset OMP_NUM_THREADS (it is {threads}) to use all cores"
        return Check("processor", "warning", found, fix)
    return Check("processor", "ok", found)


def _disk(folder: Path) -> Iterator[Check]:
    for name, place, fix in (
        ("output folder", folder, "choose a folder you can write to"),
        ("temporary folder", Path(tempfile.gettempdir()), "set TMPDIR to one you can write to"),
    ):
        try:
            with tempfile.TemporaryFile(dir=place):
                free = shutil.disk_usage(place).free
        except OSError as error:
            yield Check(name, "problem", f"{place}: {error.strerror or error}", fix)
            continue
        found = f"{place.resolve()}, {free / 1e9:.1f} GB free"
        if free < MIN_FREE_BYTES:
            fix = "free some space: a protected set needs up to 8 times a JPEG set"
            yield Check(name, "warning", found, fix)
        else:
            yield Check(name, "ok", found)


def _plugins() -> Iterator[Check]:
    from noli import registry

    good, refused = registry.plugins()
    if good:
        yield Check("plug-ins", "ok", ", ".join(good))
    for error in refused.values():
        yield Check("plug-ins", "warning", f"{error.what} {error.where or ''}".strip(), error.fix)


def _python_says(code: str) -> tuple[bool, str]:
    """Run code in a fresh interpreter, so that a crash or a bad import cannot hurt this one."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    text = (done.stdout if done.returncode == 0 else done.stderr).strip()
    return done.returncode == 0, text.splitlines()[-1] if text else f"exit status {done.returncode}"
