"""``noli protect auto DATA -o OUT``: try the candidates on a sample, show the frontier, pick, protect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.text import Text
from typer import Argument, Option

from noli.cli import console
from noli.cli.console import verdict
from noli.cli.shared import (
    Format,
    Labels,
    Metadata,
    OnError,
    OutDir,
    Quiet,
    RarePassFile,
    RunDir,
    Workers,
    load_key,
)
from noli.core.evidence import LEVELS, Level
from noli.ops.metrics import percent
from noli.report.words import duration

if TYPE_CHECKING:
    from noli.core.choice import Choice, Tried

ABOUT = "Try the methods on a sample, show accuracy against quality and time, and protect with the best."
_CLAIM_HELP = "Attackers that count: naive, routine or adaptive."
_ANYWAY_HELP = "Protect also where the best candidate does not hold."
_ONLY_HELP = "Only these candidates, separated by commas."
_SET_HELP = "A setting of the trainings, as for noli verify; may be repeated."
_FILE_HELP = "Such settings from a file."
Claim = Annotated[Literal["naive", "routine", "adaptive"], Option(metavar="LEVEL", help=_CLAIM_HELP)]


def auto(
    data: Annotated[str, Argument(help="Folder, CSV, .npz, Parquet or URL with the originals.")],
    output: OutDir,
    key: Annotated[Path | None, Option(help="The owner's key file.")] = None,
    psnr: Annotated[float, Option(metavar="DB", help="Floor: smallest mean PSNR.")] = 22.0,
    ssim: Annotated[float, Option(metavar="S", help="Floor: smallest mean SSIM.")] = 0.7,
    time: Annotated[str, Option(metavar="TIME", help="For the trials: 90s, 10m, 2h or none.")] = "10m",
    claim: Claim = "adaptive",
    dry_run: Annotated[bool, Option("--dry-run", help="Only try and show; write nothing.")] = False,
    anyway: Annotated[bool, Option("--anyway", hidden=True, help=_ANYWAY_HELP)] = False,
    only: Annotated[str, Option(metavar="NAMES", hidden=True, help=_ONLY_HELP)] = "",
    seed: Annotated[int, Option(metavar="N", min=0, hidden=True, help="Seed of the trainings.")] = 0,
    json: Annotated[bool, Option("--json", hidden=True, help="Print the result as JSON.")] = False,
    settings: Annotated[
        list[str] | None, Option("--set", metavar="NAME=VALUE", hidden=True, help=_SET_HELP)
    ] = None,
    config: Annotated[Path | None, Option(metavar="FILE.yaml", hidden=True, help=_FILE_HELP)] = None,
    format: Format = "png",  # noqa: A002
    metadata: Metadata = "keep",
    on_error: OnError = "fail",
    labels: Labels = None,
    workers: Workers = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Try the methods on a sample, show accuracy against quality and time, and protect with the best."""
    from noli import api, options
    from noli.cli.protect import show_run
    from noli.engine.auto.telling import refusal

    out = console.Output(json=json, quiet=quiet)
    asked: dict[str, Any] = {
        "psnr": psnr,
        "ssim": ssim,
        "time": time,
        "claim": claim,
        "only": tuple(filter(None, map(str.strip, only.split(",")))),
        "seed": seed,
        "config": options.read_settings(settings or (), config),
    }
    call: dict[str, Any] = {
        "key": load_key(key, passphrase_file) if key else None,
        "format": format,
        "metadata": metadata,
        "on_error": on_error,
        "labels": labels,
        "workers": workers,
        "run": run,
        "progress": out.progress(),
    }
    choice = api.choose(data, output, **asked, **call)
    document = {"choice": choice.model_dump(mode="json")}
    refused = refusal(choice, anyway=anyway)
    if dry_run or refused:
        out.result(document, *shown(choice), *(["", "Nothing was written."] if not refused else []))
    elif not json:
        out.result(document, *shown(choice), "")
    if refused:
        raise refused
    if not choice.holds:
        lack = "was not measured to the end" if choice.unbroken else "does not hold"
        out.warn(f"{choice.picked} {lack} at the {choice.claim} level; --anyway was given")
    if not dry_run:
        show_run(out, api.protect_auto(data, output, choice=choice, anyway=anyway, **call), data, document)


def shown(choice: Choice) -> list[Any]:
    """Return the frontier, what was set aside, and the choice in words."""
    columns = ["candidate", *LEVELS[: LEVELS.index(choice.claim) + 1], "PSNR", "SSIM", "s/1000"]
    measured = [tried for tried in choice.candidates if tried.rows and tried.standing != "skipped"]
    blocks: list[Any] = []
    if measured:
        title = "Worst accuracy on held-out originals, up to each attacker level"
        rows = [_row(tried, choice) for tried in measured]
        blocks += [console.table(title, columns, rows, right=len(columns) - 1)]
        blocks += [*(Text(note, style="dim") for note in _notes(choice, measured)), ""]
    aside = [(t.name, t.standing, t.reason) for t in choice.candidates if t not in measured]
    if aside:
        blocks += [console.table("Set aside", ["candidate", "", "why"], aside), ""]
    word = choice.verdict or "not supported"
    held = "holds" if word == "supported" else "uncertain"
    standing = held if choice.unbroken else "does not hold"
    head = "Picked: " if choice.holds else "Best: "
    said = Text("Nothing was picked.")
    if choice.picked:
        said = Text.assemble(head, (choice.picked, "bold"), " (", verdict(word, standing), ")")
    return [*blocks, said, choice.reason]


def _row(tried: Tried, choice: Choice) -> list[str | Text]:
    name = f"{tried.name}{'*' if tried.trial else ''}"
    levels = LEVELS[: LEVELS.index(choice.claim) + 1]
    cells = [name, *(_worst(tried, level, choice) for level in levels)]
    cells.append("same" if tried.psnr is None else f"{tried.psnr:.1f} dB")
    cells.append("-" if tried.ssim is None else f"{tried.ssim:.2f}")
    cells.append(_seconds(tried))
    style = {"picked": "bold", "frontier": ""}.get(tried.standing, "dim")
    return [Text(cell, style=style) for cell in cells]


def _worst(tried: Tried, level: Level, choice: Choice) -> str:
    row = tried.worst(level)
    if row is None or all(other.level != level for other in tried.rows):
        return "-"
    return f"{'' if choice.covers(tried, level) else '≥ '}{percent(row.value)}"


def _seconds(tried: Tried) -> str:
    value = tried.at_least if tried.seconds is None else tried.seconds
    if value is None:
        return "-"
    return f"{'> ' if tried.seconds is None else ''}{value:.{1 if value < 10 else 0}f}"


def _notes(choice: Choice, measured: list[Tried]) -> list[str]:
    sample, allowed = choice.sample, "no limit" if choice.budget is None else duration(choice.budget)
    partly = not all(choice.covers(tried, choice.claim) for tried in measured)
    marked = any(tried.trial for tried in measured)
    return [
        f"The originals teach {percent(choice.clean.value)}, guessing gives {percent(choice.chance)}; "
        f"to hold: at most {percent(choice.bound)}.",
        *(["- and ≥: not all rows were measured."] if partly else []),
        *(["*: tried with cheaper settings than the run will take."] if marked else []),
        f"{sample['training']:,} pictures for training, {sample['held_out']:,} held out; took "
        f"{duration(choice.spent)}, allowed {allowed}.",
    ]
