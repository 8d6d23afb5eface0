"""What a checker brings along, and what of a claim rests on its owner's word alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from cryptography import x509

from noli.core.errors import UsageError
from noli.core.plugins import did_you_mean
from noli.proof.claim import Suspect
from noli.proof.protocol import Protocol
from noli.proof.times import TimeProof, said

Word = Literal["clock", "draw", "age", "labels"]
WORDS: tuple[Word, ...] = get_args(Word)
_DRAW = (
    "Only the owner says that the secrets were drawn at random: no public randomness took part, and secrets "
    "can be tried until they fit what models answer anyway."
)
_LABELS = (
    "Only the owner says what the suspect's classes are called in his data, and nothing shows that he said "
    "so before he saw the answers."
)


@dataclass(frozen=True)
class Trust:
    """What a checker brings along.

    Attributes:
        roots: Certificates of time-stamping authorities.
        seen: Times at which the checker saw the published commitment.
        suspect_since: Since when the suspect exists, if the checker knows; else what the bundle says.
        owner: Public key that the owner must have; None: any.
        believe: What the checker takes on the owner's word: ``clock``, when the commitment was made;
            ``draw``, that the secrets were drawn at random; ``age``, since when the suspect exists;
            ``labels``, the label map.
    """

    roots: Sequence[x509.Certificate] = ()
    seen: Sequence[TimeProof] = ()
    suspect_since: datetime | None = None
    owner: str | None = None
    believe: frozenset[Word] = frozenset()


NOBODY = Trust()


@dataclass(frozen=True)
class Resting:
    """A part of a claim for which nothing but its owner's word stands.

    Attributes:
        word: Which one, as ``believe`` calls it.
        why: In a sentence.
    """

    word: Word
    why: str


def resting(protocol: Protocol, suspect: Suspect, told: datetime | None) -> list[Resting]:
    """Return what of a claim rests on its owner's word, believed or not.

    With a beacon neither the draw nor the suspect's age does: whoever committed before its round could not
    choose the assignments, for this model or for any.

    Args:
        protocol: The committed claim.
        suspect: Who was asked, as the claim has it.
        told: Since when the suspect exists, if only the owner says so.
    """
    found = []
    if protocol.beacon is None:
        found.append(Resting("draw", _DRAW))
        if told is not None:
            why = f"Only the owner says that the suspect is not older than {said(told)}."
            found.append(Resting("age", why))
    # A map that is the identity for some classes leaves the answers of the others out.
    same = {name: (name,) for name in protocol.parameters.get("classes", ())}
    if suspect.label_map and suspect.label_map != same:
        found.append(Resting("labels", _LABELS))
    return found


def words(given: Sequence[str]) -> frozenset[Word]:
    """Return what a user believes.

    Raises:
        UsageError: There is no such thing to believe.
    """
    for one in given:
        if one not in WORDS:
            what = "This is nothing that an owner says."
            raise UsageError(what, where=f"believe {one}", fix=did_you_mean(one, WORDS))
    return frozenset(word for word in WORDS if word in given)
