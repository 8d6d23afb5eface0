"""``noli mark plan``: how much marking a proof needs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from typer import Option

from noli.cli import console
from noli.cli.shared import Brief, Json

if TYPE_CHECKING:
    from noli.proof.plans import MarkPlan

PLAN = typer.Typer(
    help="Plan before you release: how many keys, texts or pictures find a marked model. Exit 1: none do.",
    no_args_is_help=True,
)

# What stands for the data in a command that marks, by the mark's arrow.
_DATA = {"data->data": "DATA", "texts->texts": "TEXTS", "model->model": "PICTURES"}
_PILOT_HELP = "Result of a pilot, such as 12/30, to plan with cautiously."
_ALPHA_HELP = "Probability of accusing somebody wrongly; default: 1e-6 (decoys: 0.05)."
_EFFECT_HELP = "Preference of a marked model, in standard deviations."
_RANKS_HELP = "Instead: how often it came first, second, ... in a pilot."
_BUDGET_HELP = "Most of them that there can be."
Alpha = Annotated[float | None, Option(metavar="P", help=_ALPHA_HELP)]
HitRate = Annotated[float | None, Option(metavar="SHARE", help="Hit rate of a marked model.")]
Pilot = Annotated[str | None, Option(metavar="HITS/TRIALS", help=_PILOT_HELP)]
Sequential = Annotated[bool, Option("--sequential", help="Look after every query, and stop early.")]
Budget = Annotated[int | None, Option(metavar="N", help=_BUDGET_HELP)]
RareBudget = Annotated[int | None, Option(metavar="N", hidden=True, help=_BUDGET_HELP)]
Effect = Annotated[float | None, Option(metavar="D", help=_EFFECT_HELP)]
Power = Annotated[
    float | None, Option(metavar="SHARE", hidden=True, help="How likely it is to be found; default: 0.9.")
]
Tests = Annotated[
    int | None, Option(metavar="N", hidden=True, help="Planned tests that share alpha; default: 1.")
]
Seed = Annotated[int | None, Option(metavar="N", hidden=True, help="Of what is simulated; default: 0.")]


@PLAN.command(cls=Brief)
def labels(
    classes: Annotated[int, Option(metavar="C", help="Number of classes that are drawn from.")],
    k: Annotated[int | None, Option("--k", metavar="K", help="Answers that count; default: 1.")] = None,
    hit_rate: HitRate = None,
    pilot: Pilot = None,
    alpha: Alpha = None,
    sequential: Sequential = False,
    json: Json = False,
    budget: RareBudget = None,
    power: Power = None,
    tests: Tests = None,
    seed: Seed = None,
) -> None:
    """Plan query pictures (keys), for each of which a class is drawn."""
    looks = "sequential" if sequential else None
    given = {"classes": classes, "k": k, "hit_rate": hit_rate, "pilot": pilot, "looks": looks}
    _plan("labels", json, given, alpha=alpha, budget=budget, power=power, tests=tests, seed=seed)


@PLAN.command(cls=Brief)
def choices(
    options: Annotated[int | None, Option(metavar="M", help="Options per question; default: 2.")] = None,
    hit_rate: HitRate = None,
    pilot: Pilot = None,
    alpha: Alpha = None,
    sequential: Sequential = False,
    budget: Budget = None,
    json: Json = False,
    power: Power = None,
    tests: Tests = None,
    seed: Seed = None,
) -> None:
    """Plan questions, for each of which the right one of several options is drawn."""
    looks = "sequential" if sequential else None
    given = {"options": options, "hit_rate": hit_rate, "pilot": pilot, "looks": looks}
    _plan("choices", json, given, alpha=alpha, budget=budget, power=power, tests=tests, seed=seed)


@PLAN.command(cls=Brief)
def texts(
    variants: Annotated[int, Option(metavar="N", help="Variants per text, with the released one.")],
    effect: Effect = None,
    ranks: Annotated[str | None, Option(metavar="N,N,...", help=_RANKS_HELP)] = None,
    alpha: Alpha = None,
    budget: Budget = None,
    json: Json = False,
    power: Power = None,
    tests: Tests = None,
) -> None:
    """Plan texts, for each of which the variant that is released is drawn."""
    given = {"variants": variants, "effect": effect, "ranks": ranks}
    _plan("texts", json, given, alpha=alpha, budget=budget, power=power, tests=tests)


@PLAN.command(cls=Brief)
def bits(
    bits: Annotated[int, Option(metavar="B", help="Length of the message.")],
    accuracy: Annotated[
        float | None, Option(metavar="SHARE", help="Share of right bits in a marked model's picture.")
    ] = None,
    pilot: Pilot = None,
    pictures: Annotated[
        int | None, Option(metavar="N", help="Most pictures that there can be; default: 1,000.")
    ] = None,
    alpha: Alpha = None,
    json: Json = False,
    power: Power = None,
    tests: Tests = None,
    seed: Seed = None,
) -> None:
    """Plan pictures that vote for one message, whose bits are drawn."""
    given = {"bits": bits, "accuracy": accuracy, "pilot": pilot}
    _plan("bits", json, given, alpha=alpha, budget=pictures, power=power, tests=tests, seed=seed)


@PLAN.command(cls=Brief)
def decoys(
    triggers: Annotated[int | None, Option(metavar="M", help="Most triggers that there can be.")] = None,
    hit_rate: Annotated[
        float | None, Option(metavar="SHARE", help="How often the true one scores highest.")
    ] = None,
    pilot: Pilot = None,
    effect: Effect = None,
    alpha: Alpha = None,
    json: Json = False,
    power: Power = None,
    tests: Tests = None,
) -> None:
    """Plan triggers, one of which is drawn to be the true one."""
    given = {"hit_rate": hit_rate, "pilot": pilot, "effect": effect}
    _plan("decoys", json, given, alpha=alpha, budget=triggers, power=power, tests=tests)


def _plan(kind: str, json: bool, given: Mapping[str, object], **shared: object) -> None:
    """Make a plan, print it, and end with 1 if the goal cannot be reached."""
    from noli import api

    options = {name: value for name, value in {**given, **shared}.items() if value is not None}
    found = api.plan_mark(kind, **options)
    out = console.Output(json=json)
    out.result(found.as_dict(), *summary(found))
    if not found.reachable:
        raise typer.Exit(1)
    if found.method:
        out.hint(f"Then: {command(found)}")


def command(found: MarkPlan) -> str:
    """Return the command that marks as was planned: the number that is needed, and all that is no default."""
    from noli import options, registry

    spec = registry.get(found.method)
    plain = options.resolve(spec, {})
    words = ["noli", "mark", found.method.removeprefix("mark/"), _DATA[spec.arrow], "-o", "OUT"]
    words += ["--key", "owner.key"]
    for name, value in found.settings.items():
        if value == getattr(plain, name) and value != found.needed:
            continue
        told = options.show(value)
        words += [f"--{name}", told] if name in spec.options else ["--set", f"{name}={told}"]
    return shlex.join(words)


def summary(found: MarkPlan) -> list[Any]:
    """Return the plan in words."""
    goal, count = found.goal, found.needed or found.goal.limit
    error = f" (simulated, standard error {found.error:.2g})" if found.error else ""
    shared = f", shared by {goal.tests:,} tests" if goal.tests > 1 else ""
    counted = _counted(count, found.unit)
    rows: console.Rows = [
        ("kind", found.kind if found.looks == "fixed" else f"{found.kind}, looked at after every query"),
        (
            "assumed",
            ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in found.given.items()),
        ),
        ("evidence", found.rule),
        ("power", f"{found.power:.3g} with {counted}{error}"),
        ("alpha", f"{goal.alpha:g}{shared}; the smallest p-value is {_tiny(found.smallest_p)}"),
    ]
    if found.figures:
        median, high = (_count(found.figures[name], goal.limit) for name in ("median", "quantile_90"))
        share = found.figures["share"] or 0.0
        rows.append(("queries", f"{median} in the median, {high} in 9 of 10 cases"))
        within = _counted(goal.limit, "queries")
        rows.append(("found", f"{100 * share:.3g} % of the marked models within {within}"))
    if found.needed:
        head = Text(counted, style="bold green")
        finds = "finds" if count == 1 else "find"
        head.append(f" {finds} a marked model with probability {found.power:.3g}.", style="default")
    else:
        head = Text.assemble(("NOT REACHABLE", "bold red"), f" with {counted}. {found.reason}")
    return [head, "", console.grid(rows), "", *(Text(f"- {note}") for note in found.notes)]


def _counted(count: int, unit: str) -> str:
    """Return a number of what is counted; `unit` is a plural."""
    single = "query" if unit == "queries" else unit.removesuffix("s")
    return f"{count:,} {single if count == 1 else unit}"


def _count(value: float | None, limit: int) -> str:
    return f"more than {limit:,}" if value is None else f"{value:,.0f}"


def _tiny(p: float) -> str:
    return "below 1e-300" if p < 1e-300 else f"{p:.2g}"
