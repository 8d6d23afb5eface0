"""Records in a chain: each names its place and the digest of the one before.

Who knows the last digest from elsewhere knows that none was changed or left out; without it, all
can be written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import Field

from noli.proof.records import Damaged, Digest, Record

START = "0" * 64


class Link(Record):
    """One record of a chain.

    Attributes:
        number: Its place, from 0.
        previous: Digest of the one before; of the first, what the chain starts from.
    """

    number: Annotated[int, Field(ge=0)]
    previous: Digest


L = TypeVar("L", bound=Link)


def read(kind: type[L], data: bytes, where: str, start: str | None = START) -> list[L]:
    """Read stored records, one per line, and follow their chain.

    Args:
        kind: Class of the records.
        data: The stored form.
        where: What they are, for messages.
        start: What the chain starts from; None takes whatever the first record names.

    Raises:
        Damaged: A record is unreadable, missing, out of order, or not the one its successor names.
    """
    if data and not data.endswith(b"\n"):
        raise Damaged(f"{where} ends in the middle of a line")
    found: list[L] = []
    for number, line in enumerate(data.split(b"\n")[:-1]):
        record = kind.read(line, f"{where}, line {number + 1}")
        previous = found[-1].digest if found else (record.previous if start is None else start)
        if record.number != number or record.previous != previous:
            raise Damaged(f"{where}, line {number + 1} does not follow the line before it")
        found.append(record)
    return found


def lines(records: Sequence[Link]) -> bytes:
    """Return the stored form."""
    return b"".join(record.canonical() + b"\n" for record in records)


def head(records: Sequence[Link], start: str = START) -> str:
    """Return the digest of the last record, which fixes all of them."""
    return records[-1].digest if records else start
