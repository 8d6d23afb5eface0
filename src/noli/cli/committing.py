"""What all marks say about their commitment, and the options of a public round."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

from typer import Option

from noli.cli import console
from noli.proof.commitment import Commitment

Name = Annotated[str, Option(help="Who claims, in words; part of the commitment.")]
Beacon = Annotated[
    bool, Option("--beacon", help="Commit now; what is drawn follows from a later round of drand.")
]
BeaconDelay = Annotated[
    int, Option(metavar="MINUTES", min=1, hidden=True, help="From the first call to the beacon's round.")
]
BeaconFile = Annotated[
    Path | None, Option(metavar="FILE", hidden=True, help="The beacon's round, JSON as drand serves it.")
]
Network = Annotated[
    bool, Option("--allow-network", hidden=True, help="Fetch the beacon's round when it is there.")
]


class Marked(Protocol):
    """A run that marked something, or waits for its round."""

    waiting: bool

    @property
    def path(self) -> Path:
        """The run folder."""

    @property
    def output(self) -> str:
        """Where the marked copy lies, or will."""

    @property
    def commitment_file(self) -> Path:
        """Where the commitment lies."""

    @property
    def round_time(self) -> datetime | None:
        """When the round appears; None without one."""


def told(run: Marked, made: Commitment, drawn: str, secrets: str) -> tuple[dict[str, Any], console.Rows]:
    """Return what is said of a commitment, for machines and for people.

    Args:
        run: The run.
        made: Its commitment.
        drawn: What the round decides.
        secrets: How many there are, in words.
    """
    from noli.api._released import record_digest
    from noli.proof.times import said

    protocol = made.protocol
    document: dict[str, Any] = {
        "commitment": str(run.commitment_file),
        "commitment_sha256": made.digest,
        "owner": made.owner,
        "protocol": protocol.model_dump(mode="json"),
    }
    rows: console.Rows = [
        ("commitment", str(run.commitment_file)),
        ("its SHA-256", made.digest),
        ("public key", made.owner),
        ("secrets", secrets),
        ("claim", f"accuses wrongly with probability {protocol.alpha:g} at most, over all planned tests"),
    ]
    if protocol.beacon is not None and run.round_time is not None:
        number, when = protocol.beacon.round, run.round_time
        document |= {"waiting": run.waiting, "round": number, "round_time": when.isoformat()}
        rows.append((drawn, f"decided by round {number}, {said(when)}"))
    if record := record_digest(run.path):
        document["release_sha256"] = record
        rows.append(
            ("release, SHA-256", f"{record} (publish it before the data: it says which files these are)")
        )
    return document, rows


def tell_waiting(out: console.Output, run: Marked, document: dict[str, Any], rows: console.Rows) -> None:
    """Say that a commitment was made, and what to do until its round and then."""
    from noli.proof.beacon import URL
    from noli.proof.records import utc
    from noli.proof.times import said

    number, when = document["round"], said(utc(document["round_time"]))
    text = (
        f"Commitment made; nothing is marked yet. Round {number} appears at {when}. Publish the commitment "
        "before, or have it stamped; then give the same command again."
    )
    place = {"run": str(run.path), "output": run.output}
    out.result({**place, **document}, text, "", console.grid(rows))
    out.hint(
        f"Then add --allow-network, or save {URL}{number} and add --beacon-file FILE. One commitment, "
        "published where everybody sees that there is only one, is worth more than a stamp. Leave what is "
        "to be marked as it is until then."
    )


def hint_next(out: console.Output, run: Marked, key: Path, what: str) -> None:
    """Say what has to come before `what` is published, and how a suspect is asked later."""
    if run.round_time is None:
        out.hint(
            f"Publish the commitment, or have it time-stamped, BEFORE you publish {what}: a claim is worth "
            "nothing without proof that it came first. That you drew the secrets at random a checker has to "
            "believe; only --beacon would have shown it."
        )
    else:
        out.hint(
            "The commitment must have been published or stamped BEFORE the round: otherwise noli check calls "
            f"every claim untimely. Now publish {what}."
        )
    place, file = shlex.quote(run.output), shlex.quote(str(key))
    out.hint(f"Later: noli detect {place} --key {file} --endpoint SUSPECT.yaml -o proof.zip")
