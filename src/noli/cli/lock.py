"""``noli lock METHOD DATA -o OUT``: pictures that only the key brings back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console, sealing
from noli.cli.dynamic import method_group
from noli.cli.fleet import DEVICE_HELP, TRACE_HELP, device, proliferate, trace
from noli.cli.lock_audit import AUDIT_HELP, audit
from noli.cli.lock_export import EXPORT_HELP, export
from noli.cli.lock_predict import PREDICT_HELP, predict
from noli.cli.lock_rotate import ROTATE_HELP, rotate
from noli.cli.locked_model import show_model
from noli.cli.protect import show_run
from noli.cli.shared import (
    Config,
    Format,
    Json,
    KeyFile,
    Labels,
    Metadata,
    OnError,
    OutDir,
    Quiet,
    RarePassFile,
    RunDir,
    Settings,
    Workers,
    load_begun_key,
)
from noli.core.method import Spec
from noli.core.run import Run

if TYPE_CHECKING:
    pass


def lock(
    spec: Spec,
    data: Annotated[str, Argument(help="Folder, CSV, .npz, Parquet or URL with pictures.")],
    output: OutDir,
    key: KeyFile,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    format: Format = "png",  # noqa: A002
    metadata: Metadata = "strip",
    on_error: OnError = "fail",
    labels: Labels = None,
    workers: Workers = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Scramble pictures with one scheme of perceptual encryption."""
    from noli import api, options
    from noli.api._lock import BANNER

    out = console.Output(json=json, quiet=quiet)
    out.hint(BANNER)
    chosen: dict[str, Any] = {**options.read_settings(settings or (), config), **method_options}
    done = api.lock(
        data,
        output,
        spec.name,
        key=load_begun_key(key, output, run, passphrase_file),
        workers=workers,
        format=format,
        metadata=metadata,
        on_error=on_error,
        labels=labels,
        run=run,
        progress=out.progress(),
        **chosen,
    )
    bits = key_bits(done)
    rows: console.Rows = [("key", bits[1])] if bits else []
    show_run(out, done, data, {"key_bits": bits[0]} if bits else None, word="scrambled", rows=rows)
    phrase = ["--passphrase-file", str(passphrase_file)] if passphrase_file else []
    place = f"{Path(output).name}-back"
    back = shlex.join(["noli", "undo", done.output, "-o", place, "--key", str(key), *phrase])
    out.hint(f"To bring them back: {back}")
    look = shlex.join(["noli", "lock", "audit", done.output, "--clean", str(data)])
    out.hint(f"To see what comes back without the key: {look}")


def encode(
    spec: Spec,
    data: Annotated[str, Argument(help="Folder, CSV, .npz, Parquet or URL with pictures.")],
    output: OutDir,
    key: KeyFile,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    on_error: OnError = "fail",
    labels: Labels = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Write codes of pictures with a scheme that is known to be broken, to compare or attack it."""
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    out.hint(f"{spec.card.title}: these codes protect nothing.")
    chosen: dict[str, Any] = {**options.read_settings(settings or (), config), **method_options}
    done = api.encode(
        data,
        output,
        spec.name,
        key=load_begun_key(key, output, run, passphrase_file),
        on_error=on_error,
        labels=labels,
        run=run,
        progress=out.progress(),
        **chosen,
    )
    found = done.manifest.results
    rows: console.Rows = [
        ("encoded", f"{found['items']:,} pictures with {spec.name}"),
        ("output", str(output)),
        ("codes", f"{' x '.join(map(str, found['shape']))} numbers of 16 bits each"),
        ("size", f"{found['bytes'] / 1e6:,.1f} MB in {found['shards']:,} shards"),
        ("run", str(done.path)),
    ]
    out.result({"output": str(output), "run": str(done.path), "results": found}, console.grid(rows))
    look = shlex.join(["noli", "lock", "audit", str(output), "--clean", str(data)])
    out.hint(f"To see what that is worth: {look}")


def lock_model(
    spec: Spec,
    data: Annotated[str, Argument(help="Pictures with classes, or (detector) with boxes.")],
    output: OutDir,
    key: KeyFile,
    model: Annotated[
        Path | None,
        Option(
            metavar="PATH",
            help="Trained network that is locked, or (embeddings) a Hugging Face folder with a ViT or DeiT "
            "classifier; default: one is trained.",
        ),
    ] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    on_error: OnError = "fail",
    labels: Labels = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Lock a model, and say what that is worth."""
    from noli import api, options, registry

    out = console.Output(json=json, quiet=quiet)
    method = registry.module(spec.name)
    out.hint(method.WORDS)
    chosen: dict[str, Any] = {**options.read_settings(settings or (), config), **method_options}
    done = api.lock_model(
        data,
        output,
        spec.name,
        key=load_begun_key(key, output, run, passphrase_file),
        model=model,
        on_error=on_error,
        labels=labels,
        run=run,
        progress=out.progress(),
        **chosen,
    )
    show_model(out, done, str(output))
    out.hint(method.NEXT)


def key_bits(run: Run) -> tuple[dict[str, float], str] | None:
    """Return the size of the key by the scheme's formula, for the most frequent shape, and in words."""
    from noli.api._lock import key_size

    found = key_size(run)
    if found is None:
        return None
    nominal, capped = found
    most = f", {capped:,.0f} at most, as it follows from 256" if capped < nominal else ""
    words = f"{nominal:,.0f} bits by the formula{most}; what an attack takes is not measured here"
    return {"nominal": nominal, "capped": capped}, words


GROUP = typer.Typer(
    cls=method_group(
        "lock",
        lock,
        {
            "audit": (audit, AUDIT_HELP),
            "rotate": (rotate, ROTATE_HELP),
            "predict": (predict, PREDICT_HELP),
            "export": (export, EXPORT_HELP),
            "device": (device, DEVICE_HELP),
            "trace": (trace, TRACE_HELP),
            **{name: (function, sealing.HELP[name]) for name, function in sealing.COMMANDS.items()},
        },
        {"data->codes": encode, "model->model": lock_model, "model->models": proliferate},
    ),
    no_args_is_help=True,
    help="Scramble pictures or lock models under a key (obfuscation); seal models (encryption).",
)
