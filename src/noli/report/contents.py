"""What a bundle holds, as its report lists it: members, sizes, digests; large folders in one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from noli.proof.records import sha256

_SHOWN = 12


@dataclass(frozen=True)
class Member:
    """One row.

    Attributes:
        name: Of the member; of a folder with many, ending in ``/``.
        size: Bytes, of a folder all together.
        digest: SHA-256, 64 hex digits; of a folder, that of its members' digests, joined in order.
        inside: The members of such a folder.
    """

    name: str
    size: int
    digest: str
    inside: tuple[Member, ...] = ()

    @property
    def short(self) -> str:
        """The first sixteen digits of the digest."""
        return self.digest[:16]

    @property
    def label(self) -> str:
        """The name, with the number of members."""
        return f"{self.name} ({len(self.inside):,} files)" if self.inside else self.name

    @property
    def amount(self) -> str:
        """The size for people."""
        return f"{self.size:,} bytes" if self.size < 10_000 else f"{self.size / 1000:,.0f} kB"


def contents(members: Mapping[str, bytes]) -> tuple[Member, ...]:
    """Return the rows of a bundle's members, in the order of their names."""
    rows = [Member(name, len(members[name]), sha256(members[name])) for name in sorted(members)]
    return tuple(_grouped(rows))


def _grouped(rows: list[Member]) -> Iterator[Member]:
    for folder, found in groupby(rows, key=lambda one: one.name.rpartition("/")[0]):
        inside = tuple(found)
        if not folder or len(inside) <= _SHOWN:
            yield from inside
            continue
        joined = sha256(*(bytes.fromhex(one.digest) for one in inside))
        yield Member(f"{folder}/", sum(one.size for one in inside), joined, inside)
