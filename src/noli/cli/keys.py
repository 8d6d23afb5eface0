"""``noli key``: make, show, publish and replace the owner's key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json, PassFile, load_key, passphrase, phrase_for

if TYPE_CHECKING:
    from noli.core.key import Key

KeyPath = Annotated[Path, Argument(help="The key file.")]


GROUP = typer.Typer(help="Make, show, publish and replace the owner's key.", no_args_is_help=True)


@GROUP.command()
def new(
    path: KeyPath,
    label: Annotated[str, Option(help="A public note, for example the owner's name.")] = "",
    protect: Annotated[bool, Option("--passphrase", help="Protect the file with one (asked for).")] = False,
    passphrase_file: PassFile = None,
    json: Json = False,
) -> None:
    """Make a new 256-bit key in a file that only its owner can read."""
    from noli.core.key import Key

    phrase = passphrase(path, passphrase_file, confirm=True) if protect or passphrase_file else None
    key = Key.new(path, label=label, passphrase=phrase)
    out = console.Output(json=json)
    _public(out, key, path)
    out.hint("Keep a copy of the file in a safe place: without it nothing can be undone or proven.")
    out.hint("Publish the commitment (not the file) before you release protected data.")


@GROUP.command()
def commit(path: KeyPath, passphrase_file: PassFile = None, json: Json = False) -> None:
    """Print the commitment to publish before a release; it reveals nothing about the key."""
    value = load_key(path, passphrase_file).commit()
    console.Output(json=json).result({"commitment": value}, value)


@GROUP.command()
def show(
    path: KeyPath,
    public: Annotated[bool, Option("--public", help="For clarity: nothing else is ever shown.")] = True,
    json: Json = False,
) -> None:
    """Show what may be published of every key in the file; needs no passphrase."""
    from noli.core.key import Key

    ring = Key.keyring(path)
    rows: console.Rows = []
    for entry in ring:
        rows += [
            ("id", f"{entry['id']}, {entry['state']}"),
            ("commitment", str(entry["commitment"])),
            ("created", str(entry["created"])),
            ("label", str(entry["label"] or "-")),
        ]
    console.Output(json=json).result(
        {"file": str(path), "keys": [dict(entry) for entry in ring]}, console.grid(rows)
    )


@GROUP.command()
def rotate(path: KeyPath, passphrase_file: PassFile = None, json: Json = False) -> None:
    """Add a fresh key to the file; the old one can still undo, but protects nothing new."""
    from noli.core.key import Key

    key = Key.rotate(path, passphrase=phrase_for(path, passphrase_file))
    out = console.Output(json=json)
    _public(out, key, path)
    out.hint("Data protected with the older key can still be undone with this file.")


@GROUP.command()
def revoke(
    path: KeyPath, key_id: Annotated[str, Argument(help="Id of the key to revoke.")], json: Json = False
) -> None:
    """Mark one key of the file as revoked: it stays in the file and is refused from now on."""
    from noli.core.key import Key

    Key.revoke(path, key_id)
    out = console.Output(json=json)
    out.result({"revoked": key_id}, f"Revoked {key_id} in {path}.")
    out.hint("This file can no longer undo or prove anything with it; a copy from before can.")


def _public(out: console.Output, key: Key, path: Path) -> None:
    facts = key.public()
    rows = [("key file", str(path)), ("id", facts["id"]), ("commitment", facts["commitment"])]
    out.result({"file": str(path), **facts}, console.grid(rows))
