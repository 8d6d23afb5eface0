"""What a long training has done so far, in files, so that a kill costs a minute instead of days."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safe_torch
from torch import Tensor

from noli.core.files import atomic_write, remove_quietly

EVERY = 60.0
# A save of much noise takes seconds: saving never takes more than a twentieth of the time.
_SHARE = 20
_PREFIX = "learning-"
Tensors = dict[str, Tensor]


class Checkpoint:
    """The stages of one job, each the latest of its tensors.

    Files of another job, of another version of torch or of another number of threads are as good as none:
    what follows from a checkpoint has the very bytes that an uninterrupted run has. The folder is made when
    it is missing; the clock must be monotonic.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self._digest = hashlib.sha256(f"{torch.__version__}|{torch.get_num_threads()}".encode())
        self._next = clock() + EVERY

    def depends_on(self, *parts: str | npt.NDArray[np.generic]) -> None:
        """Make a text or an array part of what the job is."""
        for part in parts:
            text = part if isinstance(part, str) else f"{part.dtype}{part.shape}"
            self._digest.update(f"|{len(text)}|{text}".encode())
            if not isinstance(part, str):
                self._digest.update(np.ascontiguousarray(part).data if part.size else b"")

    def load(self, stage: str) -> Tensors | None:
        """Return what was saved of a stage of this job, or None."""
        try:
            with safe_open(str(self._file(stage)), framework="pt") as opened:
                if (opened.metadata() or {}).get("job") != self._digest.hexdigest():
                    return None
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError):
            return None

    def save(self, stage: str, make: Callable[[], Tensors], *, now: bool = False) -> None:
        """Replace a stage if the last time is a minute ago (longer where saving is slow), or if told `now`.

        When it is too early, `make` is not called.
        """
        if not now and self.clock() < self._next:
            return
        begun = self.clock()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        data = safe_torch.save(tensors, metadata={"job": self._digest.hexdigest()})
        atomic_write(self._file(stage), data)
        ended = self.clock()
        self._next = ended + max(EVERY, _SHARE * (ended - begun))

    def clear(self) -> None:
        """Remove all stages, and the folder if nothing else is in it: the job is done."""
        for file in self.folder.glob(f"{_PREFIX}*"):
            remove_quietly(file)
        with suppress(OSError):
            self.folder.rmdir()

    def _file(self, stage: str) -> Path:
        return self.folder / f"{_PREFIX}{stage}.safetensors"
