"""How rare a word of English is."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import import_module

from noli.core.errors import MissingPrerequisite


@lru_cache(maxsize=1 << 17)
def rarity(word: str) -> float | None:
    """Return how rare a word is, in bits: minus the logarithm (base 2) of its share of all words.

    Common words have about 6, rare ones 20 or more (the limit is about 26.5).

    Source: the frequencies are those of wordfreq (Speer, 2022), its largest English list.

    Args:
        word: One word; case does not matter.

    Returns:
        None for a word that the list does not have: nothing is known about it.

    Raises:
        MissingPrerequisite: wordfreq is not installed.
    """
    try:
        counted = import_module("wordfreq")
    except ModuleNotFoundError as error:
        raise MissingPrerequisite(
            "Word frequencies need the package wordfreq.", where="wordfreq", fix="pip install 'noli[text]'"
        ) from error
    share = float(counted.word_frequency(word, "en", wordlist="best"))
    return -math.log2(share) if share > 0 else None
