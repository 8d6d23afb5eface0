"""The transcript of all queries: every entry carries the hash of the one before it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from noli.core.files import atomic_write
from noli.proof import chain
from noli.proof.chain import START, Link
from noli.proof.kinds import Seen
from noli.proof.records import Damaged, Digest, Moment, sha256


class Entry(Link):
    """One query and what came back. The first one's `previous` names who is asked (:class:`Suspect`).

    Attributes:
        item, part: Which secret, and which of its queries.
        content: SHA-256 of what was asked, as committed.
        time: When, by the verifier's clock.
        status: ``answered``; ``refused`` by the service; ``failed`` on the way.
        answer: What counts of the answer: class names, a score, bits.
        request, response: SHA-256 of the bodies; empty where there was none.
        seconds, attempts: Latency of the last attempt, and how many there were.
        certificate: SHA-256 of the server's TLS certificate; empty without TLS.
        reason: Why there is no answer.
    """

    item: Annotated[int, Field(ge=0)]
    part: Annotated[int, Field(ge=0)] = 0
    content: Digest
    time: Moment
    status: Literal["answered", "refused", "failed"]
    answer: tuple[str | float, ...] = ()
    request: str = ""
    response: str = ""
    seconds: float = 0.0
    attempts: int = 1
    certificate: str = ""
    reason: str = ""


class Transcript:
    """Entries in order; with a file, each is on the disk before the next query is made.

    Args:
        file: Where the entries are kept, one per line; those in it are taken over, so that a killed run
            goes on after the last whole entry.
        start: Digest of who is asked; None takes whoever a file is about.

    Raises:
        Damaged: The file is damaged, or about somebody else.
    """

    def __init__(self, file: Path | None = None, start: str | None = START) -> None:
        self._file, self._start = file, start or START
        self.entries: list[Entry] = []
        if file is not None and file.is_file():
            data = file.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]  # a kill may have torn the last line
            self.entries = chain.read(Entry, whole, str(file), start)
            if whole != data:
                atomic_write(file, whole)

    def add(self, **fields: object) -> Entry:
        """Append an entry; number and chain are filled in."""
        entry = Entry.model_validate({**fields, "number": len(self.entries), "previous": self.head})
        if self._file is not None:
            with self._file.open("ab") as handle:
                handle.write(entry.canonical() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
        self.entries.append(entry)
        return entry

    def lines(self) -> bytes:
        """Return the stored form."""
        return chain.lines(self.entries)

    @property
    def head(self) -> str:
        """Digest of the last entry, which fixes all of them."""
        return chain.head(self.entries, self._start)


def observed(entries: Sequence[Entry], queries: int) -> Iterator[Seen]:
    """Return what came back per secret, which must have been used from the first on, each of its parts once.

    Args:
        entries: The transcript.
        queries: Queries per secret.

    Raises:
        Damaged: A secret was left out, asked twice, or asked out of order.
    """
    if len(entries) % queries:
        raise Damaged(f"the last secret was asked {len(entries) % queries} of {queries} queries")
    for start in range(0, len(entries), queries):
        group = entries[start : start + queries]
        for part, entry in enumerate(group):
            if (entry.item, entry.part) != (start // queries, part):
                wanted = f"secret {start // queries}, query {part}"
                raise Damaged(
                    f"the transcript leaves out or repeats a query: {wanted} is not where it belongs"
                )
        yield Seen(tuple(entry.answer if entry.status == "answered" else None for entry in group))


def content_of(data: bytes) -> str:
    """Return the digest by which a query is committed."""
    return sha256(b"noli/content/v1", data)
