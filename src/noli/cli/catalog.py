"""``noli list``, ``noli explain`` and ``noli doctor``: what there is, what it does, whether it can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from noli.cli import console
from noli.cli.shared import Json

if TYPE_CHECKING:
    from noli.core.method import Spec

_MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warn", "yellow"),
    "problem": ("FAIL", "bold red"),
    "info": ("-", "dim"),
}


def list_methods(
    family: Annotated[str | None, typer.Argument(help="Only this family, for example protect.")] = None,
    json: Json = False,
) -> None:
    """List the methods, with one line each."""
    from noli import registry

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
    from noli.api import explain as look_up

    card = look_up(method)
    spec = card.spec
    needs = ", ".join(sorted(spec.needs)) or "nothing but images"
    blocks: list[RenderableType] = [
        Text(f"{spec.name}: {spec.card.title}", style="bold"),
        console.grid(
            [
                ("paper", spec.card.paper),
                ("needs", needs),
                ("reversible", "yes, with the key: noli undo" if spec.reversible else "no"),
            ]
        ),
        _bullets("Stops", spec.card.stops),
        _bullets("Does not stop", spec.card.does_not_stop),
        console.table(
            "Options (of their own, or with --set name=value)",
            ["name", "value", "default", "meaning"],
            [(_flag(spec, row.name), row.type, row.default, row.help) for row in card.options],
        ),
    ]
    if spec.card.bibtex:
        blocks.append(Text("\n" + spec.card.bibtex.strip(), style="dim"))
    console.Output(json=json).result(card.as_dict(), *blocks)


def _flag(spec: Spec, name: str) -> str:
    return "--" + name.replace("_", "-") if name in spec.options else name


def _bullets(head: str, lines: tuple[str, ...]) -> Text:
    text = Text(f"\n{head}\n", style="bold")
    text.append("\n".join(f"  - {line}" for line in lines), style="not bold")
    return text


def doctor(json: Json = False) -> None:
    """Check this machine: versions, speed features, disk, and what is missing with the line to install it."""
    from noli.api import doctor as check

    report = check()
    rows = []
    for item in report.checks:
        mark, style = _MARKS[item.status]
        rows.append((Text(mark, style=style), item.name, item.found, item.fix or ""))
    out = console.Output(json=json)
    out.result(report.as_dict(), console.table("", ["", "check", "found", "what to do"], rows))
    if not report.ok:
        raise typer.Exit(3)
