"""``noli protect METHOD DATA -o OUT``: the main job."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from typer import Argument, Option

from noli import registry
from noli.cli import console
from noli.cli.auto import ABOUT, auto
from noli.cli.console import Rows
from noli.cli.dynamic import method_group
from noli.cli.shared import (
    Config,
    Format,
    Json,
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
from noli.core.errors import clean_url
from noli.core.method import Spec
from noli.ops.metrics import percent
from noli.report.words import duration

if TYPE_CHECKING:
    from noli.api import ProtectRun
    from noli.core.manifest import Manifest
    from noli.engine.plan import Plan

# A fifth is held out, and verify wants 100 pictures there.
_MEASURABLE = 500
# What a learning reached: endings with what ended it, names in words, and which of them are shares.
_ENDED = {"out_of_time": "--time", "good_enough": "the error asked for (stop)"}
_WORDS = {
    "error": "error of the surrogate on protected pictures",
    "clean_accuracy": "surrogate's accuracy",
    "moved": "pictures taken for the wanted cluster",
    "smallest": "smallest cluster",
    "seen_as_wanted": "pictures taken for the wanted class",
    "seen_as_own": "pictures still taken for their own class",
}
_SHARES = ("error", "clean_accuracy", "moved", "seen_as_wanted", "seen_as_own")
_ONE_CLASS = (
    "there is one class only; methods that treat classes differently protect by that difference, so expect "
    "nothing of them (noli protect uc works without classes)"
)


def protect(
    spec: Spec,
    data: Annotated[str, Argument(help="Folder, CSV, .npz, Parquet or URL with the originals.")],
    output: OutDir,
    key: Annotated[Path | None, Option(help="The owner's key file.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Only count, and estimate time and disk.")] = False,
    preview: Annotated[int | None, Option(metavar="N", min=1, help="Only draw N examples.")] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    format: Format = "png",  # noqa: A002
    metadata: Metadata = "keep",
    on_error: OnError = "fail",
    labels: Labels = None,
    workers: Workers = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Protect a data set with one method."""
    from noli import api, options
    from noli.engine.request import run_folder

    out = console.Output(json=json, quiet=quiet)
    call: dict[str, Any] = {
        "config": {**options.read_settings(settings or (), config), **method_options},
        "method": spec.name,
        "key": load_begun_key(key, output, run, passphrase_file) if key else None,
        "workers": workers,
        "format": format,
        "metadata": metadata,
        "on_error": on_error,
        "labels": labels,
        "run": run,
        "progress": out.progress(),
    }
    if preview is None and not dry_run:
        show_run(out, api.protect(data, output, **call), data)
        return
    document: dict[str, Any] = {}
    words: list[Any] = []
    if preview is not None:
        place = run_folder(output).with_suffix(".preview.png")
        page = api.preview(data, output, n=preview, path=place, **call)
        document = {"preview": str(page), "examples": preview}
        words = [
            f"Preview: {page}",
            "From left to right: original, protected, difference times ten. Nothing was protected yet.",
            "Do not publish it: it shows originals.",
        ]
    if dry_run:
        plan = api.plan(data, output, **call)
        document = {**plan.as_dict(), **document}
        words += [_plan(plan), "Nothing else was written." if words else "Nothing was written."]
        out.warn_of_dicom(plan.formats.get("DICOM", 0))
        if len(plan.classes) == 1 and "labels" in spec.needs:
            out.warn(_ONE_CLASS)
        if not plan.fits:
            out.warn("the output will not fit on the disk")
    out.result(document, *words)


def _plan(plan: Plan) -> Any:
    free = "unknown" if plan.disk_free is None else f"{decimal(plan.disk_free)} free"
    words = "class" if len(plan.classes) == 1 else "classes"
    classes = f" in {len(plan.classes)} {words}" if plan.classes else ", no classes"
    rows: Rows = [
        ("pictures", f"{plan.items:,}{classes} ({plan.layout})"),
        ("unusable", f"{plan.skipped:,}"),
        ("formats", _listed(plan.formats)),
        ("sizes", _listed({_size(shape): n for shape, n in plan.shapes.items()})),
        ("GPS positions", f"{plan.with_gps:,}"),
        ("disk", f"{decimal(plan.bytes_in)} in, about {decimal(plan.bytes_out)} out, {free}"),
        ("memory", f"about {plan.memory_mb:.0f} MB with {plan.workers} workers"),
        ("time", f"about {duration(plan.seconds)}, measured on {len(plan.seconds_measured)} pictures"),
    ]
    if plan.resumes:
        rows.append(("note", "a run for this output exists: only what is missing will be done"))
    return console.grid(rows)


def show_run(
    out: console.Output,
    run: ProtectRun,
    data: str,
    further: Mapping[str, object] | None = None,
    *,
    word: str = "protected",
    rows: Rows | None = None,
) -> None:
    """Print what a run did, in a `word`; `further` joins the JSON document, `rows` the readable one."""
    manifest, found = run.manifest, run.manifest.results
    page = str(run.path / "report.html")
    lines: Rows = [
        (word, f"{found['items']:,} pictures with {manifest.method}{_news(run)}"),
        ("output", run.output),
        *console.notices(found, run.path),
        ("GPS", _gps(found["with_gps"], manifest.args_resolved.get("metadata"))),
        *_learned(manifest.state),
        ("quality", _quality(found)),
        *([("time", duration(manifest.resources.wall_seconds))] if run.worked else []),
        ("report", page),
        *(rows or ()),
    ]
    document = {
        "run": str(run.path),
        "output": run.output,
        "report": page,
        "method": manifest.method,
        "key": manifest.key.model_dump() if manifest.key else None,
        "results": found,
        "worked": run.worked,
        "added": run.added,
        **(further or {}),
    }
    out.result(document, console.grid(lines))
    out.warn_of_dicom(found.get("dicom", 0))
    out.warn_of_windows(found.get("beyond_window", 0))
    if _fell_back(manifest):
        out.hint("EfficientNet-Lite0 tells pictures apart better: pip install 'noli[encoders]'.")
    if "out_of_time" in _latest(manifest.state):
        out.warn("--time ended the learning early: expect less than the method's description says")
    if word != "protected":
        return
    labels = {record.get("label") for record in run.iter_records()} - {None}
    if len(labels) == 1 and "labels" in registry.get(str(manifest.method)).needs:
        out.warn(_ONE_CLASS)
    if not labels:
        out.hint("To measure it, noli verify needs classes, in the originals and in the protected copy.")
        return
    out.hint(f"Next: noli verify {shlex.quote(run.output)} --clean {shlex.quote(clean_url(data))}")
    if found["items"] < _MEASURABLE:
        out.hint(
            f"It needs 100 held-out pictures: a test split, or about {_MEASURABLE} in all. Until then "
            "nothing is known about this protection."
        )


def _news(run: ProtectRun) -> str:
    if not run.worked:
        return "; already done, nothing new"
    older = run.manifest.results["items"] + run.manifest.results["skipped"] - run.added
    return f"; {run.added:,} of them are new" if run.added > 0 and older > 0 else ""


def _gps(count: int, metadata: object) -> str:
    if not count:
        return "no picture carries a position"
    if metadata == "strip":
        return f"removed from {count:,} pictures"
    return f"{count:,} pictures still tell where they were taken; --metadata strip removes it"


def _quality(found: dict[str, Any]) -> str:
    if found.get("psnr_mean") is None:
        return "no picture was changed"
    spread = console.spread(found["psnr_mean"], found["psnr_min"])
    text = f"PSNR {spread} (above 35 dB hardly visible, below 25 clearly)"
    return text + (f", {found['identical']:,} unchanged" if found.get("identical") else "")


def _latest(state: dict[str, Any] | None) -> dict[str, float]:
    return dict((state or {}).get("reached", [{}])[-1])


def _fell_back(manifest: Manifest) -> bool:
    from noli.train.options import OWN

    asked = manifest.args_resolved["config"].get("encoder")
    return asked == "auto" and (manifest.state or {}).get("encoder") == OWN


def _learned(state: dict[str, Any] | None) -> Rows:
    """What the latest learning of a method reached, where it learns: how far it got, and how well."""
    numbers = _latest(state)
    if not numbers:
        return []
    ended = [(numbers.pop(name), why) for name, why in _ENDED.items() if name in numbers]
    shown = [_told(name, value) for name, value in numbers.items()]
    for asked, why in ended:
        shown[0] += f" of {asked:g}, ended by {why}"
    if "encoder" in (state or {}):
        shown.insert(0, f"clusters of the encoder {state['encoder']}")  # type: ignore[index]
    return [("learned", ", ".join(shown))]


def _told(name: str, value: float) -> str:
    words = _WORDS.get(name, name.replace("_", " "))
    return f"{words} {percent(value) if name in _SHARES else f'{value:g}'}"


def _size(shape: str) -> str:
    """Say a shape ``HxWxC`` as people do: width first, and what the channels are."""
    height, width, channels = shape.split("x")
    return f"of {width} x {height} px {'grey' if channels == '1' else 'colour'}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "-"


GROUP = typer.Typer(
    cls=method_group("protect", protect, {"auto": (auto, ABOUT)}),
    no_args_is_help=True,
    help="Make a protected copy of a data set: noli protect cuda DATA -o OUT --key owner.key. "
    "`auto` tries the methods and takes the best.",
    epilog="Plug-ins are named in full: noli protect PACKAGE/NAME. See noli list.",
)
