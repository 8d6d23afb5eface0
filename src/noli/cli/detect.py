"""``noli detect OUT``: ask a suspect the secret queries, and bundle the evidence."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json, KeyFile, Quiet, RarePassFile, Test, load_marking_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from noli.api import Detection


def detect(
    marked: Annotated[str, Argument(help="The marked data, or the run folder of its marking.")],
    key: KeyFile,
    endpoint: Annotated[
        Path | None, Option(metavar="FILE", help="Description of a served model, YAML or JSON.")
    ] = None,
    model: Annotated[
        Path | None, Option(metavar="PATH", help="Instead: a model file of noli, or the folder of a model.")
    ] = None,
    suspect: Annotated[str | None, Option(metavar="NAME", help="Name of the model, in words.")] = None,
    since: Annotated[
        str | None, Option(metavar="TIME", help="Since when it is known to exist, with a zone.")
    ] = None,
    output: Annotated[
        Path | None, Option("--output", "-o", metavar="BUNDLE.zip", help="Where the evidence goes.")
    ] = None,
    json: Json = False,
    stamp: Annotated[
        list[Path] | None, Option(hidden=True, help="RFC 3161 time stamp of the commitment; may be repeated.")
    ] = None,
    label_map: Annotated[
        Path | None, Option(hidden=True, help="For --model: its classes to yours, JSON or CSV.")
    ] = None,
    test: Test = None,
    dry_run: Annotated[
        bool, Option("--dry-run", hidden=True, help="For --endpoint: show the first request, send nothing.")
    ] = False,
    bodies: Annotated[
        bool, Option("--bodies", hidden=True, help="For --endpoint: keep all that is sent and received.")
    ] = False,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Ask a model the secret queries; exit 1 unless it gives away that it learned from the data."""
    from noli import api

    out = console.Output(json=json, quiet=quiet)
    owner = load_marking_key(marked, key, passphrase_file)
    if dry_run:
        shown = api.rehearse(marked, key=owner, endpoint=endpoint, suspect=suspect, test=test)
        out.result(shown, console.grid(rehearsed(shown)), "", "Nothing was sent.")
        return
    found = api.detect(
        marked,
        key=owner,
        endpoint=endpoint,
        model=model,
        suspect=suspect,
        since=since,
        bundle=output,
        stamps=stamp or (),
        label_map=label_map,
        test=test,
        bodies=bodies,
        progress=out.progress(),
    )
    out.result(found.as_dict(), *summary(found))
    if found.bundle is not None:
        out.hint(f"Anybody can recompute it, offline: noli check {found.bundle}")
        if not stamp:
            out.hint(
                "Without --stamp it counts only for who saw the commitment published (--seen SHA256=TIME)."
            )
    if not found.supported:
        raise typer.Exit(1)


_FOUND = {
    "bits": "its pictures show the message, so that it was made from the marked model",
    "decoys": "of all strings it shows the message best behind the secret one",
}


_REHEARSED = {
    "query": "query parameters",
    "bytes": "size of the body, bytes",
    "planned_seconds": "pauses of all queries",
    "missing": "not in the environment",
}


def rehearsed(shown: Mapping[str, Any]) -> console.Rows:
    """Return what a dry run shows: without what is empty, lists as words, times as people write them."""
    from noli.report.words import duration

    rows: console.Rows = []
    for name, value in shown.items():
        if value in (None, "", [], {}):
            continue
        if name == "planned_seconds":
            said = duration(value)
        elif isinstance(value, list):
            said = "; ".join(map(str, value)) if name == "warnings" else ", ".join(map(str, value))
        else:
            said = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
        rows.append((_REHEARSED.get(name, name), said))
    return rows


def summary(found: Detection) -> list[Any]:
    """Return the answer in words."""
    from noli.report.certificate import number

    outcome, verdict = found.claim.outcome, found.claim.verdict
    # Sums of ranks may be larger than the number of passages, and votes have no largest value to speak of.
    among = {"texts": f" over {outcome.n}", "bits": "", "decoys": ""}.get(found.test, f" of {outcome.n}")
    rows: console.Rows = [
        ("suspect", f"{found.claim.suspect.name}, {found.claim.suspect.where}"),
        (outcome.statistic, f"{outcome.value:g}{among}, where chance gives {outcome.expected:.4g}"),
        ("p-value", number(outcome.p)),
    ]
    if outcome.e is not None:
        rows.append(("evidence", f"{number(outcome.e)}, ended: {outcome.stopped}"))
    if verdict.tests > 1:
        rows.append(("among tests", f"{number(verdict.p)}, as one of {verdict.tests} that share alpha"))
    if outcome.refused:
        rows.append(("unanswered", f"{outcome.refused}, counted as misses"))
    rows += [("transcript", str(found.transcript))]
    if found.bundle is not None:
        rows.append(("bundle", str(found.bundle)))
    return [_head(found), "", console.grid(rows)]


def _head(found: Detection) -> Text:
    if found.supported:
        what = _FOUND.get(found.test, "it learned from the marked data")
        return Text(f"FOUND: {what}.", style="bold green")
    if found.hopeless:
        # A model that refuses to answer is not innocent, either.
        return Text(
            "NOT FOUND: so much was not answered that nothing could be evidence.", style="bold yellow"
        )
    if found.claim.outcome.p <= found.protocol.alpha:
        # The other tests of its family cost more than this evidence is worth.
        return Text("NOT FOUND: this would be evidence, but not among so many tests.", style="bold yellow")
    return Text("NOT FOUND: its answers are no more than chance may give.", style="bold yellow")
