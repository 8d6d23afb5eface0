"""``noli report RUN``: write the report of a run again, or somewhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noli.cli import console
from noli.cli.shared import Json


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("report")(report)


def report(
    run: Annotated[str, typer.Argument(help="Run folder (OUT.noli), or the output it belongs to.")],
    html: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the page here.", metavar="FILE.html")
    ] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave out pictures and item names: safe to pass on.")
    ] = False,
    json: Json = False,
) -> None:
    """Write report.html, report.json and card.md into the run folder; open the page without any network."""
    from noli import api

    page = api.write_report(run, html, pictures=not no_pictures)
    console.Output(json=json).result({"report": str(page)}, f"Report: {page}")
