"""``noli undo`` and ``noli diff``: back to the originals, and how far apart two sets are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from noli.cli import console
from noli.cli.shared import Json, KeyFile, OutDir, PassFile, Quiet, RunDir, Workers, load_key


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("undo")(undo)
    app.command("diff")(diff)


def undo(
    protected: Annotated[str, typer.Argument(help="The protected data, or its run folder.")],
    output: OutDir,
    key: KeyFile,
    passphrase_file: PassFile = None,
    workers: Workers = None,
    run: RunDir = None,
    protected_run: Annotated[
        Path | None,
        typer.Option(
            "--protected-run",
            metavar="RUN",
            help="Run folder of the protection, if not beside the data (moved, or a part).",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring the originals back with the key, as far as the method allows."""
    from noli import api
    from noli.engine.progress import for_terminal
    from noli.engine.undo import find_run

    made_with = find_run(protected_run or protected)[0].manifest.key
    opened = load_key(key, passphrase_file, key_id=made_with.id if made_with else None)
    bar = for_terminal(quiet=quiet or json)
    found = api.undo(
        protected,
        output,
        key=opened,
        workers=workers,
        run=run,
        protected_run=protected_run,
        progress=bar,
    )
    rows: list[tuple[str, object]] = [
        ("restored", f"{found.items:,} pictures"),
        ("output", output),
        ("quality", _restored(found.compared, found.identical, found.psnr_mean, found.psnr_min)),
        ("run", str(found.run.path)),
    ]
    document = {
        "output": output,
        "run": str(found.run.path),
        "items": found.items,
        "missing": found.missing,
        "compared": found.compared,
        "identical": found.identical,
        "psnr_mean": found.psnr_mean,
        "psnr_min": found.psnr_min,
    }
    console.Output(json=json, quiet=quiet).result(document, console.grid(rows))


def _restored(compared: int, identical: int, mean: float | None, low: float | None) -> str:
    if not compared:
        return "not measured: the originals are not where they were"
    parts = [f"{identical:,} of {compared:,} are identical to the original"] if identical else []
    if mean is not None and low is not None:
        parts.append(f"PSNR {mean:.1f} dB on average, {low:.1f} dB at worst, against {compared:,} originals")
    return "; ".join(parts)


def diff(
    first: Annotated[str, typer.Argument(help="A data set, usually the originals.")],
    second: Annotated[str, typer.Argument(help="The data set to compare it with.")],
    sheet: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.png", help="Also write a picture of examples."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="COLUMN", help="Column with the class.")
    ] = None,
    ssim: Annotated[bool, typer.Option("--ssim/--no-ssim", help="Also compute SSIM (slower).")] = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how far apart two data sets are: PSNR, SSIM and largest difference per picture."""
    from noli import api
    from noli.api._places import refuse_inside
    from noli.engine.progress import for_terminal

    if sheet is not None:
        refuse_inside(sheet, first, second, new=True)
    found = api.diff(first, second, labels=labels, ssim=ssim, progress=for_terminal(quiet=quiet or json))
    rows: list[tuple[str, object]] = [
        ("compared", f"{found.items:,} pictures, {found.identical:,} of them identical"),
        ("PSNR", _spread(found.psnr_mean, found.psnr_min, " dB", 1)),
        ("SSIM", _spread(found.ssim_mean, found.ssim_min, "", 3)),
        ("largest change", "-" if found.linf_max is None else f"{found.linf_max:.0f} of 255 levels"),
    ]
    missing = [(kind, found.missing.get(kind, 0)) for kind in ("a", "b", "unlike", "unreadable")]
    names = {
        "a": "only in the first",
        "b": "only in the second",
        "unlike": "of another size",
        "unreadable": "unreadable",
    }
    rows += [(names[kind], f"{count:,}") for kind, count in missing if count]
    worst = [
        (row["path"], _number(row["psnr"], 1), _number(row.get("ssim"), 3), f"{row['linf']:.0f}")
        for row in found.worst
    ]
    blocks: list[RenderableType] = [console.grid(rows)]
    if worst:
        blocks += ["", console.table("Most changed", ["picture", "PSNR", "SSIM", "L∞"], worst, right=3)]
    if sheet is not None:
        blocks += ["", f"Examples: {found.save_sheet(sheet)}"]
    console.Output(json=json, quiet=quiet).result(found.to_dict(), *blocks)


def _spread(mean: float | None, low: float | None, unit: str, digits: int) -> str:
    if mean is None or low is None:
        return "-"
    return f"{mean:.{digits}f}{unit} on average, {low:.{digits}f}{unit} at worst"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
