"""``noli lock METHOD DATA -o OUT``: pictures that only the key brings back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.dynamic import method_group
from noli.cli.lock_export import EXPORT_HELP, export
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
    load_key,
)
from noli.core.method import Spec
from noli.core.run import Run
from noli.ops.metrics import percent

_AUDIT_HELP = "Attack scrambled pictures as somebody without the key would."
_ROTATE_HELP = "Give scrambled pictures another key, without the plain pictures in between."


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


def lock_model(
    spec: Spec,
    data: Annotated[str, Argument(help="Pictures with classes: folder, CSV, .npz, Parquet or URL.")],
    output: OutDir,
    key: KeyFile,
    model: Annotated[
        Path | None, Option(metavar="FILE", help="Trained network of patches; default: one is trained.")
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
    """Give a classifier secret first layers that only a key fits, and say what that is worth."""
    from noli import api, options
    from noli.api import write_report
    from noli.core.robustness import LEVELS, Robustness
    from noli.core.theft import Theft
    from noli.methods.lock.embeddings import MEANINGS

    out = console.Output(json=json, quiet=quiet)
    out.hint("A key for a model is no access control: much of what it does needs no key; see the table.")
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
    found = done.manifest.results
    table = [(name, percent(value), MEANINGS[name]) for name, value in found["accuracy"].items()]
    facts: console.Rows = [
        ("model", f"{output}, {found['pairs']} secret pair(s)"),
        ("pictures", f"{found['training']:,} for training, {found['held_out']:,} held out"),
        ("guessing", percent(found["chance"])),
        ("report", str(write_report(done))),
    ]
    shown = console.table("Accuracy on held-out pictures", ["row", "accuracy", "what it is"], table)
    robust = Robustness.model_validate(found["robustness"])
    left = [(level, percent(share), f"who {LEVELS[level]}") for level, share in robust.least.items()]
    attacked = console.table("Accuracy under the best attack", ["level", "accuracy", "of an attacker"], left)
    answer = {"output": str(output), "run": str(done.path), "results": found}
    theft = Theft.model_validate(found["theft"])
    thefts = console.grid([("theft", words) for words in theft.words])
    out.result(answer, shown, "", attacked, "", thefts, "", console.grid(facts))
    for words in robust.checks.words:
        out.warn(words)
    out.hint("Who has the key is not hindered. The report has every attack.")


def rotate(
    data: Annotated[str, Argument(help="Scrambled pictures, as noli lock writes them.")],
    output: OutDir,
    key: KeyFile,
    former: Annotated[
        Path | None, Option(metavar="FILE", help="File of the former key, if it is not in the same one.")
    ] = None,
    json: Json = False,
    on_error: OnError = "fail",
    workers: Workers = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Give scrambled pictures the active key of a file, without the plain pictures in between."""
    from noli import api
    from noli.api._lock import BANNER
    from noli.engine.opening import first_header

    out = console.Output(json=json, quiet=quiet)
    out.hint(BANNER)
    header = first_header(data)
    done = api.rotate(
        data,
        output,
        key=load_begun_key(key, output, run, passphrase_file),
        former=load_key(former or key, passphrase_file, key_id=header.key_id if header else None),
        workers=workers,
        on_error=on_error,
        run=run,
        progress=out.progress(),
    )
    results = done.manifest.results
    left = int(results.get("skipped", 0))
    rows: console.Rows = [
        ("rotated", f"{results['items']:,} pictures"),
        *console.notices(results, str(done.path)),
        ("from key", str(done.manifest.args_passed["former"])),
        ("to key", str(done.manifest.args_resolved["key"])),
        ("output", str(output)),
        ("run", str(done.path)),
    ]
    out.result({"output": str(output), "run": str(done.path), "results": results}, console.grid(rows))
    if left:
        out.warn(f"{left:,} picture(s) have the former key only: do not delete them")
    else:
        out.hint("The pictures under the former key are as they were: delete them where they should not be.")


def audit(
    data: Annotated[str, Argument(help="Scrambled pictures, as noli lock writes them.")],
    clean: Annotated[str, Option(metavar="DATA", help="The originals, by which attacks are scored.")],
    public: Annotated[
        str | None, Option(metavar="DATA", help="Other pictures of the kind; default: photographs.")
    ] = None,
    page: Annotated[
        Path | None, Option("--output", "-o", metavar="FILE.html", help="Where the page goes.")
    ] = None,
    pictures: Annotated[int, Option(metavar="N", min=1, help="Most pictures to attack.")] = 200,
    learned: Annotated[
        bool, Option("--learned", help="Also train attacks on the public pictures: minutes of CPU.")
    ] = False,
    generator: Annotated[
        Path | None, Option(metavar="FILE.safetensors", help="A trained generator of noli for these.")
    ] = None,
    settings: Annotated[
        list[str] | None, Option("--set", metavar="NAME=VALUE", help="How much is learned.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Attack scrambled pictures as somebody without the key would; exit 1 if half of them come back."""
    from noli import api, options
    from noli.api._lock import BANNER

    out = console.Output(json=json, quiet=quiet)
    out.hint(BANNER)
    place = page or Path(f"{data.rstrip('/').removesuffix('.noli')}.audit.html")
    found = api.audit(
        data,
        clean=clean,
        public=public,
        pictures=pictures,
        learned=learned,
        learning=options.read_settings(settings or (), None),
        generator=generator,
        keep=place.with_suffix(".learning") if learned else None,
        html=place,
        progress=out.progress(),
    )
    columns = ["attack", "attacker has, too", "SSIM", "brought back", "values exact", "bits left", "CPU s"]
    columns += ["found again"] * learned
    lines = [
        (
            row.name,
            row.has,
            f"{row.ssim:.2f}",
            f"{percent(row.back)} of {row.pictures}",
            percent(row.exact),
            "-" if row.left_bits is None else f"{row.left_bits:,.1f}",
            f"{row.seconds:.1f}",
            *([f"{percent(row.retrieval)} (chance {percent(row.chance)})"] if learned else []),
        )
        for row in found.rows
    ]
    facts: console.Rows = [
        ("scrambled", f"{found.pictures:,} pictures, SSIM {found.scrambled_ssim:.2f} as they are"),
        ("nominal", f"{found.nominal:,.1f} bits by the formula"),
        ("capped", f"{found.capped:,.1f} bits, as the key follows from 256"),
        ("effective", f"{found.effective:,.1f} bits after the best attack that looks for the key"),
        ("page", f"{place} (shows originals)"),
    ]
    told = console.table("What comes back without the key", columns, lines)
    out.result(found.model_dump(mode="json"), told, "", console.grid(facts), "", " ".join(found.words[:-1]))
    if found.least is not None:
        raise typer.Exit(1)


def key_bits(run: Run) -> tuple[dict[str, float], str] | None:
    """Return the size of the key by the scheme's formula, for the most frequent shape, and in words."""
    from noli.api._lock import key_size

    found = key_size(run)
    if found is None:
        return None
    nominal, capped = found
    words = (
        f"{nominal:,.0f} bits by the formula, {capped:,.0f} at most, as it follows from 256; what an attack "
        "takes is not measured here"
    )
    return {"nominal": nominal, "capped": capped}, words


GROUP = typer.Typer(
    cls=method_group(
        "lock",
        lock,
        {
            "audit": (audit, _AUDIT_HELP),
            "rotate": (rotate, _ROTATE_HELP),
            "export": (export, EXPORT_HELP),
        },
        {"data->codes": encode, "model->model": lock_model},
    ),
    no_args_is_help=True,
    help="Scramble pictures so that only the key brings them back (obfuscation, not confidentiality).",
)
