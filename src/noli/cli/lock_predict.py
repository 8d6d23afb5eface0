"""``noli lock predict MODEL DATA``: ask a keyed model about pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json, Labels, OnError, Quiet, RarePassFile, load_model_keys
from noli.ops.metrics import percent

PREDICT_HELP = "Classify pictures with a keyed model, with its key or as a thief has it."
SHOWN = 20
WITHOUT = "Without the key: this is what somebody gets who stole the folder, and nothing else."


def predict(
    model: Annotated[Path, Argument(help="Folder of a keyed model, as noli lock embeddings writes it.")],
    data: Annotated[str, Argument(help="Folder, CSV, .npz, Parquet or URL with pictures.")],
    key: Annotated[Path | None, Option(metavar="FILE", help="The owner's key file.")] = None,
    average: Annotated[
        bool, Option("--average", help="Mean of all pairs; default: one is drawn for every picture.")
    ] = False,
    without_key: Annotated[
        bool, Option("--without-key", help="Answer as the files do for somebody without the key.")
    ] = False,
    output: Annotated[
        Path | None, Option("--output", "-o", metavar="FILE.csv", help="Also write all answers as CSV.")
    ] = None,
    json: Json = False,
    side: Annotated[
        int | None, Option(metavar="PIXELS", min=1, hidden=True, help="Side to which pictures are squeezed.")
    ] = None,
    on_error: OnError = "fail",
    labels: Labels = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Classify pictures with a keyed model: file, class, probability."""
    from noli import api
    from noli.methods.lock.embeddings import BANNER

    out = console.Output(json=json, quiet=quiet)
    out.hint(f"{BANNER}.")
    found = api.predict(
        model,
        data,
        key=key and load_model_keys(model, key, passphrase_file),
        average=average,
        without_key=without_key,
        side=side,
        output=output,
        on_error=on_error,
        labels=labels,
        progress=out.progress(),
    )
    answers = found.answers
    lines = [(file, name, f"{share:.3f}") for file, name, share in answers[:SHOWN]]
    facts: console.Rows = [("asked", found.asked)]
    if found.right is not None:
        share = percent(found.right / len(answers))
        facts.append(("right", f"{found.right:,} of {len(answers):,} by their folders, {share}"))
    if output is not None:
        facts.append(("output", str(output)))
    document = {
        "asked": found.asked,
        "right": found.right,
        "answers": [dict(zip(("file", "class", "probability"), answer, strict=True)) for answer in answers],
    }
    out.result(document, console.table("", ["file", "class", "probability"], lines), "", console.grid(facts))
    if len(answers) > SHOWN:
        out.hint(f"{SHOWN} of {len(answers):,} pictures are shown; -o FILE.csv and --json have all.")
    if without_key:
        out.hint(WITHOUT)
