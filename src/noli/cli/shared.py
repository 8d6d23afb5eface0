"""Options that several commands have, and how key files and pass phrases reach a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Option
from typer.core import TyperCommand

from noli.core.errors import KeyFileError, UsageError

if TYPE_CHECKING:
    from noli.core.key import Key

PASSPHRASE = "NOLI_PASSPHRASE"  # noqa: S105 - the name of a variable, not a secret
_PASS_HELP = f"File with the key's passphrase (else {PASSPHRASE}, else a prompt)."
_FORMAT_HELP = "Lossless file format, or the source's own."
_METADATA_HELP = "EXIF, XMP, text and DICOM tags of the pictures."
_SETTING_HELP = "Any option of the method; may be repeated."

Json = Annotated[bool, Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, Option("--quiet", "-q", hidden=True, help="No progress and no hints.")]
OutDir = Annotated[str, Option("--output", "-o", help="Where the result goes: a new place.")]
KeyFile = Annotated[Path, Option(help="The owner's key file.")]
PassFile = Annotated[Path | None, Option(help=_PASS_HELP)]
RarePassFile = Annotated[Path | None, Option(hidden=True, help=_PASS_HELP)]
RunDir = Annotated[Path | None, Option(hidden=True, help="Run folder; default: beside the output.")]
Test = Annotated[
    str | None, Option(hidden=True, metavar="NAME", help="Of a mark with several tests, which one.")
]
Workers = Annotated[
    int | None,
    Option("--workers", "-j", metavar="N", min=1, hidden=True, help="Processes; default: all cores."),
]
Labels = Annotated[
    str | None, Option(metavar="COLUMN", hidden=True, help="Column with the class, in tables.")
]
Format = Annotated[Literal["png", "webp", "same"], Option(hidden=True, help=_FORMAT_HELP)]
Metadata = Annotated[Literal["keep", "strip"], Option(hidden=True, help=_METADATA_HELP)]
OnError = Annotated[Literal["fail", "skip"], Option(hidden=True, help="What to do with unreadable items.")]
Settings = Annotated[list[str] | None, Option("--set", metavar="NAME=VALUE", help=_SETTING_HELP)]
Config = Annotated[
    Path | None, Option(metavar="FILE.yaml", hidden=True, help="Options of the method from a file.")
]


class Brief(TyperCommand):
    """A command whose ``--help`` leaves rare options (``hidden=True``) out; ``--help-all`` shows all."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command."""
        rare = [option for option in self.params if getattr(option, "hidden", False)]
        if "--help-all" in args:
            args = ["--help"]
            for option in rare:
                option.hidden = False  # type: ignore[attr-defined]
        elif rare:
            self.epilog = "More options: --help-all"
        return super().parse_args(ctx, args)


def load_key(path: Path, passphrase_file: Path | None = None, key_id: str | None = None) -> Key:
    """Open a key file, asking for its passphrase only where a person can answer.

    Without `key_id` the active key of a rotated file is taken.

    Raises:
        KeyFileError: The file cannot be read, or needs a passphrase that was not given.
        WrongKey: The file holds no key with this id.
    """
    from noli.core.key import Key

    if key_id and any(e["id"] == key_id and e["state"] == "revoked" for e in Key.keyring(path)):
        raise KeyFileError(  # the key file itself could only advise to use another
            "The key that this data was made with was revoked.",
            where=f"{path}, key {key_id}",
            why="noli uses a revoked key for nothing, and no other key fits this data",
            fix="take a copy of the key file from before `noli key revoke` (to undo, your originals will do)",
        )
    return Key.load(path, passphrase=phrase_for(path, passphrase_file), key_id=key_id)


def load_begun_key(
    path: Path, output: str | Path, run: Path | None = None, passphrase_file: Path | None = None
) -> Key:
    """Open the key that goes on with an unfinished run of this output, else the active one.

    Raises:
        KeyFileError: The file cannot be read, or needs a passphrase that was not given.
    """
    from noli.engine.request import begun_id, folder_of

    return load_key(path, passphrase_file, begun_id(path, folder_of(run, output)))


def load_model_keys(folder: Path, path: Path, passphrase_file: Path | None = None) -> list[Key]:
    """Open the keys of all pairs of a keyed model by their ids.

    Raises:
        KeyFileError: The file cannot be read, needs a passphrase that was not given, or a key was revoked.
        WrongKey: The file does not hold the key of a pair.
        DataError: It is no whole keyed model.
    """
    from noli.zoo.keyed_folder import read_manifest

    ids = dict.fromkeys(pair.key_id for pair in read_manifest(folder).pairs)
    return [load_key(path, passphrase_file, one) for one in ids]


def load_marking_key(marked: str, path: Path, passphrase_file: Path | None = None) -> Key:
    """Open the key that marked data, also from a file to which another key was added since.

    Raises:
        UsageError: Nothing was marked there.
        KeyFileError: The file cannot be read, or needs a passphrase that was not given.
        WrongKey: The file does not hold the key.
    """
    from noli.api._mark import marking

    run, _ = marking(marked, waiting=True)
    made_with = run.manifest.key
    return load_key(path, passphrase_file, made_with.id if made_with else None)


def phrase_for(path: Path, file: Path | None = None) -> str | None:
    """Return the passphrase of a key file, or None when it has none."""
    from noli.core.key import Key

    wrapped = any(entry["passphrase"] for entry in Key.keyring(path))
    return passphrase(path, file) if wrapped else None


def passphrase(path: Path, file: Path | None = None, *, confirm: bool = False) -> str:
    """Return the passphrase from a file, the environment, or a prompt on a terminal.

    Raises:
        KeyFileError: There is none to be had.
        UsageError: The file cannot be read or is empty.
    """
    if file is not None:
        try:
            text = file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                "The passphrase file cannot be read.", where=str(file), why=str(error)
            ) from error
        if not text:
            raise UsageError("The passphrase file is empty.", where=str(file))
        return text
    if given := os.environ.get(PASSPHRASE):
        return given
    if not _on_a_terminal():
        fix = f"give --passphrase-file FILE or set {PASSPHRASE}"
        raise KeyFileError("The key needs a passphrase.", where=str(path), fix=fix)
    words = f"Passphrase for {path}"
    return str(typer.prompt(words, hide_input=True, confirmation_prompt=confirm, err=True))


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
