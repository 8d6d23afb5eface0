"""Shards over worker processes: spawned, initialised once, never more in flight than needed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection
from queue import SimpleQueue
from typing import Any

import cv2

from noli.core.environment import Meter, available_cores, peak_memory_mb
from noli.core.errors import WorkerDied
from noli.core.interrupts import Finished, submit
from noli.core.key import Key
from noli.core.run import Record
from noli.engine.request import load_method
from noli.engine.shard import ShardWork

IN_FLIGHT_PER_WORKER = 2
Shard = tuple[int, list[Record]]
_work: ShardWork


def map_shards(
    work: ShardWork, shards: Iterable[Shard], workers: int, meter: Meter
) -> Generator[Shard, None, None]:
    """Process shards and yield ``(number, records)`` as they finish, in any order.

    Closing the iterator early (an error, an interrupt) stops the workers between two groups of items.

    Raises:
        WorkerDied: A worker process was killed.
        NoliError: Whatever a shard raises, unchanged.
    """
    if workers == 1:
        for index, rows in shards:
            yield index, work.process(index, rows)
    else:
        yield from _map_processes(work, iter(shards), workers, meter)


def threads_per_worker(workers: int) -> int:
    """Return how many threads each worker may use so that workers x threads = cores."""
    return max(1, available_cores() // workers)


def _map_processes(
    work: ShardWork, shards: Iterator[Shard], workers: int, meter: Meter
) -> Generator[Shard, None, None]:
    context = multiprocessing.get_context("spawn")
    # A bare byte without a lock: a worker killed while it looks must not leave a lock behind.
    stop = context.RawValue("b", 0)
    keys = (work.request.key, work.request.former)
    secrets = [None if key is None else (key.export_secret(), key.label) for key in keys]
    pool = ProcessPoolExecutor(
        workers, context, _start_worker, (work, secrets, threads_per_worker(workers), stop)
    )
    del secrets
    finished: Finished[tuple[int, list[Record], int, float]] = SimpleQueue()
    waiting = 0
    try:
        while True:
            for shard in islice(shards, workers * IN_FLIGHT_PER_WORKER - waiting):
                with without_main():  # the executor spawns its processes while work is submitted
                    submit(pool, finished, _process, *shard)
                waiting += 1
            if not waiting:
                return
            index, records, pid, peak = finished.get().result()
            waiting -= 1
            meter.worker(pid, peak)
            yield index, records
    except BrokenProcessPool as exc:
        raise WorkerDied(
            "A worker process died.",
            why="it was killed, most often because memory ran out",
            fix="run the same command again: it resumes; fewer --workers need less memory",
        ) from exc
    finally:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(work: ShardWork, secrets: list[tuple[bytes, str] | None], threads: int, stop: Any) -> None:
    global _work
    # Ctrl-C reaches the whole process group; only the main process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    cv2.setNumThreads(threads)
    work.key, work.former = (None if secret is None else Key.from_bytes(*secret) for secret in secrets)
    work.stop = lambda: bool(stop.value)
    work.method = load_method(work.request.spec.module)
    _work = work
    torch = sys.modules.get("torch")  # only if the method brought it along
    if torch is not None:
        torch.set_num_threads(threads)


def _process(index: int, rows: list[Record]) -> tuple[int, list[Record], int, float]:
    return index, _work.process(index, rows), os.getpid(), peak_memory_mb()


def die_with_parent() -> None:
    """End this process when its parent ends: workers of a killed one would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the main script while workers are spawned.

    Workers need nothing from it. Importing it again would run a user's script a second time when it has
    no ``if __name__ == "__main__"`` guard, and fails for scripts read from standard input.
    """
    main = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    try:
        for name in hidden:
            setattr(main, name, None)
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)
