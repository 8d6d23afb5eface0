"""``noli demo``: the whole story, offline, on photographs that are part of the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from noli.cli import console
from noli.cli.shared import Config, Json, Quiet, Settings

if TYPE_CHECKING:
    from noli.api import DemoResult


NOTE = (
    "What these photographs show: the published mode works here mostly through its change of brightness "
    "(see the control), which a trainer can undo. Class filters need pictures that are harder to tell apart: "
    "on CIFAR-10 they do the work, and against ordinary training the default mode is as strong at far better "
    "quality (README.md)."
)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("demo")(demo)


def demo(
    dest: Annotated[str, typer.Argument(help="Folder for everything the demo makes.")] = "demo-run",
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATH", help="Your own labelled pictures instead.")
    ] = None,
    settings: Settings = None,
    config: Config = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Key, protect, verify, undo, report: the whole story in a few minutes on two cores."""
    from noli import api, options
    from noli.engine.progress import for_terminal

    out = console.Output(json=json, quiet=quiet)
    given = options.read_settings(settings or (), config)
    found = api.demo(
        dest, data, progress=for_terminal(quiet=quiet or json), say=out.hint, config=given or None
    )
    out.result(found.as_dict(), *_story(found))


def _story(found: DemoResult) -> list[RenderableType]:
    from noli.cli.verify import STYLES

    accuracies = [
        ("the original pictures", console.percent(found.clean)),
        ("pictures protected as published (paper mode)", console.percent(found.paper)),
        ("control: brightened as published, no filter", console.percent(found.brightened)),
        ("pictures protected with the default mode (keyed)", console.percent(found.keyed)),
        ("guessing", console.percent(found.chance)),
    ]
    levels = [
        (
            Text(level.verdict, style=STYLES[level.verdict]),
            level.level,
            level.worst,
            console.percent(level.value),
        )
        for level in found.evidence.levels
    ]
    undo = "identical" if found.undo_psnr is None else f"{found.undo_psnr:.1f} dB PSNR to the originals"
    return [
        console.table("A network trained on ...", ["", "recognises of new pictures"], accuracies, right=1),
        "",
        console.table(
            "Does the published mode protect, against ever more determined trainers?",
            ["verdict", "trainer", "best attempt", "accuracy"],
            levels,
            right=1,
        ),
        "",
        *([NOTE, ""] if found.embedded else []),
        console.grid(
            [
                ("verdict", found.evidence.reason),
                ("undo", f"with the key: {undo}"),
                ("time", console.duration(found.seconds)),
                ("report", str(found.report.resolve())),
            ]
        ),
    ]
