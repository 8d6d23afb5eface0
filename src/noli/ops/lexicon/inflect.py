"""Spelling of the regular forms of English words, and which lemmas a form may belong to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Suffix of a form, ending of its lemma, name of the form.
RULES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "noun": (("s", "", "plural"), ("es", "", "plural"), ("ies", "y", "plural"), ("men", "man", "plural")),
    "verb": (
        *(("s", "", "s"), ("es", "", "s"), ("ies", "y", "s")),
        *(("ed", "", "ed"), ("ed", "e", "ed"), ("ied", "y", "ed")),
        *(("ing", "", "ing"), ("ing", "e", "ing"), ("ying", "ie", "ing")),
    ),
    "adj": (
        *(("er", "", "er"), ("er", "e", "er"), ("ier", "y", "er")),
        *(("est", "", "est"), ("est", "e", "est"), ("iest", "y", "est")),
    ),
    "adv": (),
}
# Past or participle are spelled as the base is: nothing in the text tells which one is meant.
_SAME_PAST = re.compile(
    r"(?:.*(?:come|run|set|put|cut|cast|shed|beat)|bet|bid|burst|cost|fit|hit|hurt|knit|let|quit|read|rid|shut"
    r"|slit|spit|split|spread|sweat|thrust|wed|wet|shred)"
)
_TWO_PASTS = re.compile(
    r"burn|cleave|dive|dream|dwell|hang|kneel|lean|leap|learn|light|plead|shine|smell|sneak|speed|spell|spill"
    r"|spoil|strive|thrive|wake|weave"
)
_HISS = re.compile(r"(?:s|x|z|ch|sh)$")
_CONSONANT_Y = re.compile(r"[^aeiou]y$")
_CONSONANT_O = re.compile(r"[^aeiou]o$")
_CLOSED = re.compile(r"(?:[^aeiou]|qu)[aeiou][^aeiouwxy]$")
_NOT_MAN = re.compile(r"(?:hu|sha|cai|talis|otto|ro|ger|nor|tur|musul)man$")


def lemmas(word: str, part: str) -> Iterator[tuple[str, str]]:
    """Yield the (lemma, form) that a regular form may have, whether or not there is such a lemma.

    Source: the rules of detachment of WordNet (morphy), each checked by spelling the form again.
    """
    yield word, "base"
    for suffix, ending, form in RULES[part]:
        if word.endswith(suffix) and len(word) > len(suffix) + 1:
            lemma = word[: len(word) - len(suffix)] + ending
            if word in regular(lemma, part, form):
                yield lemma, form


def inflect(lemma: str, part: str, form: str, irregular: Sequence[str]) -> str | None:
    """Return the one spelling of a form; None if there are several, or if it is not certain.

    Args:
        lemma: Lower-case lemma.
        part: ``noun``, ``verb``, ``adj`` or ``adv``.
        form: ``base``, ``plural``, ``s``, ``ed`` (past and participle alike), ``ing``, ``er`` or ``est``.
        irregular: The irregular forms of the lemma, whichever form each of them is.
    """
    if form == "base":
        return lemma
    if part == "verb" and form == "ed" and (same_past(lemma) or _TWO_PASTS.fullmatch(lemma)):
        return None
    listed = [word for word in irregular if form_of(word, part) == form]
    if not listed:
        found = regular(lemma, part, form)
        return found[0] if len(found) == 1 and _certain(lemma, part, form) else None
    return listed[0] if len(listed) == 1 and not _doubtful(lemma, part, form, listed[0]) else None


def same_past(lemma: str) -> bool:
    """Whether the base of a verb is also its past or its participle (*put*, *come*)."""
    return _SAME_PAST.fullmatch(lemma) is not None


def form_of(word: str, part: str) -> str:
    """Return which form an irregular form is, by its ending."""
    if part == "noun":
        return "plural"
    if part == "verb":
        return "ing" if word.endswith("ing") else "s" if word.endswith("s") else "ed"
    return "est" if word.endswith("st") else "er"


def regular(lemma: str, part: str, form: str) -> tuple[str, ...]:
    """Return the spellings that the rules allow: none, one, or several."""
    if part == "noun":
        return _plural(lemma)
    if form == "s":
        return (_with_s(lemma),)
    if form == "ing" and lemma.endswith("ie"):
        return (lemma[:-2] + "ying",)
    return _with_suffix(lemma, form)


def _with_s(lemma: str) -> str:
    if _CONSONANT_Y.search(lemma):
        return lemma[:-1] + "ies"
    return lemma + ("es" if _HISS.search(lemma) or _CONSONANT_O.search(lemma) else "s")


def _plural(lemma: str) -> tuple[str, ...]:
    if lemma.endswith("man") and not _NOT_MAN.search(lemma):
        return (lemma[:-2] + "en",)
    if _CONSONANT_O.search(lemma):
        return lemma + "s", lemma + "es"
    return (_with_s(lemma),)


def _with_suffix(lemma: str, suffix: str) -> tuple[str, ...]:
    if _CONSONANT_Y.search(lemma) and suffix != "ing":
        return (lemma[:-1] + "i" + suffix,)
    if suffix == "ing":
        silent = lemma.endswith("e") and not re.search(r"(?:[eoy]|^.)e$", lemma)
        plain = (lemma[:-1] if silent else lemma) + suffix
    else:
        plain = (lemma[:-1] if lemma.endswith("e") else lemma) + suffix
    doubled = lemma + lemma[-1] + suffix
    if not _CLOSED.search(lemma):
        return (plain,)
    # A longer word doubles when its last syllable is stressed; those are in the list of irregular forms.
    return (doubled,) if syllables(lemma) == 1 else (plain,)


def syllables(word: str) -> int:
    """Count the vowel groups, without a silent e at the end."""
    return len(re.findall(r"[aeiouy]+", re.sub(r"(?<=[^aeiouy])e$", "", word)))


def _certain(lemma: str, part: str, form: str) -> bool:
    if part == "noun":
        return not re.search(r"(?<![su])s$", lemma)
    if part == "adj":
        return syllables(lemma) == 1 or bool(_CONSONANT_Y.search(lemma) and syllables(lemma) == 2)
    # One syllable that should double but is not in the list: a word too new or too rare to be sure of.
    return form == "s" or not (_CLOSED.search(lemma) and syllables(lemma) == 1)


def _doubtful(lemma: str, part: str, form: str, listed: str) -> bool:
    if part != "verb" or form == "s":
        return False
    doubled = listed.startswith(lemma + lemma[-1])
    british = doubled and lemma[-1] in "lps" and syllables(lemma) > 1
    # "shown" is listed, "showed" is not, and the two are not the same form.
    return british or (form == "ed" and listed.endswith("n") and listed not in {"won", "spun"})
