"""The verdict in plain words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from noli.core.choice import Choice
from noli.core.evidence import LEVELS, Evidence, Level, Row
from noli.ops import metrics
from noli.report.quality import Quality

Tone = Literal["good", "bad", "unsure", "none"]
TONES: Mapping[str, Tone] = {"supported": "good", "not supported": "bad", "inconclusive": "unsure"}
MARKS: Mapping[str, str] = {"good": "✓", "bad": "✕", "unsure": "?", "none": "\u2013"}
TITLES = {
    "protect": "Protection report",
    "verify": "Verification report",
    "attack": "Attack report",
    "undo": "Restoration report",
    "mark": "Marking report",
    "lock": "Lock report",
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
_UNVERIFIED = (
    "The pictures were protected, but nobody has measured yet whether the protection holds. "
    "Until then it is a promise, not a result. This command trains fresh models and measures it:"
)
_FAILED_TRIAL = (
    "It was made nevertheless, because --anyway was given. Until this command has measured it on all "
    "pictures, expect little of it:"
)
_UNPROVEN = (
    "Publish the commitment in proof/commitment.json before the pictures, or have it time-stamped: without "
    "proof that it came first, no later claim is worth anything. This command asks a model that you suspect:"
)
_KEYED = (
    "A key hinders attacks from the public network or from the secret layers alone, in part. It is no access "
    "control: the table says what the model does without it, and nothing holds against who has it."
)
_FLEET = (
    "Whoever has a device can attack it and use it. The table says how much that does to the others; a "
    "leaked model can be traced to its device."
)
_DETECTOR = (
    "Without the key the file finds what the table says. A lock on feature maps is no cryptography: somebody "
    "with a few labelled pictures gets around it. Give the file away sealed (noli lock seal), or not at all."
)
# Layouts of outputs that are locked models: headline and words.
MODELS: Mapping[str, tuple[str, str]] = {
    "fleet": ("A model for every device", _FLEET),
    "keyed-model": ("A keyed model, not a closed one", _KEYED),
    "locked-detector": ("A locked detector, not an encrypted one", _DETECTOR),
}
_SCRAMBLED = (
    "Perceptual encryption hides pictures from a casual look. It is obfuscation, not confidentiality: see "
    "below what it does not stop. The key and noli undo bring the pictures back."
)
# A no-break space keeps number and unit on one line; a dash joins the ends of an interval.
_DASH = "\u2013"
_GAP = "\u00a0"


@dataclass(frozen=True)
class Banner:
    """The top of the report."""

    tone: Tone
    headline: str
    sentences: tuple[str, ...]
    figures: tuple[tuple[str, str], ...] = ()  # label, value
    command: str | None = None  # what the user should run now
    mark: str | None = None  # beside the headline, where it is not that of the tone


def percent(value: float | None) -> str:
    """Return a share as text, ``53.2 %``; a dash for None."""
    return metrics.percent(value, missing=_DASH).replace(" ", _GAP)


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
        pairs = f" ({detail['leaked_pairs']:.0f} pairs)" if "leaked_pairs" in detail else ""
        gain, way = detail["leak_gain_db"], "closer" if detail["leak_gain_db"] >= 0 else "further away"
        found.append(f"what leaked{pairs} brings pictures {abs(gain):.1f}{_GAP}dB {way}")
    if "chance" in detail:
        found.append(f"guessing reaches {percent(detail['chance'])}")
    if "clean_part_only" in detail:
        found.append(f"the unprotected part alone teaches {percent(detail['clean_part_only'])}")
    if "leaked_only" in detail:
        found.append(f"the leaked originals alone teach {percent(detail['leaked_only'])}")
    if "clean" in detail:
        found.append(f"the same training on the originals reaches {percent(detail['clean'])}")
    return "; ".join(found)


def grouped(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows by level, mildest attacker first and comparison rows last, in their own order."""
    groups = [(level, [row for row in rows if row.level == level]) for level in (*LEVELS, "context")]
    return [(level, members) for level, members in groups if members]


def tone(row: Row, bound: float | None) -> str:
    """Return ``good``, ``bad``, ``unsure`` (the bound lies inside the interval) or ``plain``."""
    if bound is None or row.level == "context":
        return "plain"
    if row.high <= bound:
        return "good"
    return "bad" if row.low > bound else "unsure"


def place(share: float) -> str:
    """Return a share as a length for the style sheet, within 0 and 100 %."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _judged(evidence: Evidence) -> tuple[Tone, str]:
    general, at_level = _HEADLINES[evidence.verdict]
    headline = f"{at_level} at the {evidence.level} level" if evidence.level else general
    if any(at.level == "naive" and at.verdict == "not supported" for at in evidence.levels):
        headline = f"{at_level}, not even against ordinary training"
    return (TONES[evidence.verdict], headline) if evidence.decides else ("none", "Measured, not judged")


def banner(
    manifest: Mapping[str, Any],
    evidence: Evidence | None,
    quality: Quality,
    *,
    names: bool,
    choice: Choice | None = None,
) -> Banner:
    """Say in a few words what came of a run; evidence decides, if there is any.

    Without names no places are shown, and no errors, which may name items. The manifest is a redacted one.
    """
    verb, status, error = manifest["verb"], manifest["status"], manifest["error"]
    if evidence is not None:
        tone, headline = _judged(evidence)
        return Banner(tone, headline, (evidence.reason,), _figures(evidence))
    if status != "done":
        sentences = ["The same command continues where this run stopped."]
        if error and names:
            sentences = [str(error[part]) for part in ("what", "why", "fix") if error.get(part)]
        elif error:
            sentences = [f"{error['type']} stopped the run; run.json names the items."]
        headline = {"running": "Not finished", "interrupted": "Interrupted", "failed": "Failed"}[status]
        return Banner("bad" if status == "failed" else "unsure", headline, tuple(sentences))
    if verb == "protect":
        return _protected(manifest, choice, names=names)
    if verb == "mark":
        marked = manifest["output"]["uri"] if manifest["output"] and names else "OUT"
        command = shlex.join(["noli", "detect", marked, "--key", "KEY", "--endpoint", "SUSPECT.yaml"])
        return Banner("none", "Marked; nothing is proven yet", (_UNPROVEN,), command=command)
    if verb == "lock" or is_model(manifest["output"]):
        return _locked(manifest, names=names)
    if verb == "undo":
        return _restored(quality)
    return Banner("none", "Finished", ("The run is complete.",))


def _protected(manifest: Mapping[str, Any], choice: Choice | None, *, names: bool) -> Banner:
    clean, protected = _places(manifest, names=names)
    command = shlex.join(["noli", "verify", protected, "--clean", clean])
    if choice is not None and not choice.holds:
        said = (choice.reason, _FAILED_TRIAL)
        if choice.unbroken:
            return Banner("unsure", "The trial of this protection was not finished", said, command=command)
        return Banner("bad", "The trial of this protection did not hold", said, command=command)
    return Banner("none", "Not verified yet", (_UNVERIFIED,), command=command)


def _places(manifest: Mapping[str, Any], *, names: bool) -> tuple[str, str]:
    """Return where input and output lie, or what stands for them where names may not be shown."""
    sides = ((manifest["input"], "DATA"), (manifest["output"], "OUT"))
    before, after = (str(side["uri"]) if side and names else word for side, word in sides)
    return before, after


def _locked(manifest: Mapping[str, Any], *, names: bool) -> Banner:
    if is_model(manifest["output"]):
        headline, sentence = MODELS[manifest["output"]["layout"]]
        alone = (manifest.get("results") or {}).get("attack")
        further = (f"Only one attack was made: {alone}.",) if alone else ()
        return Banner("none", headline, (sentence, *further))
    clean, scrambled = _places(manifest, names=names)
    command = shlex.join(["noli", "lock", "audit", scrambled, "--clean", clean])
    return Banner("none", "Scrambled, not encrypted", (_SCRAMBLED,), command=command)


def is_model(output: Mapping[str, Any] | None) -> bool:
    """Tell whether the output of a run is a locked model."""
    return bool(output) and output is not None and output["layout"] in MODELS


def _restored(quality: Quality) -> Banner:
    sentence = f"{count(quality.items, 'picture')} restored with the key."
    psnr = next((measure for measure in quality.measures if measure.name == "psnr"), None)
    if psnr is None:
        sentence += " The originals were not at hand, so nobody compared the result with them."
        return Banner("none", "Restored", (sentence,), mark=MARKS["good"])
    figures = (
        ("PSNR against the originals", metrics.in_words(psnr.mean)),
        ("Worst picture", metrics.in_words(psnr.worst)),
    )
    return Banner("none", "Restored", (sentence,), figures, mark=MARKS["good"])


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
