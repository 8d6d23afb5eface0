"""The Makefile's promises that can be checked without a network: messages, stamps, repairs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=checkout, env=env, capture_output=True, text=True)


def ready(checkout: Path, *stamps: str) -> None:
    """Make an environment that looks complete."""
    binaries = checkout / ".venv/bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    for stamp in (".made", *stamps):
        (checkout / ".venv" / stamp).touch()


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_old_python_gets_a_helpful_message(checkout: Path) -> None:
    old = script(checkout / "python3.9", '[ "$1" = --version ] && echo Python 3.9.1 || exit 1')
    done = make(checkout, "test", f"PYTHON={old}")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.1" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_second_run_does_no_set_up_work(checkout: Path) -> None:
    ready(checkout, ".installed", ".installed-dev")
    for goal in ("test", "demo", "lint", "bench"):
        planned = make(checkout, "-n", goal).stdout
        assert "pip install" not in planned
        assert "venv" not in planned.replace(".venv", "")


def test_a_changed_pyproject_installs_again_in_one_pip_command(checkout: Path) -> None:
    ready(checkout, ".installed", ".installed-dev")
    for stamp in (".made", ".installed", ".installed-dev"):
        os.utime(checkout / ".venv" / stamp, (1, 1))
    planned = make(checkout, "-n", "test").stdout
    assert planned.count("pip install") == 1
    assert '"torch==2.13.0" -e ".[dev]"' in planned
    assert "-m venv" not in planned


def test_an_interrupted_install_is_repeated(checkout: Path) -> None:
    ready(checkout)
    assert "pip install" in make(checkout, "-n", "demo").stdout


def test_demo_after_test_installs_nothing_more(checkout: Path) -> None:
    ready(checkout)
    (checkout / ".venv/bin/python").unlink()
    script(checkout / ".venv/bin/python", 'echo "$@" >> calls; echo 1')
    assert make(checkout, ".venv/.installed-dev").returncode == 0
    assert make(checkout, ".venv/.installed").returncode == 0
    calls = [line for line in (checkout / "calls").read_text().splitlines() if "pip" in line]
    assert len(calls) == 1
    assert ".[dev]" in calls[0]


def test_an_environment_without_its_interpreter_is_made_anew(checkout: Path) -> None:
    ready(checkout, ".installed", ".installed-dev")
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to(checkout / "gone")
    assert "-m venv --clear" in make(checkout, "-n", "test").stdout


def test_ci_lints_and_tests() -> None:
    text = (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "set -euo pipefail" in text
    assert text.index("make lint") < text.index("make test")
