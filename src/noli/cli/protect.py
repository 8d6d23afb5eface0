"""``noli protect METHOD DATA -o OUT``: the main job."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import RenderableType

from noli.cli import console
from noli.cli.shared import (
    OUTPUT,
    Config,
    Json,
    Labels,
    OutDir,
    PassFile,
    Quiet,
    RunDir,
    Settings,
    Workers,
    load_key,
)
from noli.core.method import Spec

if TYPE_CHECKING:
    from noli.api import ProtectRun
    from noli.engine.plan import Plan

Format = Annotated[
    Literal["png", "webp", "same"],
    typer.Option("--format", help="Lossless file format, or the source's own.", rich_help_panel=OUTPUT),
]
Metadata = Annotated[
    Literal["keep", "strip"],
    typer.Option("--metadata", help="EXIF, XMP and text of the pictures.", rich_help_panel=OUTPUT),
]
OnError = Annotated[
    Literal["fail", "skip"],
    typer.Option("--on-error", help="What to do with unreadable items.", rich_help_panel=OUTPUT),
]


def register(app: typer.Typer) -> None:
    """Add the command group of this file; its sub-commands are the methods of the family."""
    from noli.cli.dynamic import method_group

    group = typer.Typer(cls=method_group("protect", protect), no_args_is_help=True)
    app.add_typer(
        group,
        name="protect",
        help="Make a protected copy of a data set: noli protect cuda DATA -o OUT --key owner.key",
        epilog="Plug-ins are named in full: noli protect PACKAGE/NAME. See noli list.",
    )


def protect(
    spec: Spec,
    data: Annotated[str, typer.Argument(help="Folder, CSV, .npz, Parquet or URL with the originals.")],
    output: OutDir,
    key: Annotated[Path | None, typer.Option("--key", help="The owner's key file.")] = None,
    settings: Settings = None,
    config: Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count, estimate time and disk, write nothing.")
    ] = False,
    preview: Annotated[
        int | None,
        typer.Option("--preview", metavar="N", min=1, help="Write one picture of N examples, and stop."),
    ] = None,
    format: Format = "png",  # noqa: A002
    metadata: Metadata = "keep",
    on_error: OnError = "fail",
    workers: Workers = None,
    run: RunDir = None,
    labels: Labels = None,
    passphrase_file: PassFile = None,
    json: Json = False,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Protect a data set with one method."""
    from noli import api, options
    from noli.engine.progress import for_terminal

    call: dict[str, Any] = {
        "config": {**options.read_settings(settings or (), config), **method_options},
        "method": spec.name,
        "key": load_key(key, passphrase_file) if key else None,
        "workers": workers,
        "format": format,
        "metadata": metadata,
        "on_error": on_error,
        "labels": labels,
        "run": run,
        "progress": for_terminal(quiet=quiet or json),
    }
    out = console.Output(json=json, quiet=quiet)
    if preview is None and not dry_run:
        _report(out, api.protect(data, output, **call), data)
        return
    page = _preview(data, output, preview, call) if preview is not None else None
    shown = {} if page is None else {"preview": str(page), "examples": preview}
    words: list[RenderableType] = []
    if page is not None:
        words += [
            f"Preview: {page}",
            "From left to right: original, protected, difference times ten. Nothing was protected yet.",
        ]
    if not dry_run:
        out.result(shown, *words)
        return
    plan = api.plan(data, output, **call)
    nothing = "Nothing was written." if page is None else "Nothing else was written."
    out.result({**plan.to_dict(), **shown}, *words, _plan(plan), nothing)
    if not plan.fits:
        out.warn("the output will not fit on the disk")


def _preview(data: str, output: str, n: int, call: dict[str, Any]) -> Path:
    from noli import api
    from noli.engine.request import run_folder

    beside = run_folder(output)
    return api.preview(data, output, n=n, path=beside.with_name(beside.stem + ".preview.png"), **call)


def _plan(plan: Plan) -> RenderableType:
    free = "unknown" if plan.disk_free is None else f"{console.size(plan.disk_free)} free"
    classes = f" in {len(plan.classes)} classes" if plan.classes else ", no classes"
    rows: list[tuple[str, object]] = [
        ("pictures", f"{_count(plan.items)}{classes} ({plan.layout})"),
        ("unusable", _count(plan.skipped)),
        ("formats", _listed(plan.formats)),
        ("sizes", _listed(plan.shapes)),
        ("GPS positions", _count(plan.with_gps)),
        ("disk", f"{console.size(plan.bytes_in)} in, about {console.size(plan.bytes_out)} out, {free}"),
        ("memory", f"about {plan.memory_mb:.0f} MB with {plan.workers} workers"),
        (
            "time",
            f"about {console.duration(plan.seconds)}, measured on {len(plan.seconds_measured)} pictures",
        ),
    ]
    if plan.resumes:
        rows.append(("note", "a run for this output exists: only what is missing will be done"))
    return console.grid(rows)


def _report(out: console.Output, run: ProtectRun, data: str) -> None:
    manifest, found = run.manifest, run.manifest.results
    page = run.path / "report.html"
    gone, changed = int(found.get("removed_from_source") or 0), int(found.get("outputs_changed") or 0)
    rows: list[tuple[str, object]] = [
        ("protected", f"{_count(found['items'])} pictures with {manifest.method}{_news(run)}"),
        ("output", run.output),
        ("left out", f"{_count(found['skipped'])} unreadable, listed in {run.path}/events.jsonl"),
        ("GPS", _gps(found["with_gps"], manifest.args_resolved.get("metadata"))),
        ("quality", _quality(found)),
        ("time", console.duration(manifest.resources.wall_seconds)),
        ("report", str(page)),
        ("gone", f"{_count(gone)} are no longer in the source; their protected copies stay"),
        ("changed", f"{_count(changed)} protected files are no longer as noli wrote them"),
    ]
    kept = {"left out": found["skipped"], "gone": gone, "changed": changed, "time": run.worked}
    skipped = {name for name, there in kept.items() if not there}
    out.result(
        {
            "run": str(run.path),
            "output": run.output,
            "report": str(page),
            "method": manifest.method,
            "key": manifest.key.model_dump() if manifest.key else None,
            "results": found,
            "worked": run.worked,
            "added": run.added,
        },
        console.grid([row for row in rows if row[0] not in skipped]),
    )
    out.hint(f"Next: noli verify {shlex.quote(run.output)} --clean {shlex.quote(data)}")


def _news(run: ProtectRun) -> str:
    if not run.worked:
        return "; already done, nothing new"
    older = run.manifest.results["items"] + run.manifest.results["skipped"] - run.added
    return f"; {_count(run.added)} of them are new" if run.added > 0 and older > 0 else ""


def _gps(count: int, metadata: object) -> str:
    if not count:
        return "no picture carries a position"
    if metadata == "strip":
        return f"removed from {_count(count)} pictures"
    return f"{_count(count)} pictures still tell where they were taken; --metadata strip removes it"


def _quality(found: dict[str, Any]) -> str:
    if found.get("psnr_mean") is None:
        return "no picture was changed"
    text = f"PSNR {found['psnr_mean']:.1f} dB on average, {found['psnr_min']:.1f} dB at worst"
    return text + (f", {_count(found['identical'])} unchanged" if found.get("identical") else "")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{_count(count)} {name}" for name, count in counts.items()) or "-"


def _count(number: int) -> str:
    return f"{number:,}"
