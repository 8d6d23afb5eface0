"""Killed, full, read-only: whatever happens, the same command gives the same bytes in the end."""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_data import make_folder, make_image, tree_hash

from noli.core.errors import NoliError, RunError
from noli.core.run import Run
from noli.engine.request import RunRequest
from noli.engine.runner import run_data

Ask = Callable[..., RunRequest]
HERE = Path(__file__).parent
RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs inherit that it is ignored
sys.path.insert(0, {here!r})
import engine_fake_method as fake
from engine_data import KEY
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
run_data(RunRequest({source!r}, {output!r}, fake.SPEC, fake.Config(pause=0.12), KEY, workers=2, shard_size=2))
"""


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["fresh", "extend"])
def test_kill_at_every_durable_step(tmp_path: Path, mode: str) -> None:
    make_folder(tmp_path / "in", 5)
    (tmp_path / "in/README.txt").write_text("companion")
    command = [
        sys.executable,
        str(HERE / "engine_crash_script.py"),
        str(tmp_path / "in"),
        str(tmp_path),
        mode,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["kills"] >= 12


def test_kill_the_main_process_at_random_moments(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask(output=tmp_path / "whole"))
    script = tmp_path / "script.py"
    script.write_text(RUN.format(here=str(HERE), source=str(data), output=str(tmp_path / "out")))
    rng = random.Random(7)
    for records in (1, 6):
        child = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)
        patience = time.monotonic() + 60
        while len(list(tmp_path.glob("out.noli/shards/*.jsonl"))) < records and time.monotonic() < patience:
            if child.poll() is not None:
                break
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        child.kill()
        child.communicate()
    subprocess.run([sys.executable, str(script)], check=True, timeout=120)
    assert Run.open(tmp_path / "out.noli").manifest.status == "done"
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "whole")


def test_workers_do_not_outlive_a_killed_parent(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(RUN.format(here=str(HERE), source=str(data), output=str(tmp_path / "out")))
    child = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)
    patience = time.monotonic() + 60
    while not list(tmp_path.glob("out.noli/shards/*.jsonl")) and time.monotonic() < patience:
        time.sleep(0.005)
    tasks = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    if not tasks.exists():
        child.kill()
        child.communicate()
        pytest.skip("this system does not list child processes")
    workers = [int(pid) for pid in tasks.read_text().split()]
    assert len(workers) >= 2
    child.kill()
    child.communicate()
    patience = time.monotonic() + 20
    while any(alive(pid) for pid in workers) and time.monotonic() < patience:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in workers)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_ctrl_c_in_a_process_group(data: Path, ask: Ask, tmp_path: Path) -> None:
    run_data(ask(output=tmp_path / "whole"))
    script = tmp_path / "script.py"
    script.write_text(RUN.format(here=str(HERE), source=str(data), output=str(tmp_path / "out")))
    child = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, start_new_session=True)
    patience = time.monotonic() + 60
    while not list(tmp_path.glob("out.noli/shards/*.jsonl")) and time.monotonic() < patience:
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=240)
    assert b"Interrupted" in errors
    assert Run.open(tmp_path / "out.noli").manifest.status == "interrupted"
    subprocess.run([sys.executable, str(script)], check=True, timeout=120)
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "whole")


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount small file systems; skip with the reason where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "noli-test", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount program")
        if done.returncode:
            pytest.skip(f"this machine does not permit mounting a tmpfs: {done.stderr.strip()}")
        return place

    yield mount
    gc.collect()  # tracebacks keep files open, which would keep the mount busy
    while place.is_mount():
        subprocess.run(["umount", str(place)], check=True, capture_output=True)


def test_disk_full(data: Path, ask: Ask, tmp_path: Path, tmpfs: Callable[..., Path]) -> None:
    for i in range(30):
        make_image(1000 + i, (64, 64, 3)).save(data / "ant" / f"big{i}.png")
    run_data(ask(output=tmp_path / "whole"))
    disk = tmpfs("size=320k")
    with pytest.raises(RunError) as caught:
        run_data(ask(output=disk / "out"))
    assert caught.value.fix
    assert not [name for name in files(disk) if "tmp" in name]
    written = files(disk / "out")
    assert 0 < len(written) < 53
    for name in written:
        assert (disk / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert run_data(ask(output=disk / "out")).manifest.status == "done"
    assert tree_hash(disk / "out") == tree_hash(tmp_path / "whole")


def test_read_only_place(data: Path, ask: Ask, tmpfs: Callable[..., Path]) -> None:
    disk = tmpfs("size=1m,ro")
    with pytest.raises(RunError) as caught:
        run_data(ask(output=disk / "out"))
    assert caught.value.where is not None
    assert str(disk) in caught.value.where
    assert not files(disk)


def test_output_becomes_read_only_but_the_run_folder_is_not(
    data: Path, ask: Ask, tmp_path: Path, tmpfs: Callable[..., Path]
) -> None:
    disk = tmpfs("size=1m,ro")
    with pytest.raises(RunError):
        run_data(ask(output=disk / "out", run_dir=tmp_path / "run"))
    manifest = Run.open(tmp_path / "run").manifest
    assert manifest.status == "failed"
    assert manifest.error is not None
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert run_data(ask(output=disk / "out", run_dir=tmp_path / "run")).manifest.status == "done"


def test_file_size_limit_stands_in_for_a_full_disk(data: Path, ask: Ask, tmp_path: Path) -> None:
    make_image(1, (300, 300, 3)).save(data / "bee/big.png")
    run_data(ask(output=tmp_path / "whole"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(NoliError) as caught:
            run_data(ask())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(caught.value, RunError)
    assert not [name for name in files(tmp_path) if "tmp" in name]
    assert not (tmp_path / "out/bee/big.png").exists()
    assert run_data(ask()).manifest.status == "done"
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "whole")
