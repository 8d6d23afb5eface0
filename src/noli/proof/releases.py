"""Texts of which one of several variants is released: passages, their variants, and the claim over them.

A passage has places with a few acceptable words each. Its variants are fixed by the owner's key; which of
them is released is drawn from the passage's secret. However the variants were made, under the null the
released one is uniform among them, and that is all a test needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from noli.core.key import Key
from noli.proof.commitment import Vault, item_key
from noli.proof.kinds import kind
from noli.proof.protocol import BeaconPlan, Protocol
from noli.proof.records import canonical, sha256
from noli.proof.transcript import content_of

Ask = Literal["scores", "choice", "cloze"]
_NULL = "The model's answers do not depend on which variants were drawn for release."
_CLAIM = "The model was trained on the owner's texts as they were released."


@dataclass(frozen=True)
class Place:
    """Where a word may vary.

    Attributes:
        start, end: Characters of the passage.
        words: What may stand there, at least two.
    """

    start: int
    end: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class Passage:
    """A stretch of text with at least one place.

    Attributes:
        text: As it was before.
        places: In order, not overlapping.
    """

    text: str
    places: tuple[Place, ...]

    @property
    def id(self) -> str:
        """Digest of the text and what may vary in it."""
        places = [[one.start, one.end, list(one.words)] for one in self.places]
        return sha256(canonical([self.text, places]))

    def rendered(self, picks: Sequence[int]) -> str:
        """Return the text with a word picked for every place."""
        parts, last = [], 0
        for place, pick in zip(self.places, picks, strict=True):
            parts += [self.text[last : place.start], place.words[pick]]
            last = place.end
        return "".join([*parts, self.text[last:]])

    def spans(self, picks: Sequence[int]) -> list[tuple[int, int]]:
        """Return where the picked words stand in the rendered text."""
        found, shift = [], 0
        for place, pick in zip(self.places, picks, strict=True):
            start, word = place.start + shift, place.words[pick]
            found.append((start, start + len(word)))
            shift += len(word) - (place.end - place.start)
        return found


def variants(passage: Passage, key: Key, count: int) -> list[tuple[int, ...]]:
    """Return the picks of every variant of a passage, ``count`` tuples with one number per place.

    Every word of a place stands in as many variants as every other, up to one, in keyed order, so that no
    variant has more of the likely words by luck than need be.
    """
    columns = []
    for number, place in enumerate(passage.places):
        order = key.stream("mark/texts/variants", f"{passage.id}/{number}").permutation(count)
        columns.append([int(one) % len(place.words) for one in order])
    return list(zip(*columns, strict=True))


def protocol(
    passages: Sequence[Passage],
    *,
    ask: Ask,
    variants: int,
    asked: int,
    alpha: float,
    looks: Literal["fixed", "sequential"],
    tests: int,
    words: str,
    recipient: str = "",
    beacon: BeaconPlan | None = None,
) -> Protocol:
    """Return the claim that is committed.

    Args:
        passages: All passages, the ones to be asked first in front.
        ask: ``scores``: the suspect scores every variant; ``choice`` and ``cloze``: it names one of them.
        variants: Variants per passage.
        asked: Passages that are asked.
        alpha: As in :class:`Protocol`.
        looks: As in :class:`Protocol`.
        tests: As in :class:`Protocol`.
        words: How an answer becomes a score or a number, for the claim.
        recipient: Who gets this release; another one gets other variants.
        beacon: Public randomness that decides which variants are released, if any.
    """
    parameters = {"variants": variants} if ask == "scores" else {"options": variants}
    binds = {"texts": sha256(*(passage.id.encode() for passage in passages))}
    if recipient:
        binds["recipient"] = sha256(recipient.encode())
    return Protocol(
        claim=f"{_CLAIM} {words}",
        null=_NULL,
        test="texts" if ask == "scores" else "choices",
        parameters=parameters,
        alpha=alpha,
        secrets=len(passages),
        budget=min(asked, len(passages)),
        looks=looks,
        tests=tests,
        beacon=beacon,
        binds=binds,
    )


def released(claim: Protocol, key: Key, public: Callable[[int], str] = lambda _: "") -> list[int]:
    """Return the number of the released variant of every passage; a beacon adds `public` to each draw."""
    test = kind(claim)
    return [test.draw(item_key(key, claim, index), public(index))[0] for index in range(claim.secrets)]


def vault(key: Key, claim: Protocol, queries: Sequence[Sequence[str]]) -> Vault:
    """Return the owner's side of the commitment, with what will be asked for every passage."""
    return Vault(key, claim, [[content_of(one.encode()) for one in group] for group in queries])
