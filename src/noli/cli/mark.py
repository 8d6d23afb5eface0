"""``noli mark METHOD DATA -o OUT``: mark data, and commit to the secrets before it is published."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.dynamic import method_group
from noli.cli.planning import PLAN
from noli.cli.protect import show_run
from noli.cli.shared import (
    Config,
    Format,
    Json,
    KeyFile,
    Labels,
    Metadata,
    OnError,
    OutDir,
    Quiet,
    RarePassFile,
    RunDir,
    Settings,
    Workers,
    load_key,
)
from noli.cli.texts import mark_texts, words
from noli.core.method import Spec

if TYPE_CHECKING:
    from noli.api import MarkRun


_BEACON = "Commit now; a later round of drand decides the classes."
_FIRST = (
    "Publish the commitment, or have it time-stamped, BEFORE you publish the data: a claim is worth "
    "nothing without proof that it came first."
)
_FIRST_OF_ALL = (
    "The commitment must have been published or stamped BEFORE the round: otherwise noli check calls every "
    "claim untimely. Now publish the data."
)


def mark(
    spec: Spec,
    data: Annotated[str, Argument(help="Folder, CSV, .npz, Parquet or URL with the originals.")],
    output: OutDir,
    key: KeyFile,
    name: Annotated[str, Option(help="Who claims, in words; part of the commitment.")] = "",
    beacon: Annotated[bool, Option("--beacon", help=_BEACON)] = False,
    beacon_delay: Annotated[
        int, Option(metavar="MINUTES", min=1, hidden=True, help="From the first call to the beacon's round.")
    ] = 10,
    beacon_file: Annotated[
        Path | None, Option(metavar="FILE", hidden=True, help="The beacon's round, JSON as drand serves it.")
    ] = None,
    allow_network: Annotated[
        bool, Option("--allow-network", hidden=True, help="Fetch the beacon's round when it is there.")
    ] = False,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    format: Format = "png",  # noqa: A002
    metadata: Metadata = "keep",
    on_error: OnError = "fail",
    labels: Labels = None,
    workers: Workers = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Mark a data set with one method.

    With --beacon, the first call only commits; the same call again marks once the round is published.
    """
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    done = api.mark(
        data,
        output,
        spec.name,
        key=load_key(key, passphrase_file),
        name=name,
        beacon=beacon,
        beacon_delay=beacon_delay,
        beacon_file=beacon_file,
        allow_network=allow_network,
        config={**options.read_settings(settings or (), config), **method_options},
        workers=workers,
        format=format,
        metadata=metadata,
        on_error=on_error,
        labels=labels,
        run=run,
        progress=out.progress(),
    )
    _show(out, done, data, key)


def _show(out: console.Output, done: MarkRun, data: str, key: Path) -> None:
    from noli.proof.times import said

    protocol, commitment = done.commitment.protocol, done.commitment
    further: dict[str, Any] = {
        "commitment": str(done.commitment_file),
        "commitment_sha256": commitment.digest,
        "owner": commitment.owner,
        "protocol": protocol.model_dump(mode="json"),
    }
    rows: console.Rows = [
        ("commitment", str(done.commitment_file)),
        ("its SHA-256", commitment.digest),
        ("public key", commitment.owner),
        ("secrets", f"{protocol.budget:,} to ask, {protocol.secrets - protocol.budget:,} in reserve"),
        ("claim", f"accuses wrongly with probability {protocol.alpha:g} at most"),
    ]
    if protocol.beacon is not None and done.round_time is not None:
        further |= {
            "waiting": done.waiting,
            "round": protocol.beacon.round,
            "round_time": done.round_time.isoformat(),
        }
        rows.append(("classes", f"decided by round {protocol.beacon.round}, {said(done.round_time)}"))
    if done.waiting:
        _show_waiting(out, done, further, rows)
        return
    show_run(out, done, data, further, word="marked", rows=rows)
    out.hint(_FIRST if protocol.beacon is None else _FIRST_OF_ALL)
    place = shlex.quote(str(done.output))
    out.hint(f"Later: noli detect {place} --key {shlex.quote(str(key))} --endpoint SUSPECT.yaml -o proof.zip")


def _show_waiting(out: console.Output, run: MarkRun, further: dict[str, Any], rows: console.Rows) -> None:
    from noli.proof.beacon import URL
    from noli.proof.records import utc
    from noli.proof.times import said

    number, when = further["round"], said(utc(further["round_time"]))
    text = (
        f"Commitment made; nothing is marked yet. Round {number} appears at {when}. Publish the commitment "
        "before, or have it stamped; then give the same command again."
    )
    out.result({"run": str(run.path), "output": run.output, **further}, text, "", console.grid(rows))
    out.hint(
        f"Then add --allow-network, or save {URL}{number} and add --beacon-file FILE. One commitment, "
        "published where everybody sees that there is only one, is worth more than a stamp."
    )


def stamp(
    marked: Annotated[str, Argument(help="The marked data, or the run folder of its marking.")],
    authority: Annotated[str, Option(metavar="URL", help="A time-stamping authority (RFC 3161).")],
    output: OutDir,
    key: KeyFile,
    allow_network: Annotated[bool, Option("--allow-network", help="Nothing is sent without it.")] = False,
    json: Json = False,
    passphrase_file: RarePassFile = None,
) -> None:
    """Have the commitment stamped by an authority, before the data is published."""
    from noli import api

    out = console.Output(json=json)
    owner = load_key(key, passphrase_file)
    made = api.stamp(marked, output, authority=authority, key=owner, allow_network=allow_network)
    out.result({"stamp": str(made)}, f"Time stamp: {made}")
    out.hint(f"Later: noli detect ... --stamp {made}; a checker names the authority's root with --roots.")


_STAMP = "Have the commitment stamped by an authority, before the data is published (network)."


_WORDS = "List the words of texts that may vary, for approval; nothing is marked."
_BODIES = {"texts->texts": mark_texts}


_FURTHER = {"stamp": (stamp, _STAMP), "words": (words, _WORDS)}


class MarkGroup(method_group("mark", mark, _FURTHER, _BODIES)):  # type: ignore[misc]
    """The methods, the planner and the time stamp."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return ["plan", *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command for the list."""
        return _plan() if cmd_name == "plan" else super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that was named, and its words."""
        if args[0] == "plan":
            return "plan", _plan(), args[1:]
        return super().resolve_command(ctx, args)


def _plan() -> Any:
    made = typer.main.get_command(PLAN)
    made.name = "plan"
    return made


GROUP = typer.Typer(
    cls=MarkGroup,
    no_args_is_help=True,
    help="Mark a data set, so that a model that learned from it can be found: noli mark gratings DATA -o OUT "
    "--key owner.key. `plan` says beforehand how many secrets it takes.",
)
