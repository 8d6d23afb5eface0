"""``noli attack NAME OUT --clean DATA``: one countermeasure alone; without a name, the list of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Config, Json, Labels, Quiet, RunDir, Settings
from noli.cli.verify import summary
from noli.core.errors import UsageError


def attack(
    name: Annotated[str | None, Argument(help="The countermeasure; without it, all are listed.")] = None,
    protected: Annotated[str | None, Argument(help="The protected data, or its run folder.")] = None,
    clean: Annotated[
        str | None, Option(metavar="DATA", help="The originals; their test split is used if any.")
    ] = None,
    seeds: Annotated[int | None, Option(metavar="N", min=1, help="Trainings per row; default: 1.")] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    labels: Labels = None,
    run: RunDir = None,
    quiet: Quiet = False,
) -> None:
    """Train under one countermeasure alone; exit 1 unless the protection holds against it."""
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    if name is None:
        show_list(out)
        return
    if protected is None or clean is None:
        raise UsageError(
            "An attack needs the protected data and the originals.",
            where=f"noli attack {name}",
            fix=f"noli attack {name} SAFE --clean PHOTOS",
        )
    evidence = api.attack(
        name,
        protected,
        clean=clean,
        seeds=seeds,
        labels=labels,
        run=run,
        progress=out.progress(),
        config=options.read_settings(settings or (), config),
    )
    out.result(evidence.model_dump(mode="json"), *summary(evidence))
    # A context row makes no claim that could have failed.
    if not evidence.supported and not (evidence.rows and evidence.rows[0].level == "context"):
        raise typer.Exit(1)


def show_list(out: console.Output) -> None:
    """Print all countermeasures with level, battery and one line each."""
    from noli.api import countermeasures

    found = countermeasures()
    lines = [(c.name, c.level or "-", c.battery or "-", c.about) for c in found]
    document: dict[str, Any] = {"countermeasures": [asdict(line) for line in found]}
    out.result(document, console.table("", ["name", "level", "from battery", "what the trainer does"], lines))
    out.hint("Run one of them: noli attack NAME SAFE --clean PHOTOS")
