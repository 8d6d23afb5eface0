"""``noli mark METHOD DATA -o OUT``: mark data, and commit to the secrets before it is published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.committing import (
    Beacon,
    BeaconDelay,
    BeaconFile,
    Name,
    Network,
    hint_next,
    tell_waiting,
    told,
)
from noli.cli.dynamic import method_group
from noli.cli.models import mark_model
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
    Test,
    Workers,
    load_begun_key,
    load_marking_key,
)
from noli.cli.texts import mark_texts, words
from noli.core.method import Spec

if TYPE_CHECKING:
    from noli.api import MarkRun


def mark(
    spec: Spec,
    data: Annotated[str, Argument(help="Folder, CSV, .npz, Parquet or URL with the originals.")],
    output: OutDir,
    key: KeyFile,
    name: Name = "",
    beacon: Beacon = False,
    beacon_delay: BeaconDelay = 10,
    beacon_file: BeaconFile = None,
    allow_network: Network = False,
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
        key=load_begun_key(key, output, run, passphrase_file),
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


# As benchmarks/taggants.py found at 32 pixels.
_CARRIERS = 40


def _show(out: console.Output, done: MarkRun, data: str, key: Path) -> None:
    protocol = done.commitment.protocol
    document, rows = told(done, done.commitment, "classes", f"{protocol.budget:,} to ask")
    if done.waiting:
        tell_waiting(out, done, document, rows)
        return
    show_run(out, done, data, document, word="marked", rows=rows)
    results = done.manifest.results
    carriers = results.get("items", 0) - results.get("identical", 0)
    if carriers < _CARRIERS * protocol.budget:
        out.warn(
            f"{carriers:,} pictures carry {protocol.budget:,} secrets; where marks were found, every secret "
            f"had about {_CARRIERS}: expect little, or use fewer --keys, or a larger --set share"
        )
    hint_next(out, done, key, "the data")


def stamp(
    marked: Annotated[str, Argument(help="The marked data, or the run folder of its marking.")],
    authority: Annotated[str, Option(metavar="URL", help="A time-stamping authority (RFC 3161).")],
    output: OutDir,
    key: KeyFile,
    allow_network: Annotated[bool, Option("--allow-network", help="Nothing is sent without it.")] = False,
    test: Test = None,
    release: Annotated[
        bool, Option("--release", help="Instead, the list signed after it (release.json).")
    ] = False,
    json: Json = False,
    passphrase_file: RarePassFile = None,
) -> None:
    """Have the commitment stamped by an authority, before the data is published."""
    from noli import api

    out = console.Output(json=json)
    owner = load_marking_key(marked, key, passphrase_file)
    more: dict[str, Any] = {"allow_network": allow_network, "test": test, "release": release}
    made = api.stamp(marked, output, authority=authority, key=owner, **more)
    out.result({"stamp": str(made)}, f"Time stamp: {made}")
    out.hint(f"Later: noli detect ... --stamp {made}; a checker names the authority's root with --roots.")


_STAMP = "Have the commitment stamped by an authority, before the data is published (network)."


_WORDS = "List the words of texts that may vary, for approval; nothing is marked."
_BODIES = {"texts->texts": mark_texts, "model->model": mark_model}


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
