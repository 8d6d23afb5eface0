"""``noli verify OUT --clean DATA``: train on the protected data as a thief would, and say what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType
from rich.text import Text

from noli.cli import console
from noli.cli.shared import METHOD, Config, Json, Labels, Quiet, RunDir, Settings

if TYPE_CHECKING:
    from noli.core.evidence import Evidence

STYLES = {"supported": "bold green", "not supported": "bold red", "inconclusive": "bold yellow"}


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("verify")(verify)


def verify(
    protected: Annotated[str, typer.Argument(help="The protected data as stored, or its run folder.")],
    clean: Annotated[str, typer.Option("--clean", help="The originals; their test split is used if any.")],
    battery: Annotated[
        Literal["quick", "standard"],
        typer.Option("--battery", help="How many countermeasures are tried.", rich_help_panel=METHOD),
    ] = "quick",
    claim: Annotated[
        Literal["naive", "routine", "adaptive"],
        typer.Option("--claim", help="Attacker level of the claim.", rich_help_panel=METHOD),
    ] = "routine",
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, help="Trainings per row; default: the battery's.", rich_help_panel=METHOD
        ),
    ] = None,
    keys: Annotated[
        int | None,
        typer.Option(
            "--keys",
            min=0,
            help="Fresh keys to compare with: mean and worst; default: 3 with standard.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    labels: Labels = None,
    settings: Settings = None,
    config: Config = None,
    run: RunDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train fresh models on protected and on clean data; exit 1 unless the claim is supported."""
    from noli import api, options
    from noli.engine.progress import for_terminal

    evidence = api.verify(
        protected,
        clean=clean,
        battery=battery,
        claim=claim,
        seeds=seeds,
        keys=keys,
        labels=labels,
        run=run,
        progress=for_terminal(quiet=quiet or json),
        config=options.read_settings(settings or (), config),
    )
    out = console.Output(json=json, quiet=quiet)
    out.result(evidence.model_dump(mode="json"), *summary(evidence))
    if not evidence.supported:
        raise typer.Exit(1)


def summary(evidence: Evidence) -> list[RenderableType]:
    """Return an Evidence as text and tables: what was measured, the worst case per level, the verdict."""
    rows = [
        (row.name, row.level, console.percent(row.value), interval(row.low, row.high), row.about)
        for row in evidence.rows
    ]
    levels = [
        (
            Text(level.verdict, style=STYLES[level.verdict]),
            level.level,
            level.worst,
            console.percent(level.value),
            interval(level.low, level.high),
            f"at most {console.percent(level.bound)}",
        )
        for level in evidence.levels
    ]
    blocks: list[RenderableType] = []
    if rows:
        blocks.append(
            console.table(
                "What a trainer reaches on clean data", ["row", "level", "accuracy", "interval", "how"], rows
            )
        )
    if levels:
        columns = ["verdict", "attacker", "worst row", "accuracy", "interval", "bound"]
        blocks += ["", console.table("Worst case per attacker level", columns, levels)]
    blocks += ["", console.grid(_reference(evidence.reference))]
    verdict = Text.assemble(
        "\n", (evidence.verdict.upper(), STYLES[evidence.verdict]), f": {evidence.claim}\n{evidence.reason}"
    )
    return [*blocks, verdict]


def interval(low: float | None, high: float | None) -> str:
    """Return ``52.1 to 54.8 %``, or a dash."""
    return "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"


def _reference(found: dict[str, float]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    if "clean" in found:
        spread = interval(found.get("clean_low"), found.get("clean_high"))
        rows.append(("clean data", f"{console.percent(found['clean'])} ({spread})"))
    if "chance" in found:
        rows.append(("guessing", console.percent(found["chance"])))
    if "fresh_keys" in found:
        mean, worst = (console.percent(found[f"fresh_keys_{name}"]) for name in ("mean", "worst"))
        rows.append(("fresh keys", f"{found['fresh_keys']:.0f} keys: {mean} on average, {worst} at worst"))
    if "training_items" in found:
        counts = f"{found['training_items']:,.0f} for training, {found.get('test_items', 0):,.0f} held out"
        rows.append(("pictures", f"{counts}, {found.get('classes', 0):.0f} classes"))
    return rows
