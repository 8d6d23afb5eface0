from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import Any

import pytest

from noli.core.interrupts import in_order, submit, uninterrupted

LIBRARY = ("concurrent/futures", "threading.py", "queue.py", "interrupts.py")


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind others
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def interrupted_at(step: int) -> Iterator[Callable[[], int]]:
    """Send SIGINT at one step of the executors' code; yields a function that tells how many steps passed."""
    passed = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal passed
        if not any(name in frame.f_code.co_filename for name in LIBRARY):
            return None
        passed += 1
        if passed == step:
            signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        yield lambda: passed
    finally:
        sys.settrace(None)


def any_order(pool: ThreadPoolExecutor) -> None:
    finished: SimpleQueue[Future[None]] = SimpleQueue()
    for _ in range(4):
        submit(pool, finished, time.sleep, 0.005)
    for _ in range(4):
        finished.get().result()


def ordered(pool: ThreadPoolExecutor) -> None:
    assert len(list(in_order(pool, [partial(time.sleep, 0.005)] * 4, 2))) == 4


def hangs(work: Callable[[ThreadPoolExecutor], None], step: int) -> tuple[bool, bool]:
    """Say whether the pool cannot be shut down after an interrupt at a step, and whether there was one."""
    pool = ThreadPoolExecutor(2)
    stopped = False
    try:
        with interrupted_at(step):
            work(pool)
    except KeyboardInterrupt:
        stopped = True
    # Daemons are not joined at exit: a hang must not hang the tests.
    closing = threading.Thread(target=partial(pool.shutdown, cancel_futures=True), daemon=True)
    closing.start()
    closing.join(1)
    return closing.is_alive(), stopped


def test_a_lock_that_stays_taken_is_noticed() -> None:
    left: list[Future[None]] = []

    def leak(pool: ThreadPoolExecutor) -> None:
        """Leave what an interrupt inside `concurrent.futures.wait` leaves."""
        left.append(pool.submit(time.sleep, 0.05))
        left[0]._condition.acquire()
        raise KeyboardInterrupt

    assert hangs(leak, 0) == (True, True)
    left[0]._condition.release()


@pytest.mark.parametrize("work", [any_order, ordered])
def test_an_interrupt_at_any_step_leaves_a_pool_that_stops(
    work: Callable[[ThreadPoolExecutor], None],
) -> None:
    stops = 0
    for step in range(1, 400, 3):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        hung, stopped = hangs(work, step)
        assert not hung, step
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        stops += stopped
    assert stops > 50


def test_signals_wait_until_the_block_is_left() -> None:
    told = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            told.append("whole")
        told.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert told == ["whole"]


def test_an_interrupt_while_handlers_are_swapped_leaves_signals_that_work() -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for step in range(1, 40):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            with suppress(KeyboardInterrupt), interrupted_at(step), uninterrupted():
                pass
            for number in (signal.SIGINT, signal.SIGTERM):
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ignored_signals_stay_ignored_and_other_threads_touch_nothing() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = []

    def elsewhere() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("ahead", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_in_order_yields_as_a_loop_would_and_runs_ahead_no_further_than_asked(count: int, ahead: int) -> None:
    asked = 0

    def calls() -> Iterator[Callable[[], int]]:
        nonlocal asked
        for number in range(count):
            asked += 1
            yield partial(lambda n: (time.sleep(0.002 * (n % 3)), n)[1], number)

    with ThreadPoolExecutor(3) as pool:
        for place, found in enumerate(in_order(pool, calls(), ahead)):
            assert found == place
            assert asked <= place + ahead
    assert asked == count


def test_errors_arrive_where_the_result_would() -> None:
    with ThreadPoolExecutor(1) as pool:
        found = in_order(pool, [lambda: 1, lambda: 1 // 0], 2)
        assert next(found) == 1
        with pytest.raises(ZeroDivisionError):
            next(found)
