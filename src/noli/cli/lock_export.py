"""``noli lock export MODEL -o model.onnx``: a keyed model for other runtimes, with or without its key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json, Quiet, RarePassFile, load_key
from noli.core.errors import UsageError

if TYPE_CHECKING:
    from noli.engine.exporting import Exported

EXPORT_HELP = "Write a keyed model as ONNX or Core ML; the permutation is an input."


def export(
    model: Annotated[Path, Argument(help="Folder of a keyed model, as noli lock embeddings writes it.")],
    output: Annotated[Path, Option("--output", "-o", metavar="FILE", help="A new file, outside the folder.")],
    pair: Annotated[
        int | None, Option(metavar="N", help="Which pair, from 0; default: the only one.")
    ] = None,
    key: Annotated[
        Path | None, Option(metavar="FILE", help="The owner's key file, for --order or --fold only.")
    ] = None,
    order: Annotated[
        Path | None,
        Option(metavar="FILE.npy", help="Also write the order, which is secret: the graph's second input."),
    ] = None,
    fold: Annotated[
        bool, Option("--fold", help="No second input: the file then CONTAINS THE KEY.", show_default=False)
    ] = False,
    to: Annotated[Literal["onnx", "coreml"], Option(help="Kind of file.")] = "onnx",
    json: Json = False,
    side: Annotated[
        int | None, Option(metavar="PIXELS", hidden=True, help="Side of the pictures; Core ML needs one.")
    ] = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Write one pair of a keyed model as a graph; without --fold neither key nor permutation is in it."""
    from noli import api
    from noli.engine.exporting import WARNING, chosen, refuse_place

    out = console.Output(json=json, quiet=quiet)
    if (key is None) == (fold or order is not None):
        why = "--fold and --order follow from the key; a graph without them has no use for it"
        raise UsageError("A key goes with --fold or --order, and only with them.", why=why)
    if fold and order is not None:
        raise UsageError("A folded graph takes no order.", fix="leave out --order or --fold")
    if order is not None and order.resolve() == output.resolve():
        raise UsageError("Graph and order need two places.", where=str(output), fix="name another file")
    facts, number = chosen(model, pair)
    owner = key and load_key(key, passphrase_file, facts.pairs[number].key_id)
    if order is not None:
        refuse_place(model, order)  # before the graph is written
    done = api.export_model(
        model, output, key=owner if fold else None, pair=number, fold=fold, to=to, side=side
    )
    if order is not None:
        api.patch_order(model, key=owner, pair=number, output=order)
    document = {
        "output": str(output),
        "to": to,
        "pair": number,
        "folded": fold,
        "side": done.side,
        "difference": done.difference,
        "order": order and str(order),
        "facts": dict(done.facts),
    }
    out.result(document, console.grid(_rows(done, model, order)))
    if fold:
        out.warn(WARNING)
    elif order is None:
        out.hint("The order for serving: noli.patch_order in Python, or --order FILE.npy with --key.")
    if done.difference is None:
        what = "onnxruntime is not installed" if to == "onnx" else "Core ML predicts on macOS only"
        out.hint(f"Not compared with torch: {what}.")


def _rows(done: Exported, model: Path, order: Path | None) -> console.Rows:
    onnx, channels, patch = done.to == "onnx", done.facts["channels"], int(done.facts["patch"])
    sides = f"{done.side}, {done.side}" if done.side else "H, W"
    rows: console.Rows = [
        ("exported", f"pair {done.pair} of {model}, key {done.facts['key_id']}"),
        ("output", str(done.path)),
        ("pictures", f"float32 [{'N' if onnx else 1}, {channels}, {sides}], values in [0, 1]"),
    ]
    if not done.folded:
        where = f"; in {order}, mode 0600" if order else ""
        rows.append(("order", f"{'int64' if onnx else 'int32'} [{int(channels) * patch**2}]{where}"))
    if done.difference is not None:
        rows.append(("compared", f"{done.difference:.1e} from torch at most, on 64 made-up pictures"))
    return rows
