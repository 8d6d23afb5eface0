"""Threads for trainings that run side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

# More trainings at a time cost memory for little gain: the longest row decides by then.
_MOST = 8


class Workers:
    """A pool whose threads run torch on one core each; torch's thread count comes back with :meth:`close`.

    Args:
        count: Number of threads.
    """

    def __init__(self, count: int) -> None:
        import torch

        self._before = torch.get_num_threads()
        # The count is per thread in OpenMP, so each worker sets its own.
        self._pool = ThreadPoolExecutor(count, "noli-train", initializer=torch.set_num_threads, initargs=(1,))

    def submit(self, work: Callable[..., dict[str, Any]], *args: object) -> Future[dict[str, Any]]:
        """Run ``work(*args)`` on a free thread."""
        return self._pool.submit(work, *args)

    def close(self) -> None:
        """Drop what has not begun, wait for what has, restore torch's thread count."""
        import torch

        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)


def workers(device: str, trainings: int) -> Workers | None:
    """Return a pool for so many trainings, or None where they are better run one after the other.

    Args:
        device: Configured device.
        trainings: Number of trainings planned.
    """
    import torch

    from noli.train.hardware import pick_device

    count = min(torch.get_num_threads(), trainings, _MOST)
    if count < 2 or pick_device(device).type != "cpu":
        return None
    return Workers(count)
