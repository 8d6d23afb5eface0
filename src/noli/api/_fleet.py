"""A keyed model for every device: make them, revoke and rotate single ones, trace a leak."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noli.api._lock import found_method, job_of
from noli.core.environment import available_cores
from noli.core.errors import DataError, UsageError
from noli.core.key import Key
from noli.core.run import Run
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, KeyLike, fitting_key, open_key

if TYPE_CHECKING:
    from noli.zoo.fleet import State
    from noli.zoo.tracing import Likeness

COLUMN = "device"
_BOM = "utf-8-sig"


def proliferate(
    pictures: str | Path,
    output: str | Path,
    *,
    devices: str | Path | Sequence[str],
    key: KeyLike,
    base: str | Path | None = None,
    workers: int | None = None,
    on_error: ErrorPolicy = "fail",
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Make a keyed model for every device, and measure what one of them gives away about the others.

    The same call again resumes, makes devices that are new in the list, and the next generation of those that
    were rotated. :func:`noli.zoo.fleet.load_device` reads a device's model with its key; see
    :func:`device_key`.

    Args:
        pictures: Pictures with classes; a fifth of them only tests.
        output: A new local folder.
        devices: Names, or a CSV file with a column ``device``.
        key: The owner's key, or the path of a key file without a passphrase; keys of devices follow from it.
        base: Trained network of patches, a file or a folder as for :func:`noli.lock_model`; None: one is
            trained on the pictures.
        workers: Processes of one thread each; all cores when None.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        labels: Column or array with the class, where the layout does not say.
        run: Run folder; ``OUT.noli`` beside the output when None.
        progress: Where progress goes; nowhere when None.
        options: Options of the method, see :mod:`noli.methods.lock.proliferate`.

    Raises:
        UsageError, DataError, OutputExists, RunError, Interrupted: See :func:`noli.engine.fleet.proliferate`.
    """
    from noli.engine.fleet import FleetRequest
    from noli.engine.fleet import proliferate as work

    spec = found_method("proliferate", "model->models", "This method makes no fleet.")
    if base is not None and not Path(base).exists():
        raise UsageError("There is no such model.", where=str(base), fix="name one that is there")
    if workers is not None and workers < 1:
        raise UsageError("There must be a worker at least.", why=str(workers))
    names = _listed(devices) if isinstance(devices, str | Path) else [str(name) for name in devices]
    job = job_of(spec, pictures, output, key, run, progress, options, labels, on_error)
    own = {"model": "" if base is None else str(base), "devices": tuple(names)}
    shared = {field.name: getattr(job, field.name) for field in fields(job)}
    return work(FleetRequest(**{**shared, **own}, workers=workers or available_cores()))


def device_key(fleet: str | Path, device: str, *, key: KeyLike, output: str | Path | None = None) -> Key:
    """Return the key of a device, and write it to a key file for the device where one is named.

    Args:
        fleet: Folder of the fleet.
        device: Name.
        key: The owner's key, or the path of a key file without a passphrase.
        output: A new key file, of mode 0600.

    Raises:
        UsageError: No such device in use, or no key.
        WrongKey: The fleet was made with another key.
        OutputExists, KeyFileError: The file is there, or cannot be written.
    """
    from noli.engine.fleet import devices_key

    found = devices_key(_owner(key, fleet), Path(fleet), device)
    if output is not None:
        found.write(output)
    return found


def revoke_device(fleet: str | Path, device: str) -> None:
    """Take a device out of use for good: it is not made again, and its model is not read any more.

    What the device has stays there: who has its file and key can go on. Its file is kept to trace leaks.
    A device that is revoked already stays so. Nothing depends on a clock: others may be revoked meanwhile.

    Raises:
        UsageError: There is no such device, or others change the fleet for seconds.
    """
    _set(fleet, device, "revoked")


def rotate_device(fleet: str | Path, device: str) -> None:
    """Retire the key and layers of a device; the next :func:`proliferate` makes others for it.

    Raises:
        UsageError: There is no such device, or it is not in use.
    """
    _set(fleet, device, "replaced")


def trace_model(fleet: str | Path, leaked: str | Path, *, key: KeyLike) -> tuple[Likeness, ...]:
    """Compare a leaked model with every device that a fleet ever had, the likeliest first.

    :func:`noli.zoo.tracing.named` says whether the first one may be named.

    Args:
        fleet: Folder of the fleet.
        leaked: A device's file, a safetensors model of noli (folded, say), or the folder of a keyed model.
        key: The owner's key, or the path of a key file without a passphrase.

    Raises:
        WrongKey: The fleet was made with another key.
        DataError: Files that cannot be read.
        UsageError: A model of another shape.
    """
    from noli.zoo.tracing import trace

    return trace(fleet, leaked, _owner(key, fleet))


def fleet_key(fleet: str | Path, key: str | Path, passphrase: str | None = None) -> Key:
    """Return the key of a key file that a fleet was made with, retired or not; else its active one."""
    from noli.engine.fleet import owned_by

    return fitting_key(key, passphrase, lambda one: owned_by(one, Path(fleet)))


def _owner(key: KeyLike, fleet: str | Path) -> Key:
    owner = fleet_key(fleet, key) if isinstance(key, str | Path) else open_key(key)
    if owner is None:
        raise UsageError("This needs the owner's key.", fix="pass the key the fleet was made with")
    return owner


def _set(fleet: str | Path, device: str, state: State) -> None:
    from noli.engine.fleet import changing
    from noli.zoo.fleet import read_fleet

    with changing(Path(fleet)):
        found = read_fleet(fleet)
        latest = found.latest(device)
        if latest is not None and latest.state == state == "revoked":
            return
        # What is to be made anew can still be revoked.
        if latest is None or latest.state in ("revoked", state):
            why = f"it is {latest.state}" if latest else "the fleet has none of this name"
            raise UsageError("There is no such device in use.", where=device, why=why, fix="see fleet.json")
        found.with_device(latest.model_copy(update={"state": state})).save(Path(fleet))


def _listed(file: str | Path) -> list[str]:
    """Read the column ``device`` of a CSV file."""
    where, fix = str(file), f"give a CSV file with a column named {COLUMN}"
    try:
        with Path(file).open(encoding=_BOM, newline="") as handle:
            rows = csv.DictReader(handle)
            if COLUMN not in (rows.fieldnames or ()):
                why = f"its columns are {', '.join(rows.fieldnames or ()) or 'none'}"
                raise DataError("The list of devices cannot be used.", where=where, why=why, fix=fix)
            return [(row[COLUMN] or "").strip() for row in rows]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(
            "The list of devices cannot be read.", where=where, why=str(error), fix=fix
        ) from error
