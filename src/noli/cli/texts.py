"""``noli mark leximark TEXTS -o OUT``: mark texts; ``noli mark words`` lists what may vary, for approval."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Config, Json, KeyFile, OutDir, Quiet, RarePassFile, RunDir, Settings, load_key
from noli.core.method import Spec

if TYPE_CHECKING:
    from noli.api import TextRun

_DATA = "Folder or file with text, Markdown, HTML, LaTeX, JSONL or Word documents."
Approved = Annotated[
    Path | None, Option(metavar="FILE.tsv", hidden=True, help="Only these words: the table of `mark words`.")
]
_BEACON = "Commit now; a later round of drand decides which variants are released."
Beacon = Annotated[bool, Option("--beacon", help=_BEACON)]
BeaconDelay = Annotated[
    int, Option(metavar="MINUTES", min=1, hidden=True, help="From the first call to the beacon's round.")
]
BeaconFile = Annotated[
    Path | None, Option(metavar="FILE", hidden=True, help="The beacon's round, JSON as drand serves it.")
]
Network = Annotated[
    bool, Option("--allow-network", hidden=True, help="Fetch the beacon's round when it is there.")
]
_FIRST = "Publish the commitment, or have it time-stamped, BEFORE you publish the texts."
_FIRST_OF_ALL = (
    "The commitment must have been published or stamped BEFORE the round: otherwise noli check calls every "
    "claim untimely. Now publish the texts."
)


def mark_texts(
    spec: Spec,
    data: Annotated[str, Argument(help=_DATA)],
    output: OutDir,
    key: KeyFile,
    name: Annotated[str, Option(help="Who claims, in words; part of the commitment.")] = "",
    beacon: Beacon = False,
    beacon_delay: BeaconDelay = 10,
    beacon_file: BeaconFile = None,
    allow_network: Network = False,
    json: Json = False,
    settings: Settings = None,
    approved: Approved = None,
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
        key=load_key(key, passphrase_file),
        name=name,
        beacon=beacon,
        beacon_delay=beacon_delay,
        beacon_file=beacon_file,
        allow_network=allow_network,
        config={**options.read_settings(settings or (), config), **method_options},
        approved=approved,
        run=run,
        progress=out.progress(),
    )
    _show(out, done, key)


def _show(out: console.Output, done: TextRun, key: Path) -> None:
    place = {"run": str(done.path), "output": done.output}
    further, promised = _commitment(done)
    if done.waiting:
        _show_waiting(out, {**place, **further}, promised)
        return
    found = done.manifest.results
    rows: console.Rows = [
        ("marked", f"{found['files']:,} documents with {done.manifest.method}"),
        ("output", done.output),
        ("replaced", f"{found['replaced']:,} of {found['words']:,} words"),
        ("left alone", f"{found['texts_without_places']:,} texts without enough words that may vary"),
        ("changes", f"{done.changes_file} (for you only)"),
    ]
    out.result({**place, "results": found, **further}, console.grid([*rows, *promised]))
    if done.commitment is None:
        out.warn("the published mode proves nothing: nothing in it is random")
        return
    out.hint(_FIRST if done.round_time is None else _FIRST_OF_ALL)
    marked, file = shlex.quote(done.output), shlex.quote(str(key))
    out.hint(f"Later: noli detect {marked} --key {file} --endpoint SUSPECT.yaml -o proof.zip")


def _commitment(done: TextRun) -> tuple[dict[str, Any], console.Rows]:
    """Return what is said of the commitment, for machines and for people."""
    from noli.proof.times import said

    commitment = done.commitment
    if commitment is None:
        return {}, []
    protocol = commitment.protocol
    further: dict[str, Any] = {
        "commitment": str(done.commitment_file),
        "commitment_sha256": commitment.digest,
        "owner": commitment.owner,
        "protocol": protocol.model_dump(mode="json"),
    }
    rows: console.Rows = [
        ("passages", f"{protocol.secrets:,}, of which {protocol.budget:,} are asked"),
        ("commitment", str(done.commitment_file)),
        ("its SHA-256", commitment.digest),
        ("claim", f"accuses wrongly with probability {protocol.alpha:g} at most"),
    ]
    if protocol.beacon is not None and done.round_time is not None:
        number, when = protocol.beacon.round, done.round_time
        further |= {"waiting": done.waiting, "round": number, "round_time": when.isoformat()}
        rows.append(("variants", f"decided by round {number}, {said(when)}"))
    return further, rows


def _show_waiting(out: console.Output, document: dict[str, Any], rows: console.Rows) -> None:
    from noli.proof.beacon import URL
    from noli.proof.records import utc
    from noli.proof.times import said

    number, when = document["round"], said(utc(document["round_time"]))
    text = (
        f"Commitment made; no text is marked yet. Round {number} appears at {when}. Publish the commitment "
        "before, or have it stamped; then give the same command again."
    )
    out.result(document, text, "", console.grid(rows))
    out.hint(
        f"Then add --allow-network, or save {URL}{number} and add --beacon-file FILE. One commitment, "
        "published where everybody sees that there is only one, is worth more than a stamp. Leave the texts "
        "as they are until then."
    )


def words(
    data: Annotated[str, Argument(help=_DATA)],
    output: Annotated[Path, Option("--output", "-o", metavar="FILE.tsv", help="Where the table goes.")],
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """List the words that may vary, for approval; nothing is marked."""
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    count = api.propose_words(
        data, output, config=options.read_settings(settings or (), config), progress=out.progress()
    )
    out.result({"table": str(output), "words": count}, f"Words that may vary: {count:,}, in {output}")
    out.hint(
        "Delete lines, or words in the fifth column; then noli mark leximark ... --approved " + str(output)
    )
