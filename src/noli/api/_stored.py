"""What a protecting run recorded about its output, compared with what lies there now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from noli.core.dataset import Source, content_id
from noli.core.errors import DataError
from noli.core.run import Run
from noli.methods.verify.subject import LearnabilityData

# Enough to see one file in a hundred that was exchanged with 87 % probability, and read in a second.
SAMPLE = 200


@dataclass(frozen=True)
class Made:
    """One item of a run: the original's path and the digest of what was stored."""

    path: str
    sha256: str


def made_by(run: Run | None) -> dict[str, Made]:
    """Return what a run made, by path in its output; later records win. Empty without a run."""
    records = run.iter_records() if run is not None and run.manifest.verb == "protect" else ()
    return {r["out"]: Made(r["path"], r["sha256_out"]) for r in records if "error" not in r}


def compare(source: Source, made: Mapping[str, Made]) -> tuple[int, int]:
    """Compare a sample of stored items with their records.

    Args:
        source: The protected data.
        made: Result of :func:`made_by`.

    Returns:
        ``(items compared, items that differ)``; items without a record, or unreadable ones, are not counted.
    """
    refs = [ref for ref in source.refs() if ref.path in made]
    checked = changed = 0
    for ref in refs[:: max(1, -(-len(refs) // SAMPLE))]:
        try:
            digest = content_id(source.read(ref))[1]
        except DataError:
            continue
        checked += 1
        changed += digest != made[ref.path].sha256
    return checked, changed


def noted(subject: LearnabilityData, checked: int, changed: int) -> LearnabilityData:
    """Add the result of :func:`compare` to a subject: counts, a note, and a doubt if most items differ."""
    if not checked:
        return subject
    counts = {**subject.counts, "stored_checked": float(checked), "stored_changed": float(changed)}
    if not changed:
        return replace(subject, counts=counts)
    note = f"{changed} of {checked} sampled files are not what the protecting run wrote (recorded SHA-256)."
    doubt = subject.doubt
    if 2 * changed > checked:
        doubt = (
            f"{note} The evidence would not be about that run. Restore its output, or move the data away "
            "from the run folder to judge it on its own. Nothing was trained."
        )
    return replace(subject, counts=counts, notes=(*subject.notes, note), doubt=doubt)
