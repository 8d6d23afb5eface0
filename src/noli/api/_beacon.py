"""The round of a beacon that decides classes: where it comes from, and where a run keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noli.core.errors import DataError, MissingPrerequisite, RunError, UsageError
from noli.core.manifest import ErrorInfo
from noli.core.run import Run
from noli.proof.beacon import URL, Beacon, fetch, read_served, round_time
from noli.proof.commitment import Commitment
from noli.proof.marks import WAITING
from noli.proof.protocol import BeaconPlan
from noli.proof.records import Damaged, now, utc
from noli.proof.times import said

PROOF, BEACON = "proof", "beacon.json"
LONGEST_DELAY = 366 * 24 * 60


@dataclass(frozen=True)
class Wanted:
    """How a call wants its beacon.

    Attributes:
        delay: Minutes between the commitment and the round.
        file: The round as drand serves it.
        allow_network: Whether it may be fetched.
    """

    delay: int
    file: Path | None = None
    allow_network: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.delay <= LONGEST_DELAY:
            fix = f"give 1 to {LONGEST_DELAY:,} minutes, enough to publish the commitment"
            raise UsageError(
                "The beacon cannot be waited for so long.", where=f"{self.delay} minutes", fix=fix
            )


def beacon_of(run: Run, commitment: Commitment) -> Beacon | None:
    """Return the round that decided the classes of a run, checked; None where there was no beacon.

    Raises:
        RunError: It is missing.
        DataError: It is another one, or damaged.
        MissingPrerequisite: py_ecc is not installed.
    """
    plan = commitment.protocol.beacon
    if plan is None:
        return None
    file = run.path / PROOF / BEACON
    if not file.is_file():
        raise RunError(
            "The beacon's round is missing.",
            where=str(file),
            why=f"round {plan.round} decided the classes of the secrets",
            fix="give the same noli mark command again, with --beacon-file or --allow-network",
        )
    return stored(file, plan)


def stored(file: Path, plan: BeaconPlan) -> Beacon:
    """Read the round that a run keeps, and check it.

    Raises:
        DataError: It is another one, or damaged.
        MissingPrerequisite: py_ecc is not installed.
    """
    try:
        found = Beacon.read(file.read_bytes(), file.name)
        found.check(plan)
    except Damaged as error:
        fix = "remove it, and give the noli mark command again with --beacon-file or --allow-network"
        raise DataError(
            "The stored round cannot be used.", where=str(file), why=str(error), fix=fix
        ) from error
    return found


def had(plan: BeaconPlan, wanted: Wanted) -> Beacon | None:
    """Return the planned round, checked, from where this call may take it; None while it is not published.

    Raises:
        UsageError: The file cannot be read.
        DataError: It is another round, or the service does not answer.
        MissingPrerequisite: It is published, and there is neither a file nor leave to fetch it.
    """
    where = str(wanted.file or f"{URL}{plan.round}")
    try:
        early = round_time(plan.round) > utc(now())
        # A file that holds the signature counts whatever this machine's clock says.
        if wanted.file is not None and (wanted.file.exists() or not early):
            found = read_served(wanted.file.read_bytes())
            found.check(plan)
            return found
        if early:
            return None
        if wanted.allow_network:
            return fetch(plan)
    except OSError as error:
        why, fix = error.strerror or str(error), f"save {URL}{plan.round} there"
        raise UsageError("The round cannot be read.", where=where, why=why, fix=fix) from error
    except Damaged as error:
        fix = f"give what drand serves at {URL}{plan.round}"
        raise DataError("This is not the planned round.", where=where, why=str(error), fix=fix) from error
    raise MissingPrerequisite(
        "The round is published, and noli has not got it.",
        where=f"round {plan.round}, {said(round_time(plan.round))}",
        fix=f"save {URL}{plan.round} and add --beacon-file FILE, or add --allow-network",
    )


def waiting(plan: BeaconPlan, nothing: str, drawn: str) -> ErrorInfo:
    """Return why a run that has committed does not go on.

    Args:
        plan: The round.
        nothing: What is not marked yet.
        drawn: What the round decides.
    """
    return ErrorInfo(
        type=WAITING,
        what=f"The commitment is made, and {nothing} is marked yet.",
        why=f"round {plan.round} of the beacon decides {drawn}; it appears at {said(round_time(plan.round))}",
        fix="publish the commitment before, or have it stamped; then give the same command again",
    )


def begun_without(run: Run, drawn: str) -> UsageError:
    """Return why a run cannot get a round that it was begun without."""
    return UsageError(
        "The run was begun without a beacon.",
        where=str(run.path),
        why=f"its {drawn} follow from the key alone",
        fix="leave --beacon out to go on, or mark into a new output",
    )
