"""``noli verify OUT --clean DATA``: train on the protected data as a thief would, and say what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text
from typer import Argument, Option

from noli.cli import console
from noli.cli.console import Rows, verdict
from noli.cli.shared import Config, Json, Labels, Quiet, RarePassFile, RunDir, Settings
from noli.core.errors import UsageError
from noli.ops.metrics import percent

if TYPE_CHECKING:
    from noli.core.evidence import Evidence


_KEYS_HELP = "Fresh keys to compare with: mean and worst; default: 0 with quick, else 3."
# None: not given, so that a settings file can say it.
Battery = Annotated[
    Literal["quick", "standard", "full"] | None,
    Option(help="How many countermeasures are tried; default: quick."),
]
Claim = Annotated[
    Literal["naive", "routine", "adaptive"] | None,
    Option(help="Attacker level of the claim; default: routine."),
]


def verify(
    protected: Annotated[str, Argument(help="The protected data as stored, or its run folder.")],
    clean: Annotated[str, Option(help="The originals; their test split is used if any.")],
    battery: Battery = None,
    claim: Claim = None,
    seeds: Annotated[
        int | None, Option(metavar="N", min=1, help="Trainings per row; default: the battery's.")
    ] = None,
    keys: Annotated[int | None, Option(metavar="N", min=0, hidden=True, help=_KEYS_HELP)] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    key: Annotated[
        Path | None, Option(metavar="FILE", help="The owner's key file, to audit a locked model.")
    ] = None,
    model: Annotated[
        Path | None, Option(metavar="FILE", hidden=True, help="Public network that a model was locked from.")
    ] = None,
    labels: Labels = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Train fresh models on protected and on clean data; exit 1 unless the claim is supported.

    What noli lock has made is audited instead: pictures see noli lock audit; models need --key, and exit 1
    where somebody without it (L0 to L2, or a thief) gets more, or leaves less, than half of what it gives.
    """
    from noli import api, options
    from noli.engine.auditing import scrambled_here
    from noli.engine.lockedmodels import kind_of

    if kind_of(protected):
        from noli.cli.locked_model import verify_model

        if any(one for one in (battery, claim, seeds, keys)):
            fix = "leave the options of trainings out; --set has those of attacks"
            raise UsageError("A locked model is attacked, not trained on.", where=protected, fix=fix)
        chosen = options.read_settings(settings or (), config)
        out = console.Output(json=json, quiet=quiet)
        verify_model(
            out, protected, clean, key, public=model, labels=labels, run=run,
            passphrase_file=passphrase_file, options=chosen,
        )  # fmt: skip
        return
    if key or model:
        fix = "leave --key and --model out"
        raise UsageError("A key is needed for locked models only.", where=protected, fix=fix)
    if scrambled_here(protected):
        from noli.cli.lock_audit import audit

        given = [battery, claim, seeds, keys, settings, config, labels, run]
        if any(one for one in given):
            fix = "leave the options of trainings out, or see noli lock audit --help"
            raise UsageError("Scrambled pictures are attacked, not trained on.", where=protected, fix=fix)
        audit(protected, clean, json=json, quiet=quiet)
        return
    out = console.Output(json=json, quiet=quiet)
    evidence = api.verify(
        protected,
        clean=clean,
        battery=battery,
        claim=claim,
        seeds=seeds,
        keys=keys,
        labels=labels,
        run=run,
        progress=out.progress(),
        config=options.read_settings(settings or (), config),
    )
    out.result(evidence.model_dump(mode="json"), *summary(evidence))
    if not evidence.supported:
        out.hint("Do not publish this as protected; noli protect auto compares the methods.")
        raise typer.Exit(1)


def summary(evidence: Evidence) -> list[Any]:
    """Return what was measured, the worst case per level, and the verdict; none where there is none."""
    blocks: list[Any] = []
    if evidence.rows:
        columns = ["row", "level", "accuracy", "interval", "how"]
        rows = [(r.name, r.level, percent(r.value), _interval(r.low, r.high), r.about) for r in evidence.rows]
        blocks.append(console.table("What a trainer reaches on clean data", columns, rows))
    if evidence.levels:
        columns = ["verdict", "attacker", "worst row", "accuracy", "interval", "bound"]
        levels = [
            (
                verdict(at.verdict),
                at.level,
                at.worst,
                percent(at.value),
                _interval(at.low, at.high),
                f"at most {percent(at.bound)}",
            )
            for at in evidence.levels
        ]
        blocks += ["", console.table("Worst case per attacker level", columns, levels)]
    if not evidence.decides:
        # Without a claim, "inconclusive" would read as a failure to measure.
        return [*blocks, "", console.grid(_reference(evidence.reference)), f"\n{evidence.reason}"]
    said = verdict(evidence.verdict, evidence.verdict.upper())
    reason = Text.assemble("\nVerdict: ", said, f"\nClaim: {evidence.claim}\n{evidence.reason}")
    return [*blocks, "", console.grid(_reference(evidence.reference)), reason]


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"


def _reference(found: dict[str, float]) -> Rows:
    rows: Rows = []
    if "clean" in found:
        spread = _interval(found.get("clean_low"), found.get("clean_high"))
        rows.append(("clean data", f"{percent(found['clean'])} ({spread})"))
    if "chance" in found:
        rows.append(("guessing", percent(found["chance"])))
    if "fresh_keys" in found:
        mean, worst = percent(found["fresh_keys_mean"]), percent(found["fresh_keys_worst"])
        rows.append(("fresh keys", f"{found['fresh_keys']:.0f} keys: {mean} on average, {worst} at worst"))
    if "training_items" in found:
        counts = f"{found['training_items']:,.0f} for training, {found.get('test_items', 0):,.0f} held out"
        rows.append(("pictures", f"{counts}, {found.get('classes', 0):.0f} classes"))
    return rows
