"""LexiMark: rare words of a text give way to rarer synonyms, which a language model remembers (texts).

Paper: German, Antebi, Habler, Shabtai, Elovici. LexiMark: Robust Watermarking via Lexical Substitutions to
Enhance Membership Verification of an LLM's Textual Training Data. arXiv 2506.14474.

``mode="published"`` is the paper's: the k rarest words of every sentence become their rarest acceptable
synonym, the same one throughout (section 3). Nothing in it is random, so that it makes training easier to see
and proves nothing. ``mode="keyed"``, the default, is ours after the paper: at every such place one of the
``options`` acceptable words, those that change the sentence least, is picked by the owner's key, in several
variants per passage, and which variant is released is drawn from a committed secret. Under the null the
released variant is one like the others, and its rank among them is an exact test (proof.kinds.texts); for a
model that only answers in words, the owner asks which variant was published, or which word fits a gap
(proof.kinds.hits).

Where ours differs: synonyms are WordNet's of the word's most frequent sense, in the word's own inflection, or
with ``source`` what a masked language model predicts in its place (the paper's best source is RoBERTa), where
the form fits; both are filtered by MiniLM's similarity of the sentence; names, numbers, code, citations,
quotations and protected terms stay; nothing but the replaced words changes.

Shapes and ranges: texts in, places with acceptable words out, no arrays; similarity is a cosine in [-1, 1],
``share`` lies in [0, 1], rarity is in bits.

Threat model: somebody trains a language model on the released texts; the owner gets log probabilities of
texts, or answers. It does not stop training; it does not stop a thief who replaces rare words again or
paraphrases, and a model that saw the texts once among very many may not remember which words stood there.
English only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from noli.core.method import Card, Spec
from noli.ops.lexicon import Lexicon, Predict, Slot, english, find, keep_similar, rarity
from noli.proof.marks import ClaimConfig
from noli.proof.releases import Ask, Passage, Place

# Bits by which a word of the keyed mode may be more common than the one that stood there.
_EITHER_WAY = 7.0
Embed = Callable[[list[str]], Any]


# How an answer counts, as the claim says it.
WORDS: dict[Ask, str] = {
    "scores": "Score of a variant: the mean log probability per token that the model gives it.",
    "choice": "The model is asked which of the variants was published.",
    "cloze": "The model is asked which word stood in a gap.",
}


class Config(ClaimConfig):
    """Options of LexiMark; ``k`` is the paper's, whose least similarity, 0.8, drops next to nothing."""

    mode: Literal["keyed", "published"] = Field(
        "keyed", description="keyed is evidence; published is the paper's fixed choice, which is none"
    )
    k: int = Field(5, ge=1, le=100, description="most replaced words of a sentence, the rarest first")
    share: float = Field(
        0.2, gt=0, le=1, description="most replaced words of a text, as a share of its words"
    )
    options: int = Field(2, ge=2, le=8, description="words among which the key picks, the original included")
    source: str = Field(
        "wordnet",
        min_length=1,
        description="where words come from: `wordnet`, or a folder with a masked language model",
    )
    senses: int = Field(
        2, ge=1, le=20, description="meanings of a word whose synonyms are tried, the most frequent first"
    )
    similarity: float = Field(
        0.95, ge=-1, le=1, description="least cosine of a sentence with and without the word, by `encoder`"
    )
    encoder: str = Field(
        "all-MiniLM-L6-v2", description="sentence encoder, or `none` to leave the filter out"
    )
    protected: tuple[str, ...] = Field((), description="terms that stay as they are")
    quotes: bool = Field(True, description="quotations stay as they are")
    field: str = Field("text", min_length=1, description="where the text lies in the lines of JSONL")
    passage: int = Field(600, ge=40, le=20_000, description="most characters of a passage")
    least: int = Field(
        5, ge=1, le=100, description="fewest places of a passage; texts with fewer stay as they are"
    )
    variants: int = Field(10, ge=2, le=1000, description="variants of a passage, the released one among them")
    ask: Ask = Field(
        "scores", description="what the suspect is asked: scores, or which variant (or word) it was"
    )
    documents: int = Field(200, ge=1, le=100_000, description="passages that are asked, the longest first")


SPEC = Spec(
    name="mark/leximark",
    family="mark",
    arrow="texts->texts",
    config=Config,
    needs=frozenset({"key", "text"}),
    reversible=True,
    options=("documents", "share", "k", "ask", "recipient", "alpha", "protected", "mode"),
    module=__name__,
    card=Card(
        title="LexiMark: rare words give way to others, as a key decides",
        paper="German, Antebi, Habler, Shabtai, Elovici. LexiMark: Robust Watermarking via Lexical "
        "Substitutions to Enhance Membership Verification of an LLM's Textual Training Data. "
        "arXiv 2506.14474",
        stops=(
            "Nothing: it is evidence. Whoever trained a language model on the released texts and gives log "
            "probabilities, or answers, can be found.",
        ),
        does_not_stop=(
            "Training on the texts.",
            "Somebody who replaces rare words again, or paraphrases.",
            "A model that saw the texts once among very many: it may not remember single words.",
            "The published mode proves nothing by itself: nothing in it is random.",
        ),
    ),
)


def propose(
    prose: str,
    cfg: Config,
    embed: Embed | None,
    lexicon: Lexicon | None = None,
    predict: Predict | None = None,
) -> list[Slot]:
    """Return the places of a text where a word may give way, in order.

    Args:
        prose: The text, with everything that must stay blanked (:mod:`noli.data.documents`).
        cfg: How many places, how similar.
        embed: Sentence encoder, texts -> ``float32 [N, D]``; None leaves the filter out.
        lexicon: Synonyms; WordNet's by default.
        predict: Words that fit gaps, in place of synonyms; what ``cfg.source`` names.
    """
    known = lexicon or english()
    slots = find(
        prose,
        lexicon=known,
        rarity=rarity,
        protected=cfg.protected,
        options=8,
        gain=0.0 if cfg.mode == "published" else -_EITHER_WAY,
        senses=cfg.senses,
        quotes=cfg.quotes,
        predict=predict,
    )
    if embed is not None:
        keyed = cfg.mode == "keyed"
        # A few more than are needed: some will fall to the filter, and each costs an embedding.
        near = [replace(slot, options=slot.options[: cfg.options + 2]) for slot in slots]
        slots = keep_similar(prose, near, embed, cfg.similarity, nearest_first=keyed)
    by_sentence: dict[tuple[int, int], list[Slot]] = defaultdict(list)
    for slot in slots:
        if _enough(slot, cfg):
            by_sentence[slot.sentence].append(slot)
    kept = [slot for group in by_sentence.values() for slot in _rarest(group, cfg.k)]
    most = int(cfg.share * len(prose.split()))
    return sorted(_rarest(kept, most), key=lambda slot: slot.start)


def published(slots: Sequence[Slot], dictionary: dict[str, str]) -> list[str]:
    """Return the paper's word for every place: its rarest synonym where that is rarer, else the word itself.

    Args:
        slots: Places of one text.
        dictionary: What words became so far, in the whole collection; new ones are entered.
    """
    return [dictionary.setdefault(slot.word, slot.options[0]) for slot in slots]


def passages(prose: str, raw: str, slots: Sequence[Slot], cfg: Config) -> list[tuple[int, Passage]]:
    """Cut a text into passages of whole sentences; those with too few places are left out.

    Returns:
        Where each begins in the text, and the passage; its text is that of ``raw``.
    """
    found = []
    for group in _grouped(slots, cfg):
        start, end = group[0].sentence[0], group[-1].sentence[1]
        places = tuple(
            Place(slot.start - start, slot.end - start, (slot.word, *slot.options[: cfg.options - 1]))
            for slot in group
        )
        if len(places) >= (1 if cfg.ask == "cloze" else cfg.least):
            found.append((start, Passage(raw[start:end], places)))
    return found


def _grouped(slots: Sequence[Slot], cfg: Config) -> list[list[Slot]]:
    groups: list[list[Slot]] = []
    for slot in slots:
        if slot.sentence[1] - slot.sentence[0] > cfg.passage:
            continue  # a service may refuse so long a text
        if not groups:
            groups.append([slot])
            continue
        first, last = groups[-1][0], groups[-1][-1]
        same = slot.sentence == last.sentence
        if cfg.ask == "cloze":
            # One gap per sentence: another one's word would depend on another draw.
            if not same:
                groups.append([slot])
        elif same or slot.sentence[1] - first.sentence[0] <= cfg.passage:
            groups[-1].append(slot)
        else:
            groups.append([slot])
    return groups


def _enough(slot: Slot, cfg: Config) -> bool:
    if cfg.mode == "published":
        return bool(slot.options) and rarity_of(slot.options[0]) > slot.rarity
    return len(slot.options) >= cfg.options - 1


def rarity_of(word: str) -> float:
    """Return a word's rarity in bits; 0 for one that no list knows, which is never chosen."""
    return rarity(word) or 0.0


def _rarest(slots: Sequence[Slot], count: int) -> list[Slot]:
    return sorted(slots, key=lambda slot: (-slot.rarity, slot.start))[:count]
