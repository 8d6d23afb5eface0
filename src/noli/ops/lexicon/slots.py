"""The words of a text that may be replaced, and by what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from noli.core.errors import UsageError
from noli.ops.lexicon.context import Spot, agreeing, counted, in_phrase, misread, named, plain, stands_free
from noli.ops.lexicon.frequency import rarity as bits
from noli.ops.lexicon.lexicon import Lexicon, english
from noli.ops.lexicon.prose import Token, literal, one_line, sentences, tokens

Rarity = Callable[[str], float | None]
# What stands before and behind gaps in their sentences -> words that fit each, likeliest first.
Predict = Callable[[Sequence[tuple[str, str]]], Sequence[Sequence[str]]]
_Place = tuple[tuple[int, int], Spot]


@dataclass(frozen=True, slots=True)
class Slot:
    """A word that may be replaced.

    Attributes:
        start: Where the word begins in the text.
        end: Where it ends: ``prose[start:end] == word``.
        word: The word as written.
        options: What may stand instead, in its form and case, rarest first; at least one, never the word.
        rarity: How rare the word is, in bits.
        sentence: (start, end) of its sentence in the text.
    """

    start: int
    end: int
    word: str
    options: tuple[str, ...]
    rarity: float
    sentence: tuple[int, int]


@dataclass(frozen=True)
class _Rules:
    lexicon: Lexicon
    rarity: Rarity
    floor: float
    gain: float
    ceiling: float
    reach: float
    senses: int

    def synonyms(self, word: str) -> tuple[str, ...]:
        return self.lexicon.synonyms(word, self.senses)

    def varies(self, word: str) -> bool:
        """Whether predictions may replace a word: it is clear what it is, and it is known and rare enough."""
        own = self.rarity(word.lower()) if self.lexicon.is_clear(word.lower()) else None
        return own is not None and own >= self.floor

    def ranked(self, word: str, found: tuple[str, ...]) -> tuple[float, list[str]]:
        """Return the rarity of a word, and of its replacements those rare enough but not too rare."""
        own = self.rarity(word.lower()) if found else None
        if own is None or own < self.floor:
            return 0.0, []
        rated = [(self.rarity(option.lower()), option) for option in found]
        low, high = own + self.gain, min(own + self.reach, self.ceiling)
        fit = [(-r, option) for r, option in rated if r is not None and low <= r <= high]
        return own, [option for _, option in sorted(fit)]


def find(
    prose: str,
    lexicon: Lexicon | None = None,
    rarity: Rarity = bits,
    *,
    protected: Collection[str] = (),
    options: int = 4,
    floor: float = 0.0,
    gain: float = 0.0,
    reach: float = 7.0,
    ceiling: float = 24.0,
    senses: int = 1,
    quotes: bool = True,
    predict: Predict | None = None,
) -> list[Slot]:
    """Find the words of an English text that may be replaced by a synonym, or by what a model predicts.

    Left alone are: function words, numbers, units and what they count, names (capital letters inside a
    sentence, and at its start if the word has a capital elsewhere or a name follows), acronyms, words with a
    digit, hyphen, apostrophe or underscore in or at them, words in brackets with a digit (citations), labels
    (*figure 3*), words of an expression (*heart attack*), protected terms, and quotations.

    Source: the choice of rare words with rarer synonyms is LexiMark's (German et al., arXiv 2506.14474).

    Args:
        prose: The text. Where something else than prose was cut out stands a line feed for each character,
            or NUL where the letters on both sides may belong to one word: words at a NUL are left alone.
        lexicon: The bundled one by default.
        rarity: Bits of a lower-case word; None if unknown, and unknown words are neither replaced nor used.
        protected: Terms to leave alone, any case, of one word (then its inflected forms too) or several.
        options: Most replacements per word: 2 .. 8, the rarest ones.
        floor: Least rarity of a word that may be replaced, in bits.
        gain: How much rarer a replacement must be, in bits (negative: may be more common).
        reach: How much rarer a replacement may be at most, in bits: far rarer words read as slips.
        ceiling: Greatest rarity of a replacement: beyond it are words that readers do not know.
        senses: How many meanings of a word count, the most frequent ones first.
        quotes: Whether to leave quotations alone.
        predict: Takes the place of the synonyms: the words that it gives for the gap which a word leaves in
            its sentence, where their form fits (:meth:`Lexicon.fitting`). Asked once, for all gaps.

    Returns:
        In the order of the text; equal arguments give equal slots.

    Raises:
        UsageError: `options` is not within 2 .. 8, or `senses` is below 1.
        MissingPrerequisite: wordfreq is needed (no other `rarity` was given) but not installed.
    """
    if not 2 <= options <= 8 or senses < 1:
        raise UsageError("A slot has 2 to 8 options, of at least one meaning.", where=f"{options}, {senses}")
    rules = _Rules(english() if lexicon is None else lexicon, rarity, floor, gain, ceiling, reach, senses)
    ranked, synonyms = cache(rules.ranked), cache(rules.synonyms)
    may = rules.varies if predict else lambda word: bool(ranked(word, synonyms(word))[1])
    places = [
        (sentence, spot)
        for sentence, spot in _free(prose, rules.lexicon, protected, quotes)
        if may(spot.token.text) and not (misread(spot, rules.lexicon) or in_phrase(spot, rules.lexicon))
    ]
    if predict:
        offered = _predicted(prose, places, rules.lexicon, predict)
    else:
        offered = [synonyms(spot.token.text) for _, spot in places]
    found = []
    for (sentence, spot), words in zip(places, offered, strict=True):
        start, end, word = spot.token
        own, choices = ranked(word, words)
        kept = agreeing(spot, choices)[:options]
        if kept:
            found.append(Slot(start, end, word, tuple(kept), own, sentence))
    return found


def _predicted(
    prose: str, places: Sequence[_Place], lexicon: Lexicon, predict: Predict
) -> list[tuple[str, ...]]:
    gaps = [
        (one_line(prose[start : spot.token.start]), one_line(prose[spot.token.end : end]))
        for (start, end), spot in places
    ]
    words = predict(gaps) if gaps else []
    return [lexicon.fitting(spot.token.text, some) for (_, spot), some in zip(places, words, strict=True)]


def _free(prose: str, lexicon: Lexicon, protected: Collection[str], quotes: bool) -> Iterator[_Place]:
    """Yield the words that are not literal, protected, a name or counted, each with its sentence."""
    kept = literal(prose, quotes=quotes)
    split = [(sentence, list(tokens(prose, *sentence))) for sentence in sentences(prose)]
    names = {word.text.lower() for _, words in split for word in words[1:] if word.text[0].isupper()}
    terms = _Terms(protected, lexicon)
    for sentence, words in split:
        safe = terms.places(words)
        first = next((at for at, word in enumerate(words) if word.text[0].isalpha()), 0)
        for at, token in enumerate(words):
            if not plain(token.text) or kept[token.start] or at in safe:
                continue
            spot = Spot(prose, words, at, first)
            if stands_free(spot) and not named(spot, names) and not counted(spot, lexicon):
                yield sentence, spot


class _Terms:
    """Protected terms, as rows of words."""

    def __init__(self, terms: Collection[str], lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._rows: dict[str, list[list[str]]] = {}
        self._single: set[str] = set()
        for term in terms:
            row = [token.text.casefold() for token in tokens(term)]
            if len(row) == 1:
                self._single.add(row[0])
            elif row:
                self._rows.setdefault(row[0], []).append(row)

    def places(self, words: list[Token]) -> set[int]:
        """Return the places of the words that belong to a protected term."""
        if not self._single and not self._rows:
            return set()
        lower = [word.text.casefold() for word in words]
        found = {i for i, word in enumerate(lower) if self._holds(word)}
        for i, word in enumerate(lower):
            for row in self._rows.get(word, ()):
                if lower[i : i + len(row)] == row:
                    found |= set(range(i, i + len(row)))
        return found

    def _holds(self, word: str) -> bool:
        return word in self._single or not self._single.isdisjoint(self._lexicon.bases(word))
