"""Membership scores: how much a text looks like one that a language model was trained on.

All of them follow from the log probabilities of the tokens, log p(x_t | x_<t), natural, and are higher for
what looks more like a member. A score alone proves nothing: compare it with those of texts that were as
likely to be published.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError, UsageError
from noli.core.language import as_spans

if TYPE_CHECKING:
    from torch import Tensor

SCORES = ("loss", "zlib", "min-k", "min-k++")
SHARE = 0.2
STD_FLOOR = 1e-4  # below it, the rounding of float32 would decide
# Numbers held in float32 at a time: what a processor's cache holds, and what keeps a GPU busy.
_CHUNK, _GPU_CHUNK = 2**16, 2**24
_NOTHING = -200.0  # exp of it is 0 in float32, and 0 * inf is no number
_MEAN_FLOOR = -1e-12

Values = npt.NDArray[np.floating[Any]]


def loss(logp: Values) -> float:
    """Mean log p: minus the model's loss (Yeom et al., arXiv 1709.01604).

    Args:
        logp: ``[T]``, T >= 1.

    Returns:
        At most 0.

    Raises:
        DataError: No tokens, or numbers that are not finite.
    """
    return float(_checked(logp).mean())


def zlib_ratio(logp: Values, text: bytes) -> float:
    """Mean log p over the bytes to which zlib packs the text (Carlini et al. 2021, arXiv 2012.07805).

    Exactly ``mean(logp) / len(zlib.compress(text))`` at zlib's default level: texts that are easy for
    everybody are discounted. Another build of zlib may need a few bytes more or less.

    Args:
        logp: ``[T]``, T >= 1.
        text: The text in UTF-8.

    Returns:
        At most 0.

    Raises:
        DataError: As :func:`loss`.
    """
    return loss(logp) / len(zlib.compress(text))


def lowercase_ratio(logp: Values, lowered: Values) -> float:
    """Loss of the lower-cased text over that of the text (Carlini et al. 2021, arXiv 2012.07805).

    Args:
        logp: Of the text, ``[T]``, T >= 1.
        lowered: Of the text in lower case, ``[U]``, U >= 1.

    Returns:
        0 or more; above 1 when the model prefers the text as it was written.

    Raises:
        DataError: As :func:`loss`.
    """
    return min(loss(lowered), 0.0) / min(loss(logp), _MEAN_FLOOR)


def min_k(logp: Values, share: float = SHARE) -> float:
    """Mean log p of the least likely tokens: Min-K% Prob (Shi et al., arXiv 2310.16789).

    Args:
        logp: ``[T]``, T >= 1.
        share: Share of the tokens in (0, 1]; rounded down to whole tokens, but at least one.

    Returns:
        At most 0.

    Raises:
        DataError: As :func:`loss`.
        UsageError: A share out of its range.
    """
    return _lowest(_checked(logp), share)


def min_k_plus_plus(logp: Values, mean: Values, std: Values, share: float = SHARE) -> float:
    """Mean of the lowest standardised log p: Min-K%++ (Zhang et al., arXiv 2404.02936).

    Standardised is ``(logp - mean) / std``. A standard deviation below 1e-4 counts as 1e-4: the paper's
    formula has no value where the model is certain.

    Args:
        logp: ``[T]``, T >= 1.
        mean: Mean of log p under the model's own next-token distribution, ``[T]``.
        std: Its standard deviation, ``[T]``, 0 or more.
        share: As in :func:`min_k`.

    Raises:
        DataError: As :func:`loss`; arrays of different lengths.
        UsageError: A share out of its range.
    """
    values, centre, spread = _checked(logp), _checked(mean), _checked(std)
    if not len(values) == len(centre) == len(spread):
        why = f"there are {len(values)}, {len(centre)} and {len(spread)}"
        raise DataError("Every token needs a log probability, a mean and a standard deviation.", why=why)
    return _lowest((values - centre) / np.maximum(spread, STD_FLOOR), share)


def score(
    name: str,
    logp: Values,
    *,
    mean: Values | None = None,
    std: Values | None = None,
    text: bytes | None = None,
    share: float = SHARE,
) -> float:
    """Compute a score by its name.

    Args:
        name: ``loss``, ``zlib``, ``min-k`` or ``min-k++``.
        logp: ``[T]``, T >= 1.
        mean: ``[T]``, for ``min-k++``.
        std: ``[T]``, for ``min-k++``.
        text: The text in UTF-8, for ``zlib``.
        share: Share of the tokens, for ``min-k`` and ``min-k++``.

    Raises:
        UsageError: No such score, or something that it needs is missing.
        DataError: As :func:`loss`.
    """
    if name == "loss":
        return loss(logp)
    if name == "min-k":
        return min_k(logp, share)
    if name == "zlib" and text is not None:
        return zlib_ratio(logp, text)
    if name == "min-k++" and mean is not None and std is not None:
        return min_k_plus_plus(logp, mean, std, share)
    if name in SCORES:
        needed = "the text" if name == "zlib" else "the mean and spread of the model's own distribution"
        fix = "take loss or min-k: they need the log probabilities alone"
        raise UsageError(f"The score {name} needs {needed}.", where=name, fix=fix)
    raise UsageError("There is no such score.", where=name, fix=f"use one of {', '.join(SCORES)}")


def overlapping(
    token_spans: Sequence[Any] | npt.NDArray[Any], spans: Sequence[Any] | npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Tell which tokens share a character with one of some spans.

    Args:
        token_spans: First character of every token and the one after its last, ``int [T, 2]``.
        spans: Likewise of the places of interest, ``int [S, 2]``, in any order.

    Returns:
        ``bool [T]``; spans without a character share none.
    """
    tokens, places = as_spans(token_spans), as_spans(spans)
    # An empty span lies between characters, yet the two comparisons would find it inside a token.
    places = places[places[:, 0] < places[:, 1]]
    inside = (tokens[:, None, 0] < places[None, :, 1]) & (tokens[:, None, 1] > places[None, :, 0])
    found: npt.NDArray[np.bool_] = inside.any(1) & (tokens[:, 0] < tokens[:, 1])
    return found


def marked_only(
    logp: Values,
    spans: Sequence[Any] | npt.NDArray[Any],
    token_spans: Sequence[Any] | npt.NDArray[Any],
) -> Values:
    """Return the log probabilities of the tokens that share a character with `spans`, in their order.

    Args:
        logp: ``[T]``; means and standard deviations may be chosen in the same way.
        spans: As in :func:`overlapping`.
        token_spans: ``int [T, 2]``.

    Raises:
        DataError: Not one span per token.
    """
    kept = overlapping(token_spans, spans)
    if len(kept) != len(logp):
        raise DataError("Every token needs a span.", why=f"there are {len(logp)} tokens, {len(kept)} spans")
    return logp[kept]


def token_scores(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the scores are made of, computed in float32 for some positions at a time.

    Args:
        logits: Next-token logits ``[T, V]`` of any float type; -inf means that a token is ruled out.
        targets: The tokens that came, ``int64 [T]``.

    Returns:
        ``logp``, ``mean`` and ``std``, ``float32 [T]`` each, as in :class:`noli.core.language.Tokens`.
    """
    import torch

    logp, mean, std = ([logits.new_zeros(0, dtype=torch.float32)] for _ in range(3))
    at = 0
    for part in _log_softmax(logits):
        wanted = targets[at : at + len(part), None]
        logp.append(part.gather(1, wanted)[:, 0])
        centre, spread = _moments(part)
        mean.append(centre)
        std.append(spread)
        at += len(part)
    return torch.cat(logp), torch.cat(mean), torch.cat(std)


def moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of log p under the distribution itself (arXiv 2404.02936).

    Args:
        logits: ``[T, V]``, as in :func:`token_scores`.

    Returns:
        Mean (minus the entropy in nats) and standard deviation, ``float32 [T]``.
    """
    _, mean, std = token_scores(logits, logits.new_zeros(len(logits)).long())
    return mean, std


def _log_softmax(logits: Tensor) -> Iterator[Tensor]:
    chunk = _CHUNK if logits.device.type == "cpu" else _GPU_CHUNK
    rows = max(1, chunk // max(1, logits.shape[1]))
    for at in range(0, len(logits), rows):
        yield logits[at : at + rows].float().log_softmax(1)


def _moments(logp: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation; `logp` is used up."""
    import torch

    chances, finite = logp.exp(), logp.clamp_(min=_NOTHING)
    mean = torch.linalg.vecdot(chances, finite)
    # Around the mean, not the difference of two squares: a certain model would lose all digits.
    return mean, torch.linalg.vecdot(chances, finite.sub_(mean[:, None]).square_()).sqrt()


def _checked(values: Values) -> npt.NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not len(found):
        why = f"the shape is {list(found.shape)}"
        fix = "leave out texts that are empty or of one token"
        raise DataError("A score needs the log probability of at least one token.", why=why, fix=fix)
    if not np.isfinite(found).all():
        fix = "look at the model: its weights may be damaged, or it rules tokens out"
        raise DataError("The log probabilities are not all finite.", fix=fix)
    return found


def _lowest(values: npt.NDArray[np.float64], share: float) -> float:
    if not 0 < share <= 1:
        raise UsageError("The share of the tokens must lie in (0, 1].", where=f"share={share}")
    # 0.29 * 100 is a little less than 29.
    count = max(1, math.floor(len(values) * share + 1e-9))
    return float(np.partition(values, count - 1)[:count].mean())
