"""Workers of a fleet: each trains devices, or attacks all of them from one, with one thread."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from noli.core.errors import WorkerDied
from noli.core.interrupts import Finished, submit
from noli.core.key import Key
from noli.engine.pool import die_with_parent, without_main
from noli.methods.lock.proliferate import Config

if TYPE_CHECKING:
    from torch import Tensor, nn

    from noli.zoo.fleet import Device

Data = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]


@dataclass(frozen=True)
class Shared:
    """What all workers have.

    Attributes:
        train: Pictures ``uint8 [N, side, side, C]`` and labels ``[N]``.
        held: Held-out ones.
        cfg: Options.
        folder: The fleet's.
        learning: Where unfinished trainings and the attacker's device lie.
    """

    train: Data
    held: Data
    cfg: Config
    folder: Path
    learning: Path


@dataclass(frozen=True)
class Job:
    """One piece of work: train a device or the attacker's own, or attack `victims` from a source.

    Attributes:
        kind: What is done.
        name: Of the device, or of the source; an empty source attacks nothing.
        generation: Of the device.
        victims: Names of devices.
    """

    kind: Literal["device", "rival", "row"]
    name: str = ""
    generation: int = 0
    victims: tuple[str, ...] = ()


_shared: Shared
_owner: Key


def working(shared: Shared, owner: Key, jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Any]]:
    """Do jobs and yield each with what came of it, as they finish.

    Raises:
        WorkerDied: A worker process was killed.
        NoliError: Whatever a job raises, unchanged.
    """
    if workers == 1 or len(jobs) < 2:
        with _one_thread():
            _begin(shared, owner)
            for job in jobs:
                yield job, _do(job)
        return
    context = multiprocessing.get_context("spawn")
    secret = (owner.export_secret(), owner.label)
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _start, (shared, secret))
    del secret
    finished: Finished[tuple[Job, Any]] = SimpleQueue()
    try:
        for job in jobs:
            with without_main():
                submit(pool, finished, _told, job)
        for _ in jobs:
            yield finished.get().result()
    except BrokenProcessPool as error:
        raise WorkerDied(
            "A worker process died.",
            why="it was killed, most often because memory ran out",
            fix="run the same command again: it resumes; fewer --workers need less memory",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(shared: Shared, secret: tuple[bytes, str]) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the main process decides what it means
    threading.Thread(target=die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _begin(shared, Key.from_bytes(*secret))


def _begin(shared: Shared, owner: Key) -> None:
    global _shared, _owner
    _shared, _owner = shared, owner


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _told(job: Job) -> tuple[Job, Any]:
    return job, _do(job)


def _do(job: Job) -> Any:
    if job.kind == "device":
        return _device(job.name, job.generation)
    return _rival() if job.kind == "rival" else _row(job.name, job.victims)


def _device(name: str, generation: int) -> Device:
    from safetensors import torch as safe_torch

    from noli.core.files import atomic_write
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.fleet import Device, device_key

    key = device_key(_owner, name, generation)
    data = safe_torch.save(_trained(key))
    device = Device(
        name=name,
        generation=generation,
        key_id=key.id,
        check_value=key.check_value,
        sha256=_sha256(data),
        size=len(data),
        accuracy=_accuracy(key, data),
    )
    atomic_write(_shared.folder / device.file, data)
    Checkpoint(_shared.learning / key.id).clear()
    return device


def _rival() -> None:
    from safetensors import torch as safe_torch

    from noli.core.files import atomic_write
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.keyed_thieves import guess

    atomic_write(_shared.learning / "rival.safetensors", safe_torch.save(_trained(guess(0))))
    Checkpoint(_shared.learning / guess(0).id).clear()


def _trained(key: Key) -> dict[str, Tensor]:
    from noli import zoo
    from noli.methods.lock import proliferate
    from noli.train.checkpoint import Checkpoint
    from noli.zoo.fleet import BASE

    base = zoo.load(_shared.folder / BASE)
    checkpoint = Checkpoint(_shared.learning / key.id)
    checkpoint.depends_on(*_shared.train, str(_shared.cfg), base.weight_hash(), key.id)
    return proliferate.device(base, *_shared.train, key, _shared.cfg, checkpoint)


def _accuracy(key: Key, data: bytes) -> dict[str, float]:
    from safetensors import torch as safe_torch

    from noli import zoo
    from noli.zoo.fleet import BASE, assembled
    from noli.zoo.keyed_folding import stolen
    from noli.zoo.keyed_thieves import guess, with_keys

    cfg, (x, y) = _shared.cfg, _shared.held
    keyed = assembled(zoo.load(_shared.folder / BASE), key, safe_torch.load(data), cfg.scale)

    def right(model: Any) -> float:
        return float((model.predict(x).argmax(1) == y).mean())

    wrong = [right(with_keys(keyed, [guess(number)])) for number in range(1, cfg.wrong_keys + 1)]
    return {
        "clean": right(keyed),
        "no key": right(stolen(keyed, 0)),
        "wrong keys": float(np.mean(wrong)),
        "worst wrong key": max(wrong),
    }


def _row(source: str, victims: tuple[str, ...]) -> list[float]:
    """Return the accuracy of every victim on pictures that were made on a source, by the worst attack."""
    import torch

    from noli.core.images import to_float
    from noli.methods.lock import proliferate
    from noli.ops.adversarial.suite import by_gradient, right_on
    from noli.zoo.fleet import load_device, read_fleet

    cfg, (images, labels) = _shared.cfg, _shared.held
    x = torch.from_numpy(np.ascontiguousarray(to_float(images[: cfg.attacked])))
    y = torch.from_numpy(np.asarray(labels[: cfg.attacked], np.int64))
    fleet = read_fleet(_shared.folder)
    models = [load_device(_shared.folder, name, _key_of(fleet, name)) for name in victims]
    stand = [right_on(model, x, y) for model in models]
    if source:
        for _, made in by_gradient(_source(source, fleet), x, y, proliferate.strength(cfg)):
            stand = [still & right_on(model, made, y) for still, model in zip(stand, models, strict=True)]
    return [float(still.float().mean()) for still in stand]


def _source(name: str, fleet: Any) -> nn.Module:
    from safetensors import torch as safe_torch

    from noli import zoo
    from noli.engine.fleet import PUBLIC, RIVAL
    from noli.zoo.fleet import BASE, assembled, load_device
    from noli.zoo.keyed_thieves import guess

    if name not in (PUBLIC, RIVAL):
        return load_device(_shared.folder, name, _key_of(fleet, name))
    base = zoo.load(_shared.folder / BASE)
    if name == PUBLIC:
        return base
    delta = safe_torch.load((_shared.learning / "rival.safetensors").read_bytes())
    return assembled(base, guess(0), delta, fleet.scale)


def _key_of(fleet: Any, name: str) -> Key:
    from noli.zoo.fleet import device_key

    return device_key(_owner, name, fleet.active()[name].generation)


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()
