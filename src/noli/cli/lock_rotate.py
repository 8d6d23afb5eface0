"""``noli lock rotate DATA -o OUT``: scrambled pictures, or a keyed model, under another key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import (
    Json,
    KeyFile,
    OnError,
    OutDir,
    Quiet,
    RarePassFile,
    RunDir,
    Workers,
    load_begun_key,
    load_key,
    load_model_keys,
)

ROTATE_HELP = "Give scrambled pictures or a keyed model another key, without plain pictures or training."
EXACT = (
    "The model is the same function as before: who has the former key and folder has it still. "
    "Delete that folder; to take something away, train a new pair."
)


def rotate(
    data: Annotated[str, Argument(help="Scrambled pictures, or the folder of a keyed model.")],
    output: OutDir,
    key: KeyFile,
    former: Annotated[
        Path | None, Option(metavar="FILE", help="File of the former key, if it is not in the same one.")
    ] = None,
    json: Json = False,
    on_error: OnError = "fail",
    workers: Workers = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Give scrambled pictures, or a keyed model, the active key of a file; no plain pictures are made."""
    from noli import api
    from noli.api._lock import BANNER
    from noli.engine.lockedmodels import kind_of, refuse_other_models
    from noli.engine.opening import first_header

    out = console.Output(json=json, quiet=quiet)
    if kind_of(data) == "keyed-model":
        _rotate_model(out, Path(data), output, key, former, run, passphrase_file)
        return
    refuse_other_models(data, "rotated")
    out.hint(BANNER)
    header = first_header(data)
    done = api.rotate(
        data,
        output,
        key=load_begun_key(key, output, run, passphrase_file),
        former=load_key(former or key, passphrase_file, key_id=header.key_id if header else None),
        workers=workers,
        on_error=on_error,
        run=run,
        progress=out.progress(),
    )
    results = done.manifest.results
    left = int(results.get("skipped", 0))
    rows: console.Rows = [
        ("rotated", f"{results['items']:,} pictures"),
        *console.notices(results, str(done.path)),
        ("from key", str(done.manifest.args_passed["former"])),
        ("to key", str(done.manifest.args_resolved["key"])),
        ("output", str(output)),
        ("run", str(done.path)),
    ]
    out.result({"output": str(output), "run": str(done.path), "results": results}, console.grid(rows))
    if left:
        out.warn(f"{left:,} picture(s) have the former key only: do not delete them")
    else:
        out.hint("The pictures under the former key are as they were: delete them where they should not be.")


def _rotate_model(
    out: console.Output,
    model: Path,
    output: str,
    key: Path,
    former: Path | None,
    run: Path | None,
    passphrase_file: Path | None,
) -> None:
    from noli.engine.model_rotating import rotate_model
    from noli.methods.lock.embeddings import BANNER

    out.hint(f"{BANNER}.")
    done = rotate_model(
        model,
        output,
        key=load_begun_key(key, output, run, passphrase_file),
        former=load_model_keys(model, former or key, passphrase_file),
        run=run,
        progress=out.progress(),
    )
    results = done.manifest.results
    steps = [(f"pair {one['pair']}", f"{one['from']} -> {one['to']}") for one in results["rotated"]]
    rows: console.Rows = [*steps, ("output", str(output)), ("run", str(done.path))]
    out.result({"output": str(output), "run": str(done.path), "results": results}, console.grid(rows))
    out.hint(EXACT)
