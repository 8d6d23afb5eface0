"""``noli attack NAME OUT --clean DATA``: one attack alone; without a name, the list of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Config, Json, Labels, Quiet, RarePassFile, RunDir, Settings
from noli.cli.verify import summary
from noli.core.attacks import GROUPS
from noli.core.errors import UsageError

TITLES = {
    "scrambled": "On pictures that noli lock has scrambled, where they suit the scheme",
    "learned": "On scrambled pictures, too; trained on public ones, which takes minutes",
    "neuracrypt": "On codes of noli lock neuracrypt: which belongs to which picture",
    "instahide": "On codes of noli lock instahide",
    "robustness": "On keyed models: pictures changed a little, so that the answer is wrong\n"
    "(L0: has the model's scores; L1: the public network; L2: the secret layers; L3: the key)",
    "theft": "On keyed models and locked detectors: use without the key",
}


def attack(
    name: Annotated[str | None, Argument(help="The attack; without it, all are listed.")] = None,
    protected: Annotated[str | None, Argument(help="What is attacked, or its run folder.")] = None,
    clean: Annotated[
        str | None, Option(metavar="DATA", help="The originals; their test split is used if any.")
    ] = None,
    seeds: Annotated[int | None, Option(metavar="N", min=1, help="Trainings per row; default: 1.")] = None,
    public: Annotated[
        str | None,
        Option(metavar="DATA", help="Other pictures of the kind, against scrambled ones or codes."),
    ] = None,
    key: Annotated[
        Path | None, Option(metavar="FILE", help="The owner's key file, against a locked model.")
    ] = None,
    model: Annotated[
        Path | None, Option(metavar="FILE", help="Public network that a model was locked from.")
    ] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    labels: Labels = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Make one attack on protected data, scrambled pictures, codes or a locked model; exit 1 if it works."""
    out = console.Output(json=json, quiet=quiet)
    if name is None:
        show_list(out)
        return
    if protected is None or clean is None:
        raise UsageError(
            "An attack needs what is attacked and the originals.",
            where=f"noli attack {name}",
            fix=f"noli attack {name} SAFE --clean PHOTOS",
        )
    from noli import api, options
    from noli.engine.auditing import scrambled_here
    from noli.engine.lockedmodels import kind_of

    chosen = options.read_settings(settings or (), config)
    if kind_of(protected):
        from noli.cli.locked_model import verify_model

        _refuse(protected, "a locked model", seeds=seeds, public=public)
        verify_model(
            out, protected, clean, key, public=model, labels=labels, run=run,
            passphrase_file=passphrase_file, options=chosen, only=name,
        )  # fmt: skip
        return
    if scrambled_here(protected):
        from noli.api._lock import BANNER
        from noli.cli.lock_audit import BROKEN, show_audit
        from noli.engine.codecase import codes_run

        kind = "scrambled pictures or codes"
        _refuse(protected, kind, seeds=seeds, key=key, model=model, labels=labels, run=run)
        out.hint(BROKEN if codes_run(protected) else BANNER)
        found = api.audit(
            protected, clean=clean, public=public, only=name, learning=chosen, progress=out.progress()
        )
        show_audit(out, found, [])
        return
    _refuse(protected, "protected data", public=public, key=key, model=model)
    evidence = api.attack(
        name,
        protected,
        clean=clean,
        seeds=seeds,
        labels=labels,
        run=run,
        progress=out.progress(),
        config=chosen,
    )
    # A context row makes no claim that could have failed.
    out.result(evidence.model_dump(mode="json"), *summary(evidence))
    if evidence.decides and not evidence.supported:
        raise typer.Exit(1)


def _refuse(where: str, kind: str, **given: object) -> None:
    """Refuse options that mean nothing for what is attacked."""
    if names := [name for name, value in given.items() if value]:
        fix = "leave out " + ", ".join(f"--{name}" for name in names)
        raise UsageError(f"This is no option of attacks on {kind}.", where=where, fix=fix)


def show_list(out: console.Output) -> None:
    """Print all attacks by what they attack, with one line each."""
    from noli.api import countermeasures

    found = countermeasures()
    lines = [(c.name, c.level or "-", c.battery or "-", c.about) for c in found]
    document: dict[str, Any] = {
        "countermeasures": [asdict(line) for line in found],
        **{
            name: [{"name": one.word, "about": one.about, "has": one.has} for one in group]
            for name, group in GROUPS.items()
        },
    }
    columns = ["name", "level", "from battery", "what the trainer does"]
    blocks: list[Any] = [console.table("Trainings on protected data", columns, lines)]
    for name, group in GROUPS.items():
        rows = [(one.word, one.has, one.about) for one in group]
        blocks += ["", console.table(TITLES[name], ["name", "attacker has, too", "what he does"], rows)]
    out.result(document, *blocks)
    out.hint("Run one of them: noli attack NAME SAFE --clean PHOTOS (a locked model: --key KEY)")
