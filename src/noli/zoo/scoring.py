"""From token ids to scored tokens, for any causal language model: windows, batches, padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from noli.core.errors import DataError
from noli.core.language import Spans, Tokens
from noli.ops.membership import token_scores

Ids = npt.NDArray[np.int64]
_LOGITS = 2**25  # logits of one batch: 128 MiB in float32
_TOKENS = 2**14


@dataclass(frozen=True, eq=False)
class Encoded:
    """A text as a model reads it.

    Attributes:
        ids: Tokens, ``int64 [N]``.
        spans: Characters of every token, ``int64 [N, 2]``.
        lead: How many tokens at the start are given and not scored, 1 or more.
    """

    ids: Ids
    spans: Spans
    lead: int


@dataclass(frozen=True)
class Window:
    """Part `start` .. `stop` - 1 of text `row`, read in one go; tokens from `first` on are scored."""

    row: int
    start: int
    first: int
    stop: int

    @property
    def length(self) -> int:
        """Number of tokens that the model reads: all but the last, which is only predicted."""
        return self.stop - 1 - self.start


def windows(row: int, length: int, lead: int, context: int) -> Iterator[Window]:
    """Cut a text so that each token is scored once, after at least half a context where there is one.

    Args:
        row: Number of the text.
        length: Its tokens.
        lead: How many of them are not scored.
        context: Tokens that the model can read at a time, 1 or more.
    """
    start, first = 0, lead
    while first < length:
        stop = min(start + context + 1, length)
        if stop > first:
            yield Window(row, start, first, stop)
            first = stop
        start += max(1, context // 2)


def score_encoded(
    logits: Callable[[Tensor], Tensor],
    texts: Sequence[Encoded],
    *,
    context: int,
    vocabulary: int,
    device: torch.device,
) -> list[Tokens]:
    """Score texts in batches of like lengths.

    Args:
        logits: ``ids int64 [B, L] -> [B, L, V]``, causal: padding at the end changes nothing before it.
        texts: What is scored.
        context: Longest L.
        vocabulary: V.
        device: Where the ids must lie.
    """
    found = [np.zeros((3, max(0, len(text.ids) - text.lead))) for text in texts]
    todo = [
        window for row, text in enumerate(texts) for window in windows(row, len(text.ids), text.lead, context)
    ]
    todo.sort(key=lambda window: -window.length)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for batch in _batches(todo, vocabulary):
            ids = np.zeros((len(batch), batch[0].length), np.int64)
            for line, window in zip(ids, batch, strict=True):
                line[: window.length] = texts[window.row].ids[window.start : window.stop - 1]
            out = logits(torch.from_numpy(ids).to(device))
            for predicted, window in zip(out, batch, strict=True):
                text = texts[window.row]
                targets = torch.from_numpy(text.ids[window.first : window.stop]).to(device)
                rows = predicted[window.first - 1 - window.start : window.length]
                told = torch.stack(token_scores(rows, targets)).cpu().numpy()
                found[window.row][:, window.first - text.lead : window.stop - text.lead] = told
    return [
        Tokens(logp, mean, std, text.spans[text.lead :])
        for (logp, mean, std), text in zip(found, texts, strict=True)
    ]


def _batches(todo: list[Window], vocabulary: int) -> Iterator[list[Window]]:
    """Part windows, longest first, so that none of a batch's tensors grows too large."""
    at = 0
    while at < len(todo):
        length = todo[at].length
        rows = max(1, min(_TOKENS // length, _LOGITS // (length * vocabulary)))
        yield todo[at : at + rows]
        at += rows


def check_texts(texts: Sequence[str]) -> None:
    """Refuse texts that have no bytes.

    Raises:
        DataError: Half of a surrogate pair stands alone in a text.
    """
    wrong = []
    for row, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError:
            wrong.append(f"text {row}")
    if wrong:
        fix = "read the texts as UTF-8 again, or replace what is broken"
        raise DataError("Texts with half a character cannot be scored.", items=wrong, fix=fix)
