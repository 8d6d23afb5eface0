"""Kill a run at every single durable step it makes, resume it, and compare; run by test_faults.py.

One process imports everything, then forks a child for each step: the child kills itself (SIGKILL) right
before its n-th sync or rename. Usage: python engine_crash_script.py INPUT WORKDIR [extend]
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import engine_fake_method as fake
from engine_data import KEY, make_folder, tree_hash

from noli.core.run import Run
from noli.engine.request import RunRequest
from noli.engine.runner import run_data

Step = Callable[..., None]


def run(source: Path, output: Path, kill_at: int = 0) -> int:
    """Run in a forked child; return 0 when it ended well, -9 when it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            if kill_at:
                arm(kill_at)
            run_data(RunRequest(str(source), str(output), fake.SPEC, fake.Config(), KEY, shard_size=3))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def arm(kill_at: int) -> None:
    count = 0

    def counted(original: Step) -> Step:
        def step(*args: object, **kwargs: object) -> None:
            nonlocal count
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return step

    os.fsync = counted(os.fsync)
    os.replace = counted(os.replace)
    Path.replace = counted(Path.replace)  # type: ignore[method-assign,assignment]


def main(source: Path, work: Path, extend: bool) -> None:
    start = work / "start"
    if extend:  # crash inside the extension of a finished run
        assert run(source, start) == 0
        make_folder(source, 4, classes=("aardvark", "bee"), first=100)
    whole = work / "whole"
    if extend:
        shutil.copytree(start, whole)
        copy_run(start, whole)
    assert run(source, whole) == 0
    wanted, kills = tree_hash(whole), 0
    for kill_at in range(1, 1000):
        out = work / "out"
        for place in (out, work / "out.noli"):
            shutil.rmtree(place, ignore_errors=True)
        if extend:
            shutil.copytree(start, out)
            copy_run(start, out)
        status = run(source, out, kill_at)
        if status == 0:
            break
        assert status == -signal.SIGKILL, (kill_at, status)
        kills += 1
        assert run(source, out) == 0, kill_at
        assert tree_hash(out) == wanted, kill_at
        assert Run.open(work / "out.noli").manifest.status == "done", kill_at
        leftovers = [path.name for path in (work / "out.noli").rglob("*") if "tmp" in path.name]
        assert not leftovers, (kill_at, leftovers)
    sys.stdout.write(json.dumps({"kills": kills}))


def copy_run(start: Path, out: Path) -> None:
    """Copy a run folder to another output and tell it so."""
    folder = Path(f"{out}.noli")
    shutil.copytree(f"{start}.noli", folder)
    file = folder / "run.json"
    file.write_text(
        file.read_text().replace(json.dumps(str(start.resolve())), json.dumps(str(out.resolve())))
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "extend" in sys.argv[3:])
