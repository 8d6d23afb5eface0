"""The verdict in plain words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from noli.core.evidence import LEVELS, Evidence, Level, LevelVerdict

Tone = Literal["good", "bad", "unsure", "none"]
TONES: Mapping[str, Tone] = {"supported": "good", "not supported": "bad", "inconclusive": "unsure"}
MARKS: Mapping[Tone, str] = {"good": "✓", "bad": "✕", "unsure": "?", "none": "\u2013"}
TITLES = {
    "protect": "Protection report",
    "verify": "Verification report",
    "undo": "Restoration report",
}
ATTACKERS: Mapping[Level | str, str] = {
    "naive": "Somebody who trains on the pictures as they are.",
    "routine": "A careful trainer: augmentation, compression, greyscale, adversarial training.",
    "adaptive": "Somebody who works against this very protection: filters, displacement, leaked pairs.",
    "context": "These rows never decide.",
}
_HEADLINES = {
    "supported": "Protection holds",
    "not supported": "Protection does not hold",
    "inconclusive": "No clear answer",
}
_CLAIMS = {
    "supported": "The claim is supported",
    "not supported": "The claim is not supported",
    "inconclusive": "No clear answer",
}
# A no-break space keeps number and unit on one line; a dash joins the ends of an interval.
_DASH = "\u2013"
_GAP = "\u00a0"


@dataclass(frozen=True)
class Tab:
    """One attacker level in the banner."""

    level: str
    verdict: str
    tone: Tone
    mark: str
    about: str
    sentence: str
    claimed: bool


@dataclass(frozen=True)
class Banner:
    """The top of the report.

    Attributes:
        tone: Colour of the banner.
        mark: Sign beside the headline.
        headline: The verdict in a few words.
        sentences: What was found, plain words.
        figures: ``(label, value)`` tiles.
        tabs: Verdict per attacker level.
        command: Command the user should run now.
    """

    tone: Tone
    mark: str
    headline: str
    sentences: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()
    tabs: tuple[Tab, ...] = ()
    command: str | None = None


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as text, ``53.2 %``; a dash for None."""
    return _DASH if value is None else f"{100 * value:.{digits}f}{_GAP}%"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, ``1 item``, ``1,200 items``."""
    return f"{number:,}{_GAP}{noun}{'' if number == 1 else 's'}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of shares as text, ``50.1-56.3 %`` with a proper dash."""
    if low is None or high is None:
        return _DASH
    return f"{100 * low:.1f}{_DASH}{100 * high:.1f}{_GAP}%"


def row_details(detail: Mapping[str, float]) -> str:
    """Return what a reader of the page understands of a row's numbers; ``report.json`` has all of them."""
    found = []
    if "leak_gain_db" in detail:
        found.append(f"the leaked pair brings pictures {detail['leak_gain_db']:.1f}{_GAP}dB closer")
    if "clean_part_only" in detail:
        found.append(f"the unprotected part alone teaches {percent(detail['clean_part_only'])}")
    if "clean" in detail:
        found.append(f"the same training on the originals reaches {percent(detail['clean'])}")
    return "; ".join(found)


def reference(evidence: Evidence, name: str) -> float | None:
    """Return a named reference value (``clean``, ``chance``), under its short or its long name."""
    for candidate in (name, f"{name}_accuracy", f"{name}-accuracy"):
        if candidate in evidence.reference:
            return evidence.reference[candidate]
    return None


def verdict_banner(evidence: Evidence) -> Banner:
    """Put an Evidence into plain words."""
    tone = TONES[evidence.verdict]
    if evidence.level is None:
        headline = _CLAIMS[evidence.verdict]
    else:
        headline = f"{_HEADLINES[evidence.verdict]} at the {evidence.level} level"
    tabs = tuple(_tab(level, evidence) for level in LEVELS) if evidence.levels else ()
    return Banner(
        tone=tone,
        mark=MARKS[tone],
        headline=headline,
        sentences=(evidence.reason,),
        figures=_figures(evidence),
        tabs=tabs,
    )


def _figures(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    if evidence.value is None:
        return ()
    clean, chance = reference(evidence, "clean"), reference(evidence, "chance")
    if clean is None or chance is None:
        shown = [(evidence.statistic, f"{evidence.value:.4g}")]
        if evidence.low is not None and evidence.high is not None:
            shown.append(("Interval", f"{evidence.low:.4g} to {evidence.high:.4g}"))
        if evidence.bound is not None:
            shown.append(("Bound, fixed beforehand", f"{evidence.bound:.4g}"))
        return tuple(shown)
    return (
        ("Accuracy after training on the originals", percent(clean)),
        ("After training on the protected pictures, worst case", percent(evidence.value)),
        ("Allowed at most (fixed beforehand)", percent(evidence.bound)),
        ("Blind guessing", percent(chance)),
    )


def _tab(level: Level, evidence: Evidence) -> Tab:
    found = next((entry for entry in evidence.levels if entry.level == level), None)
    claimed = evidence.level == level
    if found is None:
        text = "No row of this level was run."
        return Tab(level, "not tested", "none", MARKS["none"], ATTACKERS[level], text, claimed)
    tone = TONES[found.verdict]
    return Tab(
        level, found.verdict, tone, MARKS[tone], ATTACKERS[level], _level_sentence(found, evidence), claimed
    )


def _level_sentence(found: LevelVerdict, evidence: Evidence) -> str:
    worst = next((row for row in evidence.rows if row.name == found.worst), None)
    doing = f"“{found.worst}”" + (f" ({worst.about.rstrip('.')})" if worst else "")
    return (
        f"The best attempt up to this level, {doing}, recognised {percent(found.value)} of new, clean "
        f"pictures (interval {interval(found.low, found.high)}). The claim allows {percent(found.bound)}."
    )


def unverified_banner(clean: str | None, protected: str | None) -> Banner:
    """Return the banner of protected data that nobody has tested yet, with the command that tests it."""
    words = ["noli", "verify", protected or "OUT", "--clean", clean or "DATA"]
    return Banner(
        tone="none",
        mark=MARKS["none"],
        headline="Not verified yet",
        sentences=(
            "The pictures were protected, but nobody has measured yet whether the protection holds. "
            "Until then it is a promise, not a result. This command trains fresh models and measures it:",
        ),
        command=shlex.join(words),
    )


def restored_banner(items: int, figures: tuple[tuple[str, str], ...]) -> Banner:
    """Return the banner of a finished undo: how close the restored pictures came to the originals."""
    sentence = f"{count(items, 'picture')} restored with the key."
    if not figures:
        sentence += " The originals were not at hand, so nobody compared the result with them."
    return Banner("none", MARKS["good"], "Restored", (sentence,), figures)


def status_banner(manifest: Mapping[str, Any], *, pictures: bool) -> Banner:
    """Return the banner of a run without a verdict: unfinished, failed, or of a verb that makes no claim."""
    status, error = manifest.get("status"), manifest.get("error") or {}
    if status == "done":
        return Banner(
            tone="none", mark=MARKS["none"], headline="Finished", sentences=("The run is complete.",)
        )
    heads = {"running": "Not finished", "interrupted": "Interrupted", "failed": "Failed"}
    sentences = ["The same command continues where this run stopped."]
    if error and pictures:  # the text of an error may name items
        sentences = [text for text in (error.get("what"), error.get("why"), error.get("fix")) if text]
    elif error:
        sentences = [f"{error.get('type', 'An error')} stopped the run; run.json names the items."]
    tone: Tone = "bad" if status == "failed" else "unsure"
    return Banner(
        tone=tone,
        mark=MARKS[tone],
        headline=heads.get(str(status), str(status)),
        sentences=tuple(map(str, sentences)),
    )
