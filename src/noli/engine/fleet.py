"""Make a fleet of keyed models: pictures, public network, a file per device, matrix; the same call resumes.

Devices are made in workers of one thread each, so that their bytes do not depend on how many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from noli.core.errors import OutputExists
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.run import Run
from noli.core.transfer import Transfer
from noli.data.place import local_path
from noli.engine.fleetpool import Job, Shared, working
from noli.engine.given import check_fits, network_file, read_given, sided
from noli.engine.keyed import labelled_pictures, split
from noli.engine.lock import awaited
from noli.engine.locking import RESUME, LockRequest, created, digest, same_pictures, worked
from noli.methods.lock.proliferate import MEANINGS, Config

LAYOUT = "fleet"
RIVAL, PUBLIC = "a device of the attacker's own", "the public network"


@dataclass(frozen=True)
class FleetRequest(LockRequest):
    """One job; devices may be added to a fleet later.

    Attributes:
        devices: Their names.
        workers: Processes.
    """

    devices: tuple[str, ...] = ()
    workers: int = 1


def proliferate(request: FleetRequest) -> Run:
    """Make what is missing of a fleet: devices that are new, or were rotated.

    Raises:
        UsageError: Other arguments than the run was begun with, or files that would grow too large.
        DataError: Pictures without classes, names that cannot be used.
        OutputExists: Something else lies at the output.
        RunError, Interrupted: The same call resumes.
    """
    from noli.zoo.fleet import checked_names

    names = checked_names(list(request.devices), "devices")
    request = sided(request)

    def work(run: Run | None) -> Run:
        pictures = labelled_pictures(request)
        if request.model:
            check_fits(read_given(request, pictures.classes), pictures, request.cfg.side)
        run = run or created(request, LAYOUT)
        same_pictures(run, pictures.items, request.source)
        if run.manifest.status == "done":
            run.resume()
        with run.recording_failures(RESUME):
            request.progress.start(len(pictures), "read")
            x = np.stack([pictures[number] for number in range(len(pictures))])
            request.progress.finish()
            seen, held = split(pictures, cast(Config, request.cfg).held_out)
            _work(
                run,
                request,
                names,
                pictures.classes,
                _shared(run, request, x, np.asarray(pictures.labels), seen, held),
            )
        return run

    return worked(request, work)


def _shared(
    run: Run, request: FleetRequest, x: np.ndarray, y: np.ndarray, seen: np.ndarray, held: np.ndarray
) -> Shared:
    return Shared(
        train=(x[seen], y[seen]),
        held=(x[held], y[held]),
        cfg=cast(Config, request.cfg),
        folder=local_path(request.output),
        learning=run.artifact("learning"),
    )


def _work(run: Run, request: FleetRequest, names: list[str], classes: Sequence[str], shared: Shared) -> None:
    from noli.zoo.fleet import read_fleet

    _based(run, request, classes, shared)
    fleet, bar = read_fleet(shared.folder), request.progress
    jobs = [Job("device", *one) for one in _missing(fleet, names, shared.folder)]
    if not (shared.learning / "rival.safetensors").exists():
        jobs.append(Job("rival"))
    bar.start(len(jobs), "devices")
    for _, device in working(shared, request.key, jobs, request.workers):
        if device is not None:
            with changing(shared.folder):  # somebody may have revoked another meanwhile
                read_fleet(shared.folder).with_device(device).save(shared.folder)
        bar.advance()
    bar.finish()
    fleet = read_fleet(shared.folder)
    transfer = _transfer(run, request, fleet, shared)
    active = fleet.active()
    sizes = [one.size for one in active.values()]
    run.finish(
        {
            "items": len(shared.train[0]) + len(shared.held[0]),
            "training": len(shared.train[0]),
            "held_out": len(shared.held[0]),
            "chance": 1 / len(classes),
            "devices": len(active),
            "largest_bytes": max(sizes, default=0),
            "accuracy": {name: one.accuracy for name, one in sorted(active.items())},
            "mean": {
                row: float(np.mean([one.accuracy[row] for one in active.values()]))
                for row in (MEANINGS if active else ())
            },
            "transfer": None if transfer is None else transfer.model_dump(mode="json"),
        }
    )


def _based(run: Run, request: FleetRequest, classes: Sequence[str], shared: Shared) -> None:
    """Put the public network and an empty manifest where the fleet goes, or check that they are the same."""
    from noli import zoo
    from noli.train.checkpoint import Checkpoint
    from noli.train.fleet import refuse_size
    from noli.train.keyed import train_public
    from noli.zoo.fleet import BASE, MANIFEST, Fleet, read_fleet

    cfg, file = shared.cfg, network_file(request)
    if not file.exists() and request.model:
        read_given(request, classes).save(file)
    elif not file.exists():
        request.progress.start(None, "public network")
        checkpoint = Checkpoint(shared.learning)
        checkpoint.depends_on(*shared.train, str(cfg))
        train_public(*shared.train, classes, cfg.network, cfg.body_epochs, checkpoint).save(file)
        request.progress.finish()
    refuse_size(zoo.load(file), cfg.rank)
    if not (shared.folder / MANIFEST).exists():
        atomic_write(shared.folder / BASE, file.read_bytes())
        Fleet(base=digest(shared.folder / BASE), scale=cfg.scale, devices=[]).save(shared.folder)
    if read_fleet(shared.folder).base != digest(file):
        fix = "name the network that the fleet was begun with, or another output"
        raise OutputExists("The fleet is from another network.", where=str(shared.folder), fix=fix)


def changing(folder: Path) -> AbstractContextManager[None]:
    """Hold a fleet's manifest while it is read, changed and written; wait a little for others who do.

    Raises:
        UsageError: Others hold it for seconds.
    """
    return awaited(folder.with_name(f"{folder.name}.lock"))


def _missing(fleet: Any, names: Sequence[str], folder: Path) -> list[tuple[str, int]]:
    """Return which generation of which devices has to be made: revoked ones are not made again."""
    found = []
    for name in names:
        latest = fleet.latest(name)
        if latest is None or latest.state == "replaced":
            found.append((name, 0 if latest is None else latest.generation + 1))
        elif latest.state == "active" and not _whole(folder / latest.file, latest.sha256):
            found.append((name, latest.generation))
    return found


def _whole(file: Path, sha256: str) -> bool:
    return file.is_file() and digest(file) == sha256


def _transfer(run: Run, request: FleetRequest, fleet: Any, shared: Shared) -> Transfer | None:
    """Attack the first devices from each other; rows that an earlier call made are kept with the run."""
    active = dict(sorted(fleet.active().items())[: shared.cfg.matrix])
    if not active:
        return None
    sources = [*active, RIVAL, PUBLIC]
    told = hashlib.sha256("".join(one.sha256 for one in active.values()).encode()).hexdigest()
    state = dict(run.manifest.state or {})
    rows: dict[str, list[float]] = state.get("rows", {}) if state.get("of") == told else {}
    jobs = [Job("row", source, victims=tuple(active)) for source in ["", *sources] if source not in rows]
    request.progress.start(len(jobs), "attack")
    for job, row in working(shared, request.key, jobs, request.workers):
        rows = {**rows, job.name: row}
        run.update(state={**state, "of": told, "rows": rows})
        request.progress.advance()
    request.progress.finish()
    return Transfer(
        devices=tuple(active),
        sources=tuple(sources),
        clean=tuple(rows[""]),
        accuracy=tuple(tuple(rows[source]) for source in sources),
        eps=shared.cfg.eps,
        pictures=min(shared.cfg.attacked, len(shared.held[0])),
    )


def devices_key(owner: Key, folder: Path, name: str) -> Key:
    """Return the key of a device in use, for whoever brings it there.

    Raises:
        UsageError: There is no such device, or it is revoked.
        WrongKey: The fleet is not the owner's.
    """
    from noli.core.errors import UsageError, WrongKey
    from noli.zoo.fleet import device_key, read_fleet

    device = read_fleet(folder).active().get(name)
    if device is None:
        raise UsageError("There is no such device in use.", where=name, fix="see fleet.json")
    key = device_key(owner, name, device.generation)
    if (key.id, key.check_value) != (device.key_id, device.check_value):
        raise WrongKey("The fleet was made with another key.", where=str(folder), fix="give the owner's key")
    return key


def owned_by(key: Key, folder: Path) -> bool:
    """Tell whether a fleet was made with this key, which no file of it names; devices' keys follow."""
    from noli.zoo.fleet import device_key, read_fleet

    devices = read_fleet(folder).devices
    return any(device_key(key, one.name, one.generation).id == one.key_id for one in devices)
