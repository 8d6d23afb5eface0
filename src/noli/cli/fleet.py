"""``noli lock proliferate``, ``device`` and ``trace``: a keyed model for every device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import (
    Config,
    Json,
    KeyFile,
    Labels,
    OnError,
    OutDir,
    Quiet,
    RarePassFile,
    RunDir,
    Settings,
    Workers,
    load_begun_key,
    phrase_for,
)
from noli.core.errors import UsageError
from noli.core.method import Spec
from noli.ops.metrics import percent

DEVICE_HELP = "Give a device its key, take it out of use, or have its model made anew."
TRACE_HELP = "Tell from which device of a fleet a leaked model is."
SHOWN = 12
Folder = Annotated[Path, Argument(help="The fleet's folder.")]


def proliferate(
    spec: Spec,
    data: Annotated[str, Argument(help="Pictures with classes: folder, CSV, .npz, Parquet or URL.")],
    output: OutDir,
    key: KeyFile,
    devices: Annotated[Path, Option(metavar="FILE.csv", help="Names of devices, in a column `device`.")],
    base: Annotated[
        Path | None,
        Option(metavar="PATH", help="Trained network of patches, file or folder; default: one is trained."),
    ] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    on_error: OnError = "fail",
    labels: Labels = None,
    workers: Workers = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Make a keyed model for every device, and measure what one gives away about the others."""
    from noli import api, options
    from noli.api import write_report
    from noli.core.transfer import Transfer
    from noli.methods.lock import proliferate as proliferate_method

    out = console.Output(json=json, quiet=quiet)
    out.hint(proliferate_method.NEXT)
    chosen: dict[str, Any] = {**options.read_settings(settings or (), config), **method_options}
    done = api.proliferate(
        data,
        output,
        devices=devices,
        key=load_begun_key(key, output, run, passphrase_file),
        base=base,
        workers=workers,
        on_error=on_error,
        labels=labels,
        run=run,
        progress=out.progress(),
        **chosen,
    )
    found = done.manifest.results
    names = tuple(proliferate_method.MEANINGS)
    lines = [
        (device, *(percent(accuracy[name]) for name in names))
        for device, accuracy in list(found["accuracy"].items())[:SHOWN]
    ]
    shown = console.table("Accuracy on held-out pictures", ["device", *names], lines)
    facts: console.Rows = [
        ("fleet", str(output)),
        ("pictures", f"{found['training']:,} for training, {found['held_out']:,} held out"),
        *proliferate_method.told(found),
        ("report", str(write_report(done))),
    ]
    said = Transfer.model_validate(found["transfer"]).words if found["transfer"] else ()
    answer = {"output": str(output), "run": str(done.path), "results": found}
    out.result(answer, shown, "", " ".join(said), "", console.grid(facts))
    if len(found["accuracy"]) > SHOWN:
        out.hint(f"{SHOWN} of {len(found['accuracy']):,} devices are shown; --json has all.")


def device(
    fleet: Folder,
    name: Annotated[str, Argument(help="The device.")],
    write_key: Annotated[
        Path | None, Option(metavar="FILE", help="Write the device's key here: a new file, mode 0600.")
    ] = None,
    key: Annotated[Path | None, Option(help="The owner's key file, for --write-key.")] = None,
    revoke: Annotated[bool, Option("--revoke", help="Take it out of use for good.")] = False,
    rotate: Annotated[bool, Option("--rotate", help="Retire its key and layers.")] = False,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Give a device its key, take it out of use, or have its model made anew."""
    from noli import api
    from noli.api._fleet import fleet_key

    out = console.Output(json=False, quiet=quiet)
    if (write_key is not None) + revoke + rotate != 1:
        fix = "say --write-key FILE --key OWNER.key, --revoke or --rotate"
        raise UsageError("It is not clear what to do with the device.", where=name, fix=fix)
    if write_key is not None:
        if key is None:
            raise UsageError("The key of a device follows from the owner's.", fix="say --key OWNER.key")
        made = api.device_key(
            fleet, name, key=fleet_key(fleet, key, phrase_for(key, passphrase_file)), output=write_key
        )
        out.result({}, f"{write_key}: key {made.id}, {made.label}")
        out.hint("With it and the folder's files, anybody has this device's model, and no other's.")
    elif revoke:
        api.revoke_device(fleet, name)
        out.result({}, f"{name} is revoked.")
        out.hint("What it has stays there; its file is kept to trace leaks.")
    else:
        api.rotate_device(fleet, name)
        out.result({}, f"{name} gets another key.")
        out.hint("Run noli lock proliferate again, as before: it makes the model for it.")


def trace(
    fleet: Folder,
    leaked: Annotated[
        Path, Argument(help="A device's file, a safetensors model, or a keyed model's folder.")
    ],
    key: KeyFile,
    json: Json = False,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Tell from which device of a fleet a leaked model is; 1 where none can be named."""
    from noli import api
    from noli.api._fleet import fleet_key
    from noli.zoo.tracing import named

    out = console.Output(json=json, quiet=quiet)
    found = api.trace_model(fleet, leaked, key=fleet_key(fleet, key, phrase_for(key, passphrase_file)))
    it = named(found)
    lines = [
        (one.device.name, str(one.device.generation), one.device.state, f"{one.value:+.3f}")
        for one in found[:SHOWN]
    ]
    columns = ["device", "generation", "state", "likeness"]
    rows = [dict(zip(columns, line, strict=True)) for line in lines]
    word = f"The model is from {it.name}, generation {it.generation}." if it else "No device can be named."
    answer = {"named": it.name if it else None, "devices": rows}
    out.result(answer, console.table("Likeness of weights", columns, lines), "", word)
    out.hint("Likeness is no certificate: for that, put a mark into what the device answers.")
    if it is None:
        raise typer.Exit(1)
