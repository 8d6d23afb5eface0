"""A served language model that scores texts: an endpoint that echoes its prompt with log probabilities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from noli.adapters.answers import Answer, Logprobs
from noli.adapters.endpoint import Endpoint
from noli.core.errors import RunError, UsageError
from noli.core.language import Tokens, as_spans, character_spans

# How OpenAI writes tokens that are no text of their own.
_BYTES = re.compile(r"bytes:((?:\\x[0-9a-fA-F]{2}|[ -\[\]-~])+)")
_ONE = re.compile(r"\\x([0-9a-fA-F]{2})|(.)")
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of scoring one text.

    Attributes:
        status: ``answered``, ``refused`` (the service declined) or ``failed`` (no usable answer).
        tokens: The tokens of the text but the first, which has nothing before it; None unless answered. Their
            mean and spread are not known.
        reason: Why it was refused or failed.
        answer: The record of the query.
    """

    status: Literal["answered", "refused", "failed"]
    tokens: Tokens | None
    reason: str
    answer: Answer


class ServedLanguage:
    """A :class:`noli.core.language.LanguageModel` behind an endpoint of the style ``openai-completions``.

    An endpoint of style ``plain`` does as well, when its body has a place for ``{echo}``.

    Args:
        endpoint: Where it is; its `with` block is the caller's.
        max_tokens: Length of the completion in tokens, 0 or more; it is thrown away. Some services refuse 0.
    """

    digest = ""  # nobody here sees the weights

    def __init__(self, endpoint: Endpoint, *, max_tokens: int = 0) -> None:
        self.endpoint, self.max_tokens = endpoint, max_tokens

    @property
    def name(self) -> str:
        """Address and name of the model."""
        config = self.endpoint.config
        return f"{config.url} {config.model}".strip()

    def score_text(self, text: str) -> Scored:
        """Score one text with one query.

        A service that does not echo the text token by token, or leaves out numbers, has failed: a log
        probability that belongs to something else would be worse than none.

        Args:
            text: At least one character.

        Raises:
            UsageError: An empty text, or an endpoint that cannot echo.
            NoliError: As :meth:`noli.adapters.endpoint.Endpoint.ask_text`.
        """
        if not text:
            raise UsageError("An empty text cannot be scored.", fix="leave it out")
        answer = self.endpoint.ask_text(text, max_tokens=self.max_tokens, logprobs=True, echo=True)
        if answer.status != "answered":
            return Scored(answer.status, None, answer.reason, answer)
        if answer.logprobs is None:
            return Scored("failed", None, "the service gave no log probabilities of the text", answer)
        found = _aligned(text, answer.logprobs)
        if isinstance(found, str):
            return Scored("failed", None, found, answer)
        return Scored("answered", found, "", answer)

    def score_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Score texts, one query each, and stop at the first that is refused or fails.

        Raises:
            RunError: A text was refused or failed.
            NoliError: As :meth:`score_text`.
        """
        found = []
        for row, text in enumerate(texts):
            scored = self.score_text(text)
            if scored.tokens is None:
                fix = "use score_text where refusals and failures are results"
                why = f"{scored.status}: {scored.reason}"
                raise RunError("The service did not score a text.", where=f"text {row}", why=why, fix=fix)
            found.append(scored.tokens)
        return found


def _aligned(text: str, pairs: Logprobs) -> Tokens | str:
    """Return the tokens of a text, or why those of the service are not that."""
    raw = text.encode("utf-8", "surrogatepass")
    characters = character_spans(raw)
    at, logp, spans = 0, [], []
    for place, (token, number) in enumerate(pairs):
        if at == len(raw):
            break  # what follows is the completion
        piece = _piece(token, raw, at)
        if piece is None:
            if place == 0 and number is None:
                continue  # a control token that the service put in front
            return f"its tokens are not the text: {token!r} at character {characters[at][0]}"
        if not piece:
            continue
        begin, end = int(characters[at][0]), int(characters[at + len(piece) - 1][1])
        first, at = at == 0, at + len(piece)
        if number is None and not first:
            return f"it gave no log probability of {token!r} at character {begin}"
        if number is not None:
            if number > _ROUNDING:
                return f"{number} is no log probability ({token!r} at character {begin})"
            logp.append(min(number, 0.0))
            spans.append((begin, end))
    if at < len(raw):
        return f"its tokens end at character {characters[at][0]} of {len(text)}"
    return Tokens(np.array(logp, np.float64), None, None, as_spans(spans))


def _piece(token: str, raw: bytes, at: int) -> bytes | None:
    """Return the bytes of a token if the text goes on with them."""
    plain = token.encode("utf-8", "surrogatepass")
    if raw.startswith(plain, at):
        return plain
    said = _BYTES.fullmatch(token)
    if said is None:
        return None
    parts = _ONE.findall(said[1])
    piece = bytes(int(code, 16) if code else ord(char) for code, char in parts)
    return piece if raw.startswith(piece, at) else None
