"""What a language model says of texts: log probabilities of tokens, and where the tokens lie in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Spans = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tokens:
    """The scored tokens of one text, in order.

    Attributes:
        logp: Natural log probability of every token given all before it, ``float64 [T]``, at most 0.
        mean: Mean of log p under the model's own next-token distribution, ``float64 [T]``; None when the
            model shows too little of it.
        std: Standard deviation of the same.
        spans: First character of every token and the one after its last, ``int64 [T, 2]``. Tokens that share
            a character (the bytes of one) have equal spans.
    """

    logp: Floats
    mean: Floats | None
    std: Floats | None
    spans: Spans

    def __len__(self) -> int:
        """Number of scored tokens."""
        return len(self.logp)

    def where(self, kept: npt.NDArray[np.bool_]) -> Tokens:
        """Return the tokens for which `kept`, ``bool [T]``, is true."""
        mean, std = (None if values is None else values[kept] for values in (self.mean, self.std))
        return Tokens(self.logp[kept], mean, std, self.spans[kept])


class LanguageModel(Protocol):
    """A language model that scores given texts."""

    @property
    def name(self) -> str:
        """What it is called in records."""

    @property
    def digest(self) -> str:
        """SHA-256 of its weights in hex; empty when nobody here knows them."""

    def score_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Score texts of any length; a text without a token that can be scored has none.

        Raises:
            NoliError: A text cannot be scored.
        """


def character_spans(raw: bytes) -> Spans:
    """Return which character each byte of a text in UTF-8 belongs to, ``int64 [len(raw), 2]``."""
    # Bytes 10xxxxxx go on with a character that has begun.
    starts = (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80
    place = np.cumsum(starts, dtype=np.int64) - 1
    return np.stack([place, place + 1], 1)


def as_spans(pairs: Sequence[Any] | npt.NDArray[Any]) -> Spans:
    """Return pairs of characters as ``int64 [N, 2]``, N = 0 included."""
    return np.asarray(pairs, np.int64).reshape(-1, 2)
