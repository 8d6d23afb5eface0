"""Public randomness: rounds of drand's quicknet, a threshold BLS signature every three seconds.

A round's signature cannot be known before its time, so that an owner who committed earlier cannot have
chosen secrets for what it makes of them. Checked offline with the chain's public key (drand "quicknet":
unchained, signatures on G1 of BLS12-381, RFC 9380 hash to curve).
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field

from noli.core import foreign
from noli.core.errors import DataError, MissingPrerequisite
from noli.proof.protocol import BeaconPlan
from noli.proof.records import Damaged, Digest, Record, sha256

CHAIN = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
PUBLIC_KEY = (
    "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
    "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
    "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
)
GENESIS, PERIOD = 1692803367, 3
URL = f"https://api.drand.sh/{CHAIN}/public/"
_DEPTH = 100_000  # what py_ecc wants
_DOMAIN = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"


class Beacon(Record):
    """One round.

    Attributes:
        round: Its number.
        randomness: SHA-256 of the signature, 32 bytes in hex: the value that assignments use.
        signature: The chain's signature, 48 bytes in hex.
    """

    round: Annotated[int, Field(ge=1, lt=2**40)]
    randomness: Digest
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")]

    @property
    def time(self) -> datetime:
        """When the round was published."""
        return round_time(self.round)

    def check(self, plan: BeaconPlan) -> None:
        """Check that this is the planned round, signed by the chain.

        Raises:
            Damaged: It is not.
            MissingPrerequisite: py_ecc, which checks the signature, is not installed.
        """
        if self.round != plan.round:
            raise Damaged(f"the beacon is round {self.round}, and round {plan.round} was planned")
        if hashlib.sha256(bytes.fromhex(self.signature)).hexdigest() != self.randomness:
            raise Damaged("the beacon's randomness does not follow from its signature")
        require()
        if not _signed(self.round, bytes.fromhex(self.signature)):
            raise Damaged(f"the beacon's round {self.round} is not signed by the chain")


def round_time(number: int) -> datetime:
    """Return when a round is published."""
    return datetime.fromtimestamp(GENESIS + (number - 1) * PERIOD, UTC)


def round_after(moment: datetime) -> int:
    """Return the first round that is published after a time."""
    return max(1, int((moment.timestamp() - GENESIS) // PERIOD) + 2)


def read_served(data: bytes) -> Beacon:
    """Read a round as drand serves it; nothing is checked yet.

    Raises:
        Damaged: It is none.
    """
    try:
        found = foreign.loads(data)
        signature = str(found["signature"])
        # Some of drand's services leave out what follows from the signature.
        randomness = found.get("randomness") or sha256(bytes.fromhex(signature))
        return Beacon(round=found["round"], randomness=randomness, signature=signature)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"it is no round as drand serves it ({type(error).__name__})") from error


def fetch(plan: BeaconPlan) -> Beacon:
    """Fetch the planned round from drand's public service (network).

    Raises:
        DataError: It is not published yet, or the service does not answer.
        Damaged: What it answered is not that round.
    """
    import httpx

    try:
        beacon = read_served(httpx.get(f"{URL}{plan.round}", timeout=20).raise_for_status().content)
    except (httpx.HTTPError, Damaged) as error:
        raise DataError(
            "The beacon's round could not be fetched.",
            where=f"round {plan.round}, published {round_time(plan.round).isoformat()}",
            why=str(error) or type(error).__name__,
            fix="try again after that time, or save the round's JSON and name the file",
        ) from error
    beacon.check(plan)
    return beacon


def require() -> None:
    """Make sure that signatures of rounds can be checked.

    Raises:
        MissingPrerequisite: py_ecc is not installed.
    """
    if importlib.util.find_spec("py_ecc") is None:
        raise MissingPrerequisite(
            "The beacon's signature cannot be checked.",
            why="py_ecc is not installed",
            fix='pip install "noli[timestamps]"',
        )


@contextmanager
def _recursion_limit_kept() -> Iterator[None]:
    """Give py_ecc the recursion limit that it sets when it is first imported, and take it back afterwards.

    With that limit, JSON that a stranger nests deeply ends the process instead of raising RecursionError.
    """
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(max(before, _DEPTH))
        yield
    finally:
        sys.setrecursionlimit(before)


@lru_cache(maxsize=8)  # a pairing takes a second, and one call may check a round more than once
@_recursion_limit_kept()
def _signed(number: int, signature: bytes) -> bool:
    from py_ecc.bls import point_compression
    from py_ecc.bls.g2_primitives import subgroup_check
    from py_ecc.bls.hash_to_curve import hash_to_G1
    from py_ecc.optimized_bls12_381 import G2, pairing

    digest = hashlib.sha256(number.to_bytes(8)).digest()
    key = bytes.fromhex(PUBLIC_KEY)
    try:
        point: Any = point_compression.decompress_G1(int.from_bytes(signature))
        owner: Any = point_compression.decompress_G2((int.from_bytes(key[:48]), int.from_bytes(key[48:])))
    except ValueError:
        return False
    message = hash_to_G1(digest, _DOMAIN, hashlib.sha256)
    return bool(subgroup_check(point)) and bool(pairing(G2, point) == pairing(owner, message))
