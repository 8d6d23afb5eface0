"""``noli attack NAME OUT --clean DATA``: one countermeasure alone; without a name, the list of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Config, Json, Labels, Quiet, RunDir, Settings
from noli.cli.verify import summary
from noli.core.attacks import PICTURES
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
    """Run one countermeasure of training, or one attack on scrambled pictures; exit 1 if it succeeds."""
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
    from noli.engine.auditing import scrambled_here
    from noli.engine.lockedmodels import kind_of

    if scrambled_here(protected) and not kind_of(protected):
        from noli.cli.lock_audit import show_audit

        if any(one for one in (seeds, settings, config, labels, run)):
            fix = "leave the options of trainings out"
            raise UsageError("Scrambled pictures are attacked, not trained on.", where=protected, fix=fix)
        show_audit(out, api.audit(protected, clean=clean, only=name, progress=out.progress()), [])
        return
    if kind_of(protected):
        fix = f"noli verify {protected} --clean {clean} --key KEY makes all attacks on it"
        raise UsageError("Attacks on locked models are made together.", where=name, fix=fix)
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
    document: dict[str, Any] = {
        "countermeasures": [asdict(line) for line in found],
        "scrambled": [{"name": one.word, "about": one.about, "has": one.has} for one in PICTURES],
    }
    out.result(
        document,
        console.table("", ["name", "level", "from battery", "what the trainer does"], lines),
        "",
        console.table(
            "On pictures that noli lock has scrambled, where they suit the scheme",
            ["name", "attacker has, too", "what he does"],
            [(one.word, one.has, one.about) for one in PICTURES],
        ),
    )
    out.hint("Run one of them: noli attack NAME SAFE --clean PHOTOS")
