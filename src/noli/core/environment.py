"""What machine and software a run used, and what it cost."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path

from noli.core.manifest import Environment, Resources

CPUINFO = Path("/proc/cpuinfo")
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "sha_ni", "asimd", "sve")


def capture_environment() -> Environment:
    """Describe this machine and the installed software; never raises, unknown facts stay empty."""
    name, flags = processor()
    commit, dirty = _checkout()
    return Environment(
        noli=package_version("noli") or "",
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu=name,
        cpu_cores=available_cores(),
        cpu_features=tuple(feature for feature in _FEATURES if feature in flags),
        gpu=_gpus(),
        packages=_dependencies(),
        git_commit=commit,
        git_dirty=dirty,
    )


def package_version(name: str) -> str | None:
    """Return an installed distribution's version, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def available_cores() -> int:
    """Return the number of cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def _dependencies() -> dict[str, str]:
    lines = metadata.requires("noli") or [] if package_version("noli") else []
    names = sorted(re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line)
    return {name: found for name in names if (found := package_version(name))}


@cache
def processor() -> tuple[str, frozenset[str]]:
    """Return the first processor's name and feature flags (none where the system does not list them)."""
    try:
        block = CPUINFO.read_text(errors="replace").partition("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    pairs = (line.partition(":") for line in block.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    flags = facts.get("flags") or facts.get("Features") or ""
    return facts.get("model name") or platform.machine(), frozenset(flags.split())


def _gpus() -> tuple[str, ...]:
    # Read from the driver's files: importing torch only to fill in a manifest would cost seconds.
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = (line.partition(":") for file in files for line in file.read_text(errors="replace").splitlines())
    return tuple(value.strip() for name, _, value in lines if name == "Model")


def _checkout() -> tuple[str | None, bool | None]:
    """Return (commit, dirty) of the checkout that noli runs from, (None, None) when installed."""
    package = Path(__file__).resolve().parents[1]
    root = package.parents[1]
    # A user's own repository that merely contains the virtual environment must not be mistaken for ours.
    if package.parent.name != "src" or not (root / ".git").exists():
        return None, None
    status = _git(root, "status", "--porcelain")
    return _git(root, "rev-parse", "HEAD"), None if status is None else bool(status)


def _git(root: Path, *args: str) -> str | None:
    command = ["git", "-C", str(root), *args]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mb() -> float:
    """Return this process's highest resident memory in MiB (0 where the system does not tell)."""
    status = Path("/proc/self/status")
    if status.is_file():
        # VmHWM starts afresh at exec; ru_maxrss would inherit the parent's size in spawned workers.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


class Meter:
    """Measures one session: wall and CPU seconds (reaped children included) and peak memory."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()
        self._workers: dict[int, float] = {}

    def worker(self, pid: int, peak_mb: float) -> None:
        """Record the peak memory that a worker process reported."""
        self._workers[pid] = max(peak_mb, self._workers.get(pid, 0.0))

    def add_to(self, before: Resources) -> Resources:
        """Return `before` plus what this session has cost so far."""
        peak = peak_memory_mb() + sum(self._workers.values())
        return Resources(
            wall_seconds=round(before.wall_seconds + time.perf_counter() - self._wall, 3),
            cpu_seconds=round(before.cpu_seconds + _cpu_seconds() - self._cpu, 3),
            peak_memory_mb=round(max(before.peak_memory_mb, peak), 1),
            sessions=before.sessions + 1,
        )


def _cpu_seconds() -> float:
    return sum(os.times()[:4])
