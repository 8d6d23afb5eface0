"""``noli mark leximark TEXTS -o OUT``: mark texts; ``noli mark words`` lists what may vary, for approval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from noli.cli.shared import (
    Config,
    Json,
    KeyFile,
    OnError,
    OutDir,
    Quiet,
    RarePassFile,
    RunDir,
    Settings,
    load_begun_key,
)
from noli.core.method import Spec

if TYPE_CHECKING:
    from noli.api import TextRun

_DATA = "Folder or file with text, Markdown, HTML, LaTeX, JSONL or Word documents."
Approved = Annotated[
    Path | None, Option(metavar="FILE.tsv", hidden=True, help="Only these words: the table of `mark words`.")
]


def mark_texts(
    spec: Spec,
    data: Annotated[str, Argument(help=_DATA)],
    output: OutDir,
    key: KeyFile,
    name: Name = "",
    beacon: Beacon = False,
    beacon_delay: BeaconDelay = 10,
    beacon_file: BeaconFile = None,
    allow_network: Network = False,
    json: Json = False,
    settings: Settings = None,
    approved: Approved = None,
    on_error: OnError = "fail",
    config: Config = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Mark a collection of texts with one method.

    With --beacon, the first call only commits; the same call again marks once the round is published.
    """
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    done = api.mark_texts(
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
        approved=approved,
        on_error=on_error,
        run=run,
        progress=out.progress(),
    )
    _show(out, done, key)


def _show(out: console.Output, done: TextRun, key: Path) -> None:
    document: dict[str, Any] = {}
    promised: console.Rows = []
    if done.commitment is not None:
        protocol = done.commitment.protocol
        secrets = f"{protocol.secrets:,} passages, of which {protocol.budget:,} are asked"
        document, promised = told(done, done.commitment, "variants", secrets)
    if done.waiting:
        tell_waiting(out, done, document, promised)
        return
    found, place = done.manifest.results, {"run": str(done.path), "output": done.output}
    rows: console.Rows = [
        ("marked", f"{found['files']:,} documents with {done.manifest.method}"),
        ("output", done.output),
        ("replaced", f"{found['replaced']:,} of {found['words']:,} words"),
        ("left alone", f"{found['texts_without_places']:,} texts without enough words that may vary"),
        *console.notices(found, done.path),
        ("changes", f"{done.changes_file} (for you only)"),
    ]
    out.result({**place, "results": found, **document}, console.grid([*rows, *promised]))
    if done.commitment is None:
        out.warn("the published mode proves nothing: nothing in it is random")
        return
    hint_next(out, done, key, "the texts")


def words(
    data: Annotated[str, Argument(help=_DATA)],
    output: Annotated[Path, Option("--output", "-o", metavar="FILE.tsv", help="Where the table goes.")],
    json: Json = False,
    settings: Settings = None,
    on_error: OnError = "fail",
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """List the words that may vary, for approval; nothing is marked."""
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    count = api.propose_words(
        data,
        output,
        config=options.read_settings(settings or (), config),
        on_error=on_error,
        progress=out.progress(),
    )
    out.result({"table": str(output), "words": count}, f"Words that may vary: {count:,}, in {output}")
    out.hint(
        "Delete lines, or words in the fifth column; then noli mark leximark ... --approved " + str(output)
    )
