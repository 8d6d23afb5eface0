"""``noli t2ue``: what comes before ``noli protect t2ue``; neither step sees the pictures to be protected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Brief, Config, Json, KeyFile, PassFile, Quiet, Settings, load_key
from noli.core.errors import UsageError

GROUP = typer.Typer(
    help="Noise from texts: train a generator, make noise for prompts; `noli protect t2ue` adds it.",
    no_args_is_help=True,
)
_SURROGATE_HELP = "What judges the noise: aligned, a CLIP folder, or tiny, small, resnet9 (trained first)."


@GROUP.command(cls=Brief)
def train(
    captioned: Annotated[str, Argument(help="Captioned pictures: folder with metadata.csv, CSV, Parquet.")],
    output: Annotated[Path, Option("--output", "-o", help="The generator's file: a new .safetensors.")],
    surrogate: Annotated[str | None, Option(help=_SURROGATE_HELP)] = None,
    text: Annotated[str | None, Option(help="Text encoder: all-MiniLM-L6-v2, words, or a folder.")] = None,
    epochs: Annotated[str | None, Option(help="Passes over the pictures.")] = None,
    time: Annotated[str | None, Option(help="Budget (90s, 10m), after which it is used as it is.")] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Train a generator once, on captioned pictures that need not be yours."""
    from noli import options
    from noli.api import t2ue

    out = console.Output(json=json, quiet=quiet)
    flags = {"surrogate": surrogate, "text": text, "epochs": epochs, "time": time}
    given = {name: value for name, value in flags.items() if value is not None}
    read = options.read_settings(settings or (), config)
    reached = t2ue.train(captioned, output, progress=out.progress(), config={**read, **given})
    rows: console.Rows = [("generator", str(output))]
    rows += [(name, f"{value:,.4g}") for name, value in reached.items()]
    out.result({"generator": str(output), **reached}, console.grid(rows))
    out.hint(f"Next: noli t2ue generate --prompts FILE --key owner.key --generator {output} -o noise")


@GROUP.command(cls=Brief)
def generate(
    generator: Annotated[Path, Option(help="File of a trained generator.")],
    key: KeyFile,
    output: Annotated[Path, Option("--output", "-o", help="Where the noise goes: a new folder.")],
    prompt: Annotated[list[str] | None, Option(help="A text; may be repeated.")] = None,
    prompts: Annotated[Path | None, Option(help="Text file with one prompt a line.")] = None,
    variants: Annotated[int, Option(min=1, help="Different noises per prompt.")] = 1,
    passphrase_file: PassFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make noise for texts; there is no argument for a picture."""
    from noli.api import t2ue

    out = console.Output(json=json, quiet=quiet)
    texts = [*(prompt or ()), *(_lines(prompts) if prompts else ())]
    call: dict[str, Any] = {"variants": variants, "progress": out.progress()}
    made = t2ue.generate(texts, load_key(key, passphrase_file), generator, output, **call)
    words = f"{len(made):,} pieces of noise of {made.shape[1]} x {made.shape[2]} pixels in {output}"
    out.result({"noise": str(output), "pieces": len(made), "side": made.shape[1]}, words)
    out.hint(f"Next: noli protect t2ue DATA -o OUT --key {key} --store {output}")


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fix = "give a text file in UTF-8 with one prompt a line"
        raise UsageError("The prompts cannot be read.", where=str(file), why=str(error), fix=fix) from error
    return [line.strip() for line in lines if line.strip()]
