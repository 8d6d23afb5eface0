"""Options that several commands have, and how key files and pass phrases reach a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noli.core.errors import KeyFileError, UsageError

if TYPE_CHECKING:
    from noli.core.key import Key

PASSPHRASE = "NOLI_PASSPHRASE"  # noqa: S105 - the name of a variable, not a secret
METHOD, OUTPUT, RUN = "Method options", "Output", "Run"

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints.")]
OutDir = Annotated[str, typer.Option("--output", "-o", help="Where the result goes: a new place.")]
KeyFile = Annotated[Path, typer.Option("--key", help="The owner's key file.")]
PassFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help=f"File with the key's passphrase (else {PASSPHRASE}, else a prompt)."
    ),
]
RunDir = Annotated[
    Path | None, typer.Option("--run", help="Run folder; default: beside the output.", rich_help_panel=RUN)
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-j", min=1, help="Processes; default: all cores.", rich_help_panel=RUN),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels", metavar="COLUMN", help="Column with the class, for table layouts.", rich_help_panel=OUTPUT
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any option of the method; may be repeated."),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yaml", help="Options of the method from a file.")
]


def load_key(path: Path, passphrase_file: Path | None = None, key_id: str | None = None) -> Key:
    """Open a key file, asking for its passphrase only where a person can answer.

    Args:
        path: The key file.
        passphrase_file: Where its passphrase lies.
        key_id: Which key of a rotated file; the active one by default.

    Raises:
        KeyFileError: The file cannot be read, or needs a passphrase that was not given.
        WrongKey: The file holds no key with this id.
    """
    from noli.core.key import Key

    _refuse_revoked(path, key_id)
    return Key.load(path, passphrase=phrase_for(path, passphrase_file), key_id=key_id)


def _refuse_revoked(path: Path, key_id: str | None) -> None:
    """Say that a needed key was revoked; the key file itself could only advise to use another."""
    from noli.core.key import Key

    if key_id and any(e["id"] == key_id and e["state"] == "revoked" for e in Key.keyring(path)):
        raise KeyFileError(
            "The key that protected this data was revoked.",
            where=f"{path}, key {key_id}",
            why="noli uses a revoked key for nothing, and no other key can undo this data",
            fix="take a copy of the key file from before `noli key revoke`, or go back to your originals",
        )


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
    if os.environ.get(PASSPHRASE):
        return os.environ[PASSPHRASE]
    if _on_a_terminal():
        answer: str = typer.prompt(
            f"Passphrase for {path}", hide_input=True, confirmation_prompt=confirm, err=True
        )
        return answer
    raise KeyFileError(
        "The key needs a passphrase.", where=str(path), fix=f"give --passphrase-file FILE or set {PASSPHRASE}"
    )


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
