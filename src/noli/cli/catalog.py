"""``noli list``, ``noli explain`` and ``noli doctor``: what there is, what it does, whether it can run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from noli.cli import console
from noli.cli.attack import show_list
from noli.cli.shared import Json
from noli.core.errors import UsageError
from noli.core.plugins import did_you_mean

_MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warn", "yellow"),
    "problem": ("FAIL", "bold red"),
    "info": ("-", "dim"),
}


def list_methods(
    family: Annotated[str | None, typer.Argument(help="Only this family: protect, attack, ...")] = None,
    json: Json = False,
) -> None:
    """List the methods, with one line each."""
    from noli import registry

    if family == "attack":
        show_list(console.Output(json=json))
        return
    if family is not None and family not in registry.FAMILIES:
        known = ("attack", *registry.FAMILIES)
        raise UsageError("Unknown family.", where=family, fix=did_you_mean(family, known))
    lines = [(name, registry.entry(name)) for name in registry.names(family)]
    refused = {} if family else registry.plugins()[1]
    out = console.Output(json=json)
    out.result(
        {
            "methods": [{"name": n, "summary": e.summary, "package": e.package or "noli"} for n, e in lines],
            "refused": [console.error_document(error) for error in refused.values()],
        },
        console.table("", ["method", "what it does"], [(name, line.summary) for name, line in lines]),
    )
    for error in refused.values():
        out.warn(str(error))
    out.hint("More on one of them: noli explain NAME")


def explain(
    method: Annotated[str, typer.Argument(help="Method name, for example protect/cuda.")],
    json: Json = False,
) -> None:
    """Say what a method stops, what it does not stop, and which options it has."""
    from noli.api import countermeasures
    from noli.api import explain as look_up

    if method in ("auto", "protect/auto"):
        fix = "see `noli protect auto --help`, or docs/protect-auto.md"
        raise UsageError("`auto` is no method: it tries them all and picks one.", fix=fix)
    if method.removeprefix("attack/") in (row.name for row in countermeasures()):
        fix = "see `noli attack` for all of them, and docs/threat-model.md"
        raise UsageError(f"{method} is a countermeasure, no method.", fix=fix)
    card = look_up(method)
    spec = card.spec
    facts: console.Rows = [
        ("paper", spec.card.paper),
        ("needs", ", ".join(sorted(spec.needs)) or "nothing but images"),
        ("reversible", "yes, with the key: noli undo" if spec.reversible else "no"),
    ]
    flags = {name: "--" + name.replace("_", "-") for name in spec.options}
    console.Output(json=json).result(
        card.as_dict(),
        Text(f"{spec.name}: {spec.card.title}", style="bold"),
        console.grid(facts),
        _bullets("Meant to stop", spec.card.stops),
        _bullets("Does not stop", spec.card.does_not_stop),
        console.table(
            "Options (of their own, or with --set name=value)",
            ["name", "value", "default", "meaning"],
            [(flags.get(row.name, row.name), row.type, row.default, row.help) for row in card.options],
        ),
        Text("\n" + spec.card.bibtex.strip(), style="dim"),
    )


def _bullets(head: str, lines: tuple[str, ...]) -> Group:
    return Group(Text(f"\n{head}", style="bold"), console.grid([("  -", line) for line in lines]))


def doctor(json: Json = False) -> None:
    """Check this machine: versions, speed features, disk, and what is missing with the line to install it."""
    from noli.api import doctor as check

    report = check()
    rows = [(Text(*_MARKS[item.status]), item.name, item.found, item.fix or "") for item in report.checks]
    table = console.table("", ["", "check", "found", "what to do"], rows)
    console.Output(json=json).result(report.as_dict(), table)
    if not report.ok:
        raise typer.Exit(3)
