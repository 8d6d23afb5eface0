"""Keep only the replacements that leave the meaning of their sentence as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.ops.lexicon.prose import one_line
from noli.ops.lexicon.slots import Slot

Embed = Callable[[list[str]], Any]


def keep_similar(
    prose: str,
    slots: Sequence[Slot],
    embed: Embed,
    threshold: float = 0.8,
    *,
    nearest_first: bool = False,
) -> list[Slot]:
    """Drop the options that change their sentence too much, and the slots that have none left.

    Each option is judged alone: the cosine between the whole sentence with the word and with the option.
    Every distinct sentence is embedded once, all of them in one call.

    Source: the filter ``sbert`` of LexiMark (German et al., arXiv 2506.14474), there with 0.8 as well.

    Args:
        prose: The text that the slots were found in.
        slots: As :func:`find` returns them.
        embed: ``texts -> float32 [N, D]``, a tensor or an array with rows of length 1.
        threshold: Least cosine, -1 .. 1.
        nearest_first: Put the option that changes the sentence least in front.

    Returns:
        The slots that are left, in the same order, with their options in the same order unless asked
        otherwise.
    """
    numbers: dict[str, int] = {}
    asked = [
        [numbers.setdefault(_with(prose, slot, word), len(numbers)) for word in (slot.word, *slot.options)]
        for slot in slots
    ]
    if not numbers:
        return []
    # Sentences of like length side by side: encoders pad a batch to its longest.
    texts = sorted(numbers, key=len)
    embedded = _array(embed(texts))
    rows = np.empty_like(embedded)
    rows[[numbers[text] for text in texts]] = embedded
    found = []
    for slot, (own, *others) in zip(slots, asked, strict=True):
        cosines = rows[others] @ rows[own]
        near = [n for n, cosine in enumerate(cosines) if cosine >= threshold]
        if nearest_first:
            near.sort(key=lambda n: -cosines[n])
        if near:
            found.append(replace(slot, options=tuple(slot.options[n] for n in near)))
    return found


def _with(prose: str, slot: Slot, word: str) -> str:
    start, end = slot.sentence
    text = prose[start : slot.start] + word + prose[slot.end : end]
    return one_line(text).strip()


def _array(rows: Any) -> npt.NDArray[np.float32]:
    return np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows, np.float32)
