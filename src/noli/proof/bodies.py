"""What was sent and received, byte for byte, where an owner hands it over, named as the transcript does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from noli.proof.records import Damaged, sha256
from noli.proof.transcript import Entry

PREFIX = "bodies/"


def digests(entries: Sequence[Entry]) -> set[str]:
    """Return the digests of all bodies of a transcript."""
    return {one for entry in entries for one in (entry.request, entry.response) if one}


def check_bodies(found: Iterable[tuple[str, bytes]], entries: Sequence[Entry]) -> int:
    """Check that members are bodies of a transcript; return how many there are.

    Any of them may be left out. What an answer was taken from can be read in them, and is not read here.

    Raises:
        Damaged: One has other bytes than the transcript says, or is not in it.
    """
    known, count = digests(entries), 0
    for name, data in found:
        digest = name.removeprefix(PREFIX)
        if digest not in known:
            raise Damaged(f"{name} is no body of the transcript")
        if sha256(data) != digest:
            raise Damaged(f"{name} is not what was sent or received")
        count += 1
    return count
