"""The command line as a stranger uses it: real processes, exit codes, kill and resume, no network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noli
from noli.core.run import Run
from noli.testing.fixtures import tree

# Loaded by every Python that the tests start: any attempt to reach the network ends the process.
NO_NETWORK = """
import os, socket
def refused(self, address, *rest):
    if self.family != getattr(socket, "AF_UNIX", None):
        os.write(2, f"NETWORK {address}".encode()); os._exit(99)
socket.socket.connect = socket.socket.connect_ex = refused
socket.getaddrinfo = lambda *a, **k: os._exit(98)
"""
SETTINGS = ("epochs=1", "min_steps=0", "size=16", "min_test=10", "min_per_class=5")
QUICK = [word for setting in SETTINGS for word in ("--set", setting)]


@dataclass
class Shell:
    """A folder in which commands are run."""

    folder: Path
    env: dict[str, str]

    def __call__(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(words), cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=240
        )

    def start(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(words), cwd=self.folder, env=self.env, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    @staticmethod
    def command(words: Any) -> list[str]:
        return [sys.executable, "-m", "noli", *map(str, words)]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(NO_NETWORK)
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("NOLI_", "COV_")) and n != "COLUMNS"}
    work = tmp_path / "work"
    work.mkdir()
    return Shell(work, {**kept, "PYTHONPATH": str(guard), "NO_COLOR": "1"})


def many_pictures(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class-{number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(place / f"{number:05d}.png")
    return folder


def test_the_whole_story(shell: Shell, class_folders: Callable[..., Path], tmp_path: Path) -> None:
    photos = class_folders(each=40)
    before = tree(photos)
    assert shell("key", "new", "owner.key").returncode == 0
    done = shell("protect", "cuda", photos, "-o", "safe", "--key", "owner.key", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert tree(photos) == before
    assert set(tree(shell.folder / "safe")) == set(before)

    # The protected data against itself as "clean" stands for unprotected data: the claim must fail.
    judged = shell("verify", photos, "--clean", photos, "--run", "judged.noli", "--json", *QUICK)
    evidence = json.loads(judged.stdout)
    assert judged.returncode == 1, judged.stderr
    assert evidence["verdict"] in ("not supported", "inconclusive")

    back = shell("undo", "safe", "-o", "back", "--key", "owner.key", "--json")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["compared"] == 120
    assert shell("diff", photos, "safe", "--no-ssim").returncode == 0
    page = shell("report", "safe", "-o", "page.html")
    assert page.returncode == 0
    text = (shell.folder / "page.html").read_text()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<script src" not in text
    secret = json.loads((shell.folder / "owner.key").read_text())["keys"][0]["secret"]
    for file in shell.folder.rglob("*"):
        if file.is_file() and file.name != "owner.key":
            assert secret.encode() not in file.read_bytes(), file


def test_exit_codes_and_clean_stdout(shell: Shell, class_folders: Callable[..., Path]) -> None:
    photos = class_folders()
    shell("key", "new", "owner.key")
    usage = shell("protect", "cuda", photos, "-o", "safe")
    assert (usage.returncode, usage.stdout) == (2, "")
    (photos / "class-0/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    broken = shell("protect", "cuda", photos, "-o", "safe", "--key", "owner.key", "--json")
    assert (broken.returncode, broken.stdout) == (4, "")
    assert "class-0/0.png" in broken.stderr
    assert not (shell.folder / "safe").exists()
    assert not (shell.folder / "safe.noli").exists()
    debug = Shell(shell.folder, {**shell.env, "NOLI_DEBUG": "1"})("explain", "nothing/here")
    assert "Traceback" in debug.stderr
    assert "Traceback" not in usage.stderr + broken.stderr
    assert "\x1b[" not in shell("list").stdout


def test_a_missing_prerequisite_exits_3_with_the_line_to_install(shell: Shell, tmp_path: Path) -> None:
    info = Path(shell.env["PYTHONPATH"]) / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[noli.methods]\nacme/tint = acme_that_is_not_there.tint\n")
    assert "acme/tint" in shell("list").stdout
    done = shell("explain", "acme/tint")
    assert done.returncode == 3
    assert "pip install --upgrade acme" in done.stderr


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_anywhere_the_same_command_gives_the_same_bytes(
    shell: Shell, tmp_path: Path, kill: signal.Signals
) -> None:
    photos = many_pictures(tmp_path / "photos", 900)
    shell("key", "new", "owner.key")
    words = ("protect", "cuda", photos, "--key", "owner.key", "--workers", 2, "-o")
    running = shell.start(*words, "stopped")
    records = shell.folder / "stopped.noli/shards"
    deadline = time.monotonic() + 120
    while not (records.is_dir() and any(records.iterdir())) and running.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # A terminal signals the whole group; a supervisor asks only the process that it started.
    (os.kill if kill == signal.SIGTERM else os.killpg)(running.pid, kill)
    _, said = running.communicate(timeout=240)
    if kill != signal.SIGKILL:
        assert running.returncode in (0, 130)  # 0 only if it was faster than the signal
        assert running.returncode == 0 or "resume" in said
    assert shell(*words, "stopped").returncode == 0
    straight = shell.folder / "straight"
    noli.protect(photos, straight, "cuda", key=shell.folder / "owner.key", workers=1)
    assert tree(shell.folder / "stopped") == tree(straight)
    assert Run.open(shell.folder / "stopped.noli").manifest.status == "done"
    assert not [name for name in tree(shell.folder / "stopped") if "tmp" in name]


def test_an_installed_plugin_works_like_an_own_method(
    shell: Shell, class_folders: Callable[..., Path], plugin_path: Path
) -> None:
    shell.env["PYTHONPATH"] += os.pathsep + str(plugin_path)
    photos, name = class_folders(), "noli-plugin-example/tint"
    shell("key", "new", "owner.key")
    assert name in shell("list").stdout
    assert "Largest change of a pixel" in shell("explain", name).stdout
    words = (
        "protect",
        name,
        photos,
        "-o",
        "safe",
        "--key",
        "owner.key",
        "--workers",
        2,
        "--eps",
        "4/255",
        "--json",
    )
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads(done.stdout)["results"]["linf_max"] <= 5
    assert shell("undo", "safe", "-o", "back", "--key", "owner.key").returncode == 0
    found = json.loads(shell("diff", photos, "back", "--json").stdout)
    assert found["linf_max"] <= 1
