"""``noli lock seal`` and what belongs to it: sealed files, licences, revocations, opening in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from noli.cli import console
from noli.cli.shared import Json, KeyFile, PassFile, Quiet, RarePassFile, load_key, phrase_for

HELP = {
    "seal": "Encrypt a model file (AES-256-GCM), so that only a licence opens it.",
    "licence": "Write a licence for a sealed file: its key, wrapped for one customer.",
    "revoke": "Add licences to a signed list of revocations.",
    "open": "Open a sealed file in memory, and say what is in it.",
    "recipient": "Print what a customer sends to the owner to get licences.",
}
_LIMIT = (
    "Sealing is encryption: without a licence the file is of no use. Who can open it can copy what is "
    "inside, and an end or a revocation binds honest software only."
)
Sealed = Annotated[Path, Argument(metavar="SEALED", help="The sealed file.")]
New = Annotated[Path, Option("--output", "-o", metavar="FILE", help="A new file.")]


def seal(
    model: Annotated[Path, Argument(help="A safetensors file, or the folder that noli lock detector wrote.")],
    output: New,
    key: KeyFile,
    label: Annotated[str, Option(help="A public note, for example for whom it is.")] = "",
    json: Json = False,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Encrypt a model file under a content key of its own."""
    from noli import api

    out = console.Output(json=json, quiet=quiet)
    out.hint(_LIMIT)
    made = api.seal(model, output, key=load_key(key, passphrase_file), label=label)
    rows: console.Rows = [
        ("sealed", f"{made.size:,} bytes, {made.kind}"),
        ("output", str(output)),
        ("name", made.seal_id),
        ("owner", made.owner),
    ]
    out.result({"output": str(output), **made.model_dump(mode="json")}, console.grid(rows))
    out.hint(
        "One sealed file per customer: then every customer has weights of his own. Next: noli lock licence"
    )


def licence(
    sealed: Sealed,
    output: New,
    key: KeyFile,
    to: Annotated[
        str, Option(metavar="noli1:...", help="What noli lock recipient prints at the customer's.")
    ],
    customer: Annotated[str, Option(help="Who that is; public.")] = "",
    until: Annotated[
        str | None, Option(metavar="TIME", help="When it ends, such as 2030-01-31; default: never.")
    ] = None,
    json: Json = False,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Write a licence for a sealed file."""
    from noli import api
    from noli.api._seal import sealed_header

    out = console.Output(json=json, quiet=quiet)
    owner = load_key(key, passphrase_file, sealed_header(sealed).owner_id)
    made = api.licence(sealed, output, key=owner, to=to, customer=customer, until=until)
    rows: console.Rows = [
        ("licence", made.licence_id),
        ("customer", made.customer or made.recipient[:16]),
        ("ends", made.expires or "never"),
        ("output", str(output)),
    ]
    document = {name: getattr(made, name) for name in ("licence_id", "seal_id", "customer", "expires")}
    out.result({"output": str(output), **document}, console.grid(rows))
    out.hint(_LIMIT)


def revoke(
    ids: Annotated[list[str], Argument(metavar="LICENCE...", help="Ids of licences, or their files.")],
    output: Annotated[Path, Option("--output", "-o", metavar="FILE", help="The list; made or added to.")],
    key: KeyFile,
    key_id: Annotated[
        str | None,
        Option(metavar="ID", hidden=True, help="Which key of the file; default: the list's or licences'."),
    ] = None,
    json: Json = False,
    passphrase_file: RarePassFile = None,
) -> None:
    """Add licences to a signed list, which is given to customers."""
    from noli import api
    from noli.api._seal import revoking_key

    out = console.Output(json=json)
    out.hint(_LIMIT)
    if key_id:
        owner = load_key(key, passphrase_file, key_id)
    else:
        owner = revoking_key(output, key, phrase_for(key, passphrase_file), ids)
    made = api.revoke_licences(output, ids, key=owner)
    rows: console.Rows = [("list", f"{output}, number {made.number}"), ("revoked", ", ".join(made.licences))]
    told = {"output": str(output), "number": made.number, "licences": list(made.licences)}
    out.result(told, console.grid(rows))


def open_(
    sealed: Sealed,
    key: Annotated[Path, Option(help="The customer's key file.")],
    licence: Annotated[Path, Option(metavar="FILE", help="The licence.")],
    revocations: Annotated[Path | None, Option(metavar="FILE", help="The owner's list.")] = None,
    log: Annotated[Path | None, Option(metavar="FILE", help="Where openings are noted.")] = None,
    owner: Annotated[
        str | None,
        Option(metavar="HEX", help="Refuse files of others: the owner's public key, 16 to 64 digits."),
    ] = None,
    json: Json = False,
    passphrase_file: RarePassFile = None,
    quiet: Quiet = False,
) -> None:
    """Open a sealed file in memory and say what is in it; no weights are written."""
    from noli import api
    from noli.api._seal import opening_key

    out = console.Output(json=json, quiet=quiet)
    out.hint(_LIMIT)
    customer = opening_key(licence, key, phrase_for(key, passphrase_file))
    opened = api.open_sealed(sealed, licence, key=customer, revocations=revocations, log=log, owner=owner)
    header = opened.header
    rows: console.Rows = [
        ("opened", f"{header.size:,} bytes, {header.kind}"),
        ("owner", f"{header.owner[:16]}, by its licence"),
        ("licence", f"{opened.licence.licence_id}, ends {opened.licence.expires or 'never'}"),
    ]
    told: dict[str, Any] = {"kind": header.kind, "size": header.size, "owner": header.owner}
    told |= {"licence_id": opened.licence.licence_id}
    if header.kind == "locked-detector":
        model = api.opened_detector(opened)
        rows += [("detector", f"{model.arch}, {len(model.class_names)} classes, unlocked in memory")]
        told |= {"arch": model.arch, "classes": list(model.class_names), "weights": model.weight_hash()}
    out.result(told, console.grid(rows))
    if revocations is None:
        out.hint("Revocations were not looked at: give the owner's list with --revocations.")


def recipient(
    key: Annotated[Path, Argument(help="The customer's key file.")],
    passphrase_file: PassFile = None,
    json: Json = False,
) -> None:
    """Print the public half of a customer's key; it reveals nothing about the key."""
    from noli import api

    value = api.recipient(load_key(key, passphrase_file))
    console.Output(json=json).result({"recipient": value}, value)


COMMANDS: Mapping[str, Callable[..., None]] = {
    "seal": seal,
    "licence": licence,
    "revoke": revoke,
    "open": open_,
    "recipient": recipient,
}
