"""``noli undo``, ``noli diff`` and ``noli report``: what is done with protected data later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from noli.cli import console
from noli.cli.console import Rows
from noli.cli.shared import (
    Json,
    KeyFile,
    Labels,
    OnError,
    OutDir,
    PassFile,
    Quiet,
    RunDir,
    Workers,
    load_key,
)
from noli.core.errors import UsageError

_MISSING = {
    "a": "only in the first",
    "b": "only in the second",
    "unlike": "of another size",
    "unreadable": "unreadable",
}
Sheet = Annotated[
    Path | None, Option("--output", "-o", metavar="FILE.png", help="Also write a picture of examples.")
]
Html = Annotated[Path | None, Option("--output", "-o", metavar="FILE.html", help="Also write the page here.")]
_DISCREET_HELP = "Leave out pictures and item names: safe to pass on."
_LOSSY_HELP = "Bring scrambled pictures back even from a JPEG that halved their chroma."
_RUN_HELP = "Run folder of the protection, if not beside the data (moved, or a part)."


def undo(
    protected: Annotated[str, Argument(help="The protected data, or its run folder.")],
    output: OutDir,
    key: KeyFile,
    passphrase_file: PassFile = None,
    protected_run: Annotated[Path | None, Option(metavar="RUN", help=_RUN_HELP)] = None,
    json: Json = False,
    workers: Workers = None,
    run: RunDir = None,
    on_error: OnError = "fail",
    lossy: Annotated[bool, Option("--lossy", help=_LOSSY_HELP)] = False,
    quiet: Quiet = False,
) -> None:
    """Bring the originals back with the key, as far as the method allows."""
    from noli import api
    from noli.api._lock import BANNER
    from noli.engine.undo import key_of

    out = console.Output(json=json, quiet=quiet)
    found = api.undo(
        protected,
        output,
        key=load_key(key, passphrase_file, key_id=key_of(protected_run or protected)),
        workers=workers,
        run=run,
        protected_run=protected_run,
        on_error=on_error,
        lossy=lossy,
        progress=out.progress(),
    )
    results, folder = found.run.manifest.results, str(found.run.path)
    rows: Rows = [
        ("restored", f"{found.items:,} {_things(found.run.manifest.output)}"),
        ("output", output),
        *console.notices(results, folder),
        ("quality", _restored(found.compared, found.identical, found.psnr_mean, found.psnr_min)),
        ("run", folder),
    ]
    figures = ("items", "missing", "compared", "identical", "psnr_mean", "psnr_min")
    document = {name: getattr(found, name) for name in figures}
    out.result({"output": output, "run": folder, **document, "results": results}, console.grid(rows))
    if str(found.run.manifest.method).startswith("lock/"):
        out.hint(BANNER)
    out.warn_of_dicom(results.get("dicom", 0))


def _things(output: Any) -> str:
    return "documents" if output is not None and output.layout == "texts" else "pictures"


def _restored(compared: int, identical: int, mean: float | None, low: float | None) -> str:
    if not compared:
        return "not measured: the originals are not where they were"
    parts = [f"{identical:,} of {compared:,} are identical to the original"] if identical else []
    if mean is not None:
        parts.append(f"PSNR {console.spread(mean, low)}, against {compared:,} originals")
    return "; ".join(parts)


def diff(
    first: Annotated[str, Argument(help="A data set, usually the originals.")],
    second: Annotated[str, Argument(help="The data set to compare it with.")],
    sheet: Sheet = None,
    ssim: Annotated[bool, Option("--ssim/--no-ssim", help="Also compute SSIM (slower).")] = True,
    json: Json = False,
    labels: Labels = None,
    quiet: Quiet = False,
) -> None:
    """Say how far apart two data sets are: PSNR, SSIM, largest difference per picture; of texts, words."""
    from noli import api
    from noli.data.place import refuse_inside

    out = console.Output(json=json, quiet=quiet)
    if api.are_texts(first, second):
        _diff_texts(out, first, second, sheet)
        return
    if sheet is not None:
        refuse_inside(sheet, first, second, new=True)
    found = api.diff(first, second, labels=labels, ssim=ssim, progress=out.progress())
    rows: Rows = [
        ("compared", f"{found.items:,} pictures, {found.identical:,} of them identical"),
        ("PSNR", console.spread(found.psnr_mean, found.psnr_min)),
        ("SSIM", console.spread(found.ssim_mean, found.ssim_min, "", 3)),
        ("largest change", "-" if found.linf_max is None else f"{found.linf_max:.0f} of 255 levels"),
        *((name, f"{found.missing[kind]:,}") for kind, name in _MISSING.items() if found.missing[kind]),
    ]
    blocks: list[Any] = [console.grid(rows)]
    if found.worst:
        worst = [
            (row["path"], _number(row["psnr"], 1), _number(row["ssim"], 3), _number(row["linf"], 0))
            for row in found.worst
        ]
        columns = ["picture", "PSNR", "SSIM", "L∞"]
        blocks += ["", console.table("Most changed", columns, worst, right=3)]
    if sheet is not None:
        blocks += ["", f"Examples: {found.save_sheet(sheet)}"]
    out.result(found.as_dict(), *blocks)


def _diff_texts(out: console.Output, first: str, second: str, sheet: Path | None) -> None:
    from noli import api

    if sheet is not None:
        raise UsageError("Texts have no sheet of pictures.", where=f"-o {sheet}", fix="leave -o out")
    found = api.diff_texts(first, second, progress=out.progress())
    documents = "document" if found.items == 1 else "documents"
    rows: Rows = [
        ("compared", f"{found.items:,} {documents}, {found.identical:,} of them identical"),
        ("changed", f"{found.changed:,} of {found.words:,} words"),
        *((_MISSING[kind], f"{count:,}") for kind, count in found.missing.items() if count),
    ]
    blocks: list[Any] = [console.grid(rows)]
    if found.worst:
        worst = [(row["path"], f"{row['changed']:,}", f"{row['words']:,}") for row in found.worst]
        blocks += ["", console.table("Most changed", ["document", "changed", "words"], worst, right=2)]
    out.result(found.as_dict(), *blocks)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def report(
    run: Annotated[str, Argument(help="Run folder (OUT.noli), or the output it belongs to.")],
    html: Html = None,
    no_pictures: Annotated[bool, Option("--no-pictures", help=_DISCREET_HELP)] = False,
    json: Json = False,
) -> None:
    """Write report.html, report.json and card.md into the run folder; open the page without any network."""
    from noli import api

    page = api.write_report(run, html, pictures=not no_pictures)
    console.Output(json=json).result({"report": str(page)}, f"Report: {page}")
