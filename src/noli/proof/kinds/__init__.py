"""Kinds of secret assignment: how it follows from a secret, and the exact law of its statistic by chance.

All of them share one null hypothesis: what the suspect answered does not depend on the assignment. Then the
assignment is uniform given the answers, whatever the suspect is, and its own randomness gives the law.
Queries without an answer count as the worst that they could have been, because only the owner says that
there was none.
"""

from __future__ import annotations

from noli.proof.kinds.base import Answer, Kind, Seen
from noli.proof.kinds.hits import Choices, Labels
from noli.proof.kinds.pictures import Bits, Decoys
from noli.proof.kinds.texts import Texts
from noli.proof.protocol import Protocol, TestName

__all__ = ["KINDS", "Answer", "Kind", "Seen", "kind"]

KINDS: dict[TestName, type[Kind]] = {
    "labels": Labels,
    "choices": Choices,
    "texts": Texts,
    "bits": Bits,
    "decoys": Decoys,
}


def kind(protocol: Protocol, paid: float | None = None) -> Kind:
    """Return the test of a protocol.

    Args:
        protocol: The claim.
        paid: What this test has to pay (:func:`noli.proof.ledger.paid`), which decides when a sequence has
            enough evidence; None: what the planned ones pay.

    Raises:
        Damaged: The protocol's parameters are not those of its test.
    """
    return KINDS[protocol.test](protocol, paid)
