"""``noli demo``: the whole story, offline, on photographs that are part of the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from rich.console import RenderableType
from typer import Argument, Option

from noli.cli import console
from noli.cli.console import percent, verdict
from noli.cli.shared import Config, Json, Quiet, Settings
from noli.report.words import duration

if TYPE_CHECKING:
    from noli.api import DemoResult

NOTE = (
    "What these photographs show: the published mode works here mostly through its change of brightness "
    "(see the control), which a trainer can undo. Class filters need pictures that are harder to tell apart: "
    "on CIFAR-10 they do the work, and against ordinary training the default mode is as strong at far better "
    "quality (README.md)."
)


def demo(
    dest: Annotated[str, Argument(help="Folder for everything the demo makes.")] = "demo-run",
    data: Annotated[str | None, Option(metavar="PATH", help="Your own labelled pictures instead.")] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Key, protect, verify, undo, report: the whole story in a few minutes on two cores."""
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    given = options.read_settings(settings or (), config)
    found = api.demo(dest, data, progress=out.progress(), say=out.hint, config=given or None)
    out.result(found.as_dict(), *_story(found))


def _story(found: DemoResult) -> list[RenderableType]:
    accuracies = [
        ("the original pictures", percent(found.clean)),
        ("pictures protected as published (paper mode)", percent(found.paper)),
        ("control: brightened as published, no filter", percent(found.brightened)),
        ("pictures protected with the default mode (keyed)", percent(found.keyed)),
        ("guessing", percent(found.chance)),
    ]
    levels = [(verdict(at.verdict), at.level, at.worst, percent(at.value)) for at in found.evidence.levels]
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
                ("time", duration(found.seconds)),
                ("report", str(found.report.resolve())),
            ]
        ),
    ]
