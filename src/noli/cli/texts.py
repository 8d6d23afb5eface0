"""``noli mark leximark TEXTS -o OUT``: mark texts; ``noli mark words`` lists what may vary, for approval."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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


def mark_texts(
    spec: Spec,
    data: Annotated[str, Argument(help=_DATA)],
    output: OutDir,
    key: KeyFile,
    name: Annotated[str, Option(help="Who claims, in words; part of the commitment.")] = "",
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
    """Mark a collection of texts with one method."""
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    done = api.mark_texts(
        data,
        output,
        spec.name,
        key=load_key(key, passphrase_file),
        name=name,
        config={**options.read_settings(settings or (), config), **method_options},
        approved=approved,
        run=run,
        progress=out.progress(),
    )
    _show(out, done, key)


def _show(out: console.Output, done: TextRun, key: Path) -> None:
    found, commitment = done.manifest.results, done.commitment
    rows: console.Rows = [
        ("marked", f"{found['files']:,} documents with {done.manifest.method}"),
        ("output", done.output),
        ("replaced", f"{found['replaced']:,} of {found['words']:,} words"),
        ("left alone", f"{found['texts_without_places']:,} texts without enough words that may vary"),
        ("changes", f"{done.changes_file} (for you only)"),
    ]
    document = {"run": str(done.path), "output": done.output, "results": found}
    if commitment is None:
        out.result(document, console.grid(rows))
        out.warn("the published mode proves nothing: nothing in it is random")
        return
    protocol = commitment.protocol
    rows += [
        ("passages", f"{protocol.secrets:,}, of which {protocol.budget:,} are asked"),
        ("commitment", str(done.commitment_file)),
        ("its SHA-256", commitment.digest),
        ("claim", f"accuses wrongly with probability {protocol.alpha:g} at most"),
    ]
    document |= {
        "commitment": str(done.commitment_file),
        "commitment_sha256": commitment.digest,
        "owner": commitment.owner,
        "protocol": protocol.model_dump(mode="json"),
    }
    out.result(document, console.grid(rows))
    out.hint("Publish the commitment, or have it time-stamped, BEFORE you publish the texts.")
    place, file = shlex.quote(done.output), shlex.quote(str(key))
    out.hint(f"Later: noli detect {place} --key {file} --endpoint SUSPECT.yaml -o proof.zip")


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
