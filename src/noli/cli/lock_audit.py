"""``noli lock audit``: what comes back of scrambled pictures and codes without the key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json, Quiet
from noli.core.audit import Audit
from noli.core.errors import UsageError
from noli.ops.metrics import percent

BROKEN = "NeuraCrypt and InstaHide are broken: their codes protect nothing, and are here to be attacked."
AUDIT_HELP = "Attack scrambled pictures or codes as somebody without the key would."


def audit(
    data: Annotated[str, Argument(help="Scrambled pictures or codes, as noli lock writes them.")],
    clean: Annotated[str, Option(metavar="DATA", help="The originals, by which attacks are scored.")],
    public: Annotated[
        str | None, Option(metavar="DATA", help="Other pictures of the kind; default: photographs.")
    ] = None,
    page: Annotated[
        Path | None, Option("--output", "-o", metavar="FILE.html", help="Where the page goes.")
    ] = None,
    pictures: Annotated[int, Option(metavar="N", min=1, help="Most pictures to attack.")] = 200,
    seconds: Annotated[
        float, Option(metavar="S", min=0.1, hidden=True, help="CPU seconds per attack, about.")
    ] = 60.0,
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
    """Attack scrambled pictures or codes as somebody without the key would; exit 1 if the attack succeeds.

    It succeeds if half of the pictures come back, or if more than a fifth of NeuraCrypt's codes are matched.
    """
    from noli import api, options
    from noli.api._lock import BANNER
    from noli.engine.codecase import codes_run
    from noli.engine.lockedmodels import kind_of

    if kind_of(data):
        fix = f"noli verify {data} --clean DATA --key KEY"
        raise UsageError("This is a locked model; it has an audit of its own.", where=data, fix=fix)
    out = console.Output(json=json, quiet=quiet)
    out.hint(BROKEN if codes_run(data) else BANNER)
    place = page or Path(f"{data.rstrip('/').removesuffix('.noli')}.audit.html")
    found = api.audit(
        data,
        clean=clean,
        public=public,
        pictures=pictures,
        seconds=seconds,
        learned=learned,
        learning=options.read_settings(settings or (), None),
        generator=generator,
        keep=place.with_suffix(".learning") if learned else None,
        html=place,
        progress=out.progress(),
    )
    show_audit(out, found, [("page", f"{place} (shows originals)")])


def show_audit(out: console.Output, found: Audit, further: console.Rows) -> None:
    """Print an audit; exit 1 where an attack succeeds."""
    facts: console.Rows = [*_sizes(found), *further]
    words = " ".join(found.words if found.nominal is None else found.words[:-1])
    out.result(found.model_dump(mode="json"), _attacks(found), "", console.grid(facts), "", words)
    if found.least is not None:
        raise typer.Exit(1)


def _attacks(found: Audit) -> Any:
    """Return the table of the attacks."""
    first = [(row.name, row.has) for row in found.rows]
    cells: list[tuple[str, ...]]
    if found.matches:
        columns = ["matched", "interval", "guessing", "hides among"]
        cells = [
            (
                f"{percent(row.back)} of {row.pictures}",
                f"{100 * (row.low or 0):.1f} to {percent(row.high)}",
                percent(row.chance),
                "all" if row.anonymity is None else f"{row.anonymity:,.1f}",
            )
            for row in found.rows
        ]
    else:
        columns = ["SSIM", "brought back"]
        cells = [(f"{row.ssim:.2f}", f"{percent(row.back)} of {row.pictures}") for row in found.rows]
    if found.nominal is not None:
        columns += ["values exact", "bits left"]
        bits = ["-" if row.left_bits is None else f"{row.left_bits:,.1f}" for row in found.rows]
        cells = [
            (*cell, percent(row.exact), left) for cell, row, left in zip(cells, found.rows, bits, strict=True)
        ]
    if any(row.retrieval is not None for row in found.rows):
        columns.append("found again")
        cells = [
            (
                *cell,
                "-"
                if row.retrieval is None
                else f"{percent(row.retrieval)} (chance {percent(row.guessing)})",
            )
            for cell, row in zip(cells, found.rows, strict=True)
        ]
    lines = [
        (*name, *cell, f"{row.seconds:.1f}") for name, cell, row in zip(first, cells, found.rows, strict=True)
    ]
    title = "Which code belongs to which picture" if found.matches else "What comes back without the key"
    return console.table(title, ["attack", "attacker has, too", *columns, "CPU s"], lines)


def _sizes(found: Audit) -> console.Rows:
    """Return how many pictures were attacked, and the sizes of the key where attacks look for it."""
    if found.nominal is None or found.effective is None:
        return [("encoded", f"{found.pictures:,} pictures of {found.shape[1]} x {found.shape[0]}")]
    return [
        ("scrambled", f"{found.pictures:,} pictures, SSIM {found.scrambled_ssim:.2f} as they are"),
        ("nominal", f"{found.nominal:,.1f} bits by the formula"),
        ("capped", f"{found.capped:,.1f} bits, as the key follows from 256"),
        ("effective", f"{found.effective:,.1f} bits after the best attack that looks for the key"),
    ]
