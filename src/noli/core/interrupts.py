"""Ctrl-C while others work: waiting for threads and processes so that they can always be stopped.

`concurrent.futures` takes locks in Python code. An interrupt between taking one and noting it leaves it taken
for good; the thread that brings the next result then waits for it, and a shutdown waits for that thread. So
submitting is never interrupted here, and waiting uses a queue whose lock lies in C.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
Finished = SimpleQueue["Future[T]"]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM, where Python handles them, until the block is left; keep it short."""
    if threading.current_thread() is not threading.main_thread():  # no signal interrupts the others
        yield
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    inside, put_off = True, list[Callable[[], object]]()

    def hold(number: int, frame: FrameType | None) -> None:
        call = partial(handlers[signal.Signals(number)], number, frame)
        put_off.append(call) if inside else call()

    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        inside = False  # from here on `hold` passes everything on, should it stay installed
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for call in put_off:
            call()


def submit(pool: Executor, finished: Finished[T], call: Callable[..., T], /, *args: Any) -> Future[T]:
    """Start ``call(*args)`` in an executor; its future arrives in `finished` when it is done.

    Of a future from the queue, ``result()`` returns at once.
    """
    with uninterrupted():
        future = pool.submit(call, *args)
        future.add_done_callback(finished.put)
    return future


def in_order(pool: Executor, calls: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Run calls side by side and yield their results in order; at most `ahead` are under way or waiting.

    The next call is asked for in the calling thread, when there is room for it.
    """
    waiting: deque[Finished[T]] = deque()
    for call in calls:
        waiting.append(SimpleQueue())
        submit(pool, waiting[-1], call)
        if len(waiting) >= ahead:
            yield waiting.popleft().get().result()
    while waiting:
        yield waiting.popleft().get().result()
