"""The verdict in plain words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from noli.core.evidence import Evidence, Level

Tone = Literal["good", "bad", "unsure", "none"]
TONES: Mapping[str, Tone] = {"supported": "good", "not supported": "bad", "inconclusive": "unsure"}
MARKS: Mapping[str, str] = {"good": "✓", "bad": "✕", "unsure": "?", "none": "\u2013"}
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
_HEADLINES = {  # verdict -> without and with a level
    "supported": ("The claim is supported", "Protection holds"),
    "not supported": ("The claim is not supported", "Protection does not hold"),
    "inconclusive": ("No clear answer", "No clear answer"),
}
# A no-break space keeps number and unit on one line; a dash joins the ends of an interval.
_DASH = "\u2013"
_GAP = "\u00a0"


@dataclass(frozen=True)
class Banner:
    """The top of the report.

    Attributes:
        tone: Colour.
        headline: The verdict in a few words.
        sentences: What was found.
        figures: ``(label, value)`` tiles.
        command: Command the user should run now.
        mark: Sign beside the headline, where it is not that of the tone.
    """

    tone: Tone
    headline: str
    sentences: tuple[str, ...]
    figures: tuple[tuple[str, str], ...] = ()
    command: str | None = None
    mark: str | None = None


def percent(value: float | None) -> str:
    """Return a share as text, ``53.2 %``; a dash for None."""
    return _DASH if value is None else f"{100 * value:.1f}{_GAP}%"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, ``1 item``, ``1,200 items``."""
    return f"{number:,}{_GAP}{noun}{'' if number == 1 else 's'}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of shares as text, ``50.1-56.3 %`` with a proper dash."""
    return _DASH if low is None or high is None else f"{100 * low:.1f}{_DASH}{100 * high:.1f}{_GAP}%"


def duration(seconds: float) -> str:
    """Return seconds as ``4.0 s``, ``59 s``, ``2 min 10 s`` or ``3 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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


def verdict_banner(evidence: Evidence) -> Banner:
    """Put an Evidence into plain words."""
    general, at_level = _HEADLINES[evidence.verdict]
    headline = f"{at_level} at the {evidence.level} level" if evidence.level else general
    return Banner(TONES[evidence.verdict], headline, (evidence.reason,), _figures(evidence))


def _figures(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    known = evidence.reference
    if evidence.value is None:
        return ()
    if "clean" in known and "chance" in known:
        return (
            ("Accuracy after training on the originals", percent(known["clean"])),
            ("After training on the protected pictures, worst case", percent(evidence.value)),
            ("Allowed at most (fixed beforehand)", percent(evidence.bound)),
            ("Blind guessing", percent(known["chance"])),
        )
    shown = [(evidence.statistic, f"{evidence.value:.4g}")]
    if evidence.low is not None and evidence.high is not None:
        shown.append(("Interval", f"{evidence.low:.4g} to {evidence.high:.4g}"))
    if evidence.bound is not None:
        shown.append(("Bound, fixed beforehand", f"{evidence.bound:.4g}"))
    return tuple(shown)


def unverified_banner(clean: str, protected: str) -> Banner:
    """Return the banner of protected data that nobody has tested yet, with the command that tests it."""
    said = (
        "The pictures were protected, but nobody has measured yet whether the protection holds. "
        "Until then it is a promise, not a result. This command trains fresh models and measures it:"
    )
    command = shlex.join(["noli", "verify", protected, "--clean", clean])
    return Banner("none", "Not verified yet", (said,), command=command)


def restored_banner(items: int, figures: tuple[tuple[str, str], ...]) -> Banner:
    """Return the banner of a finished undo: how close the restored pictures came to the originals."""
    sentence = f"{count(items, 'picture')} restored with the key."
    if not figures:
        sentence += " The originals were not at hand, so nobody compared the result with them."
    return Banner("none", "Restored", (sentence,), figures, mark=MARKS["good"])


def status_banner(status: str, error: Mapping[str, Any] | None, *, names: bool) -> Banner:
    """Return the banner of a run without a verdict: unfinished, failed, or of a verb that makes no claim.

    Args:
        status: Status of the run.
        error: Why it stopped, as the manifest has it.
        names: Whether the text of the error, which may name items, can be shown.
    """
    if status == "done":
        return Banner("none", "Finished", ("The run is complete.",))
    sentences = ["The same command continues where this run stopped."]
    if error and names:
        sentences = [str(error[part]) for part in ("what", "why", "fix") if error.get(part)]
    elif error:
        sentences = [f"{error['type']} stopped the run; run.json names the items."]
    headline = {"running": "Not finished", "interrupted": "Interrupted", "failed": "Failed"}[status]
    return Banner("bad" if status == "failed" else "unsure", headline, tuple(sentences))
