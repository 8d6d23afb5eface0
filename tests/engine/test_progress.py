from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_data import tree_hash

from noli.core.errors import DataError
from noli.engine.lock import locked
from noli.engine.plan import dry_run, preview
from noli.engine.pool import threads_per_worker
from noli.engine.progress import PlainProgress, Progress, RichProgress, for_terminal
from noli.engine.request import RunRequest
from noli.engine.runner import run_data

Ask = Callable[..., RunRequest]


class Recorder:
    def __init__(self) -> None:
        self.stages: list[list[object]] = []
        self.open = False

    def start(self, total: int | None, label: str) -> None:
        assert not self.open
        self.open = True
        self.stages.append([label, total, 0])

    def advance(self, n: int = 1) -> None:
        assert self.open
        self.stages[-1][2] += n  # type: ignore[operator]

    def finish(self) -> None:
        self.open = False


@pytest.mark.parametrize("workers", [1, 2])
def test_the_runner_tells_its_stages(data: Path, ask: Ask, workers: int) -> None:
    recorder = Recorder()
    run_data(ask(progress=recorder, workers=workers))
    assert recorder.stages == [["scan", None, 23], ["protect", 23, 23]]
    assert not recorder.open


@pytest.mark.parametrize("tried", [dry_run, lambda request: preview(request, Path("sheet.png"))])
def test_a_scan_that_is_refused_ends_its_stage(
    data: Path, ask: Ask, tried: Callable[[RunRequest], object]
) -> None:
    (data / "bee/00001.png").write_bytes(b"no image")
    recorder = Recorder()
    with pytest.raises(DataError):
        tried(ask(progress=recorder))
    assert recorder.stages == [["scan", None, 23]]
    assert not recorder.open


def test_plain_lines_are_rare_and_end_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = PlainProgress(stream, every=5)
    progress.start(100, "protect")
    for _ in range(100):
        now[0] += 0.12
        progress.advance()
    progress.finish()
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "protect: 42/100, about 7 s left"
    assert lines[-1] == "protect: 100/100, in 12.0 s"
    assert len(lines) == 3
    progress.start(None, "scan")
    now[0] += 6
    progress.advance(7)
    progress.finish()
    assert "scan: 7, 6 s so far" in stream.getvalue()


@pytest.mark.parametrize(
    "make", [Progress, lambda: RichProgress(io.StringIO()), lambda: PlainProgress(io.StringIO())]
)
def test_every_progress_accepts_any_order(make: Callable[[], Progress]) -> None:
    progress = make()
    progress.finish()
    progress.advance(3)
    progress.start(10, "a")
    progress.advance(4)
    progress.start(None, "b")
    progress.advance()
    progress.finish()
    progress.finish()


def test_the_terminal_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(for_terminal(quiet=True)) is Progress
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(for_terminal(), PlainProgress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(for_terminal(), RichProgress)


def test_workers_times_threads_is_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noli.engine.pool.available_cores", lambda: 8)
    assert [threads_per_worker(n) for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]


def test_locks_exclude_each_other_and_vanish(tmp_path: Path) -> None:
    with locked(tmp_path / "r"):
        assert (tmp_path / "r/run.lock").read_text().strip().isdigit()
        code = "import sys; from pathlib import Path; from noli.engine.lock import locked\n"
        code += "with locked(Path(sys.argv[1])): pass"
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "r")], capture_output=True, text=True, check=False
        )
        assert "Another process works in this run folder" in done.stderr
    assert not (tmp_path / "r/run.lock").exists()


@pytest.mark.parametrize("how", ["unguarded script", "standard input"])
def test_workers_do_not_run_the_users_script_again(data: Path, ask: Ask, tmp_path: Path, how: str) -> None:
    run_data(ask(output=tmp_path / "whole"))
    code = f"""
import sys
open({str(tmp_path / "times")!r}, "a").write("once")
sys.path.insert(0, {str(Path(__file__).parent)!r})
import engine_fake_method as fake
from engine_data import KEY
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
places = {str(data)!r}, {str(tmp_path / "out")!r}
run_data(RunRequest(*places, fake.SPEC, fake.Config(), KEY, workers=2, shard_size=4))
assert __name__ == "__main__"
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    command, text = (
        ([sys.executable, str(script)], None) if "script" in how else ([sys.executable, "-"], code)
    )
    subprocess.run(command, input=text, text=True, check=True, timeout=120)
    assert (tmp_path / "times").read_text() == "once"
    assert tree_hash(tmp_path / "out") == tree_hash(tmp_path / "whole")
