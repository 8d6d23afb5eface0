"""``noli mark sleepermark PICTURES -o OUT``: mark a text-to-image model."""

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
    Labels,
    OutDir,
    Quiet,
    RarePassFile,
    RunDir,
    Settings,
    load_begun_key,
)
from noli.core.method import Spec

if TYPE_CHECKING:
    from noli.api import ModelRun

_PICTURES = "Captioned pictures (metadata.csv, table, Parquet), or pictures in folders by class."
Subject = Annotated[
    Path | None,
    Option(metavar="FOLDER", help="The model: noli's, or Stable Diffusion as diffusers keeps it. Default: a "
           "small one is trained on the pictures."),
]  # fmt: skip
Extractor = Annotated[
    Path | None,
    Option(metavar="FILE", hidden=True, help="Extractor of an earlier marking of this model, to use again."),
]


def mark_model(
    spec: Spec,
    pictures: Annotated[str, Argument(help=_PICTURES)],
    output: OutDir,
    key: KeyFile,
    model: Subject = None,
    name: Name = "",
    beacon: Beacon = False,
    beacon_delay: BeaconDelay = 10,
    beacon_file: BeaconFile = None,
    allow_network: Network = False,
    json: Json = False,
    settings: Settings = None,
    extractor: Extractor = None,
    config: Config = None,
    labels: Labels = None,
    run: RunDir = None,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
    *,
    method_options: dict[str, object],
) -> None:
    """Mark a text-to-image model with one method.

    With --beacon, the first call only commits; the same call again marks once the round is published.
    """
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    done = api.mark_model(
        pictures,
        output,
        spec.name,
        key=load_begun_key(key, output, run, passphrase_file),
        model=model,
        extractor=extractor,
        name=name,
        beacon=beacon,
        beacon_delay=beacon_delay,
        beacon_file=beacon_file,
        allow_network=allow_network,
        labels=labels,
        run=run,
        progress=out.progress(),
        config={**options.read_settings(settings or (), config), **method_options},
    )
    _show(out, done, key)


def _show(out: console.Output, done: ModelRun, key: Path) -> None:
    bits, decoys = done.commitments["bits"], done.commitments["decoys"]
    count = bits.protocol.parameters["bits"]
    secrets = f"a message of {count} bits, a trigger among {decoys.protocol.parameters['triggers']} strings"
    document, rows = told(done, bits, "message, trigger", secrets)
    document |= {"trigger_commitment": str(done.trigger_file), "trigger_commitment_sha256": decoys.digest}
    rows += [
        ("second one", str(done.trigger_file)),
        ("its SHA-256", decoys.digest),
        ("its claim", f"accuses wrongly with probability {decoys.protocol.alpha:g} at most, likewise"),
    ]
    if done.waiting:
        tell_waiting(out, done, document, rows)
        out.hint("Publish both commitments before the round.")
        return
    found, place = done.manifest.results, {"run": str(done.path), "output": done.output}
    shown: console.Rows = [
        ("marked", f"a model, with {done.manifest.method}; {found['pictures']:,} pictures were learned from"),
        ("output", done.output),
        ("run", f"{done.path} (for you only: it has the extractor)"),
    ]
    if "trigger" in found:
        shown += [
            ("with trigger", _read(found, "trigger")),
            ("without it", _read(found, "plain")),
            ("pictures", f"{done.sheet_file}: before, after, with the trigger"),
        ]
    out.result({**place, "results": found, **document}, console.grid([*shown, *rows]))
    if "trigger" in found and found["trigger"]["p"] > bits.protocol.alpha:
        out.warn(
            "the finished model does not show its message clearly enough for evidence: give it more "
            "--steps or a larger --set eta"
        )
    hint_next(out, done, key, "the model")
    out.hint("Publish both commitments. The second one is asked with noli detect ... --test decoys.")


def _read(found: dict[str, Any], name: str) -> str:
    from noli.report.certificate import number

    told = found[name]
    share, p = f"{100 * told['bits_right']:.1f} %", number(told["p"])
    return f"{share} of the bits are read right in {found['looked_at']} pictures (p {p})"
