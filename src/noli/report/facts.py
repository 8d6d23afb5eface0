"""Collect what a report says from a run folder, before it becomes a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from noli.core.errors import RunError
from noli.core.evidence import Evidence
from noli.core.method import Card
from noli.core.run import Run
from noli.ops.metrics import in_words
from noli.report.cards import method_card
from noli.report.pictures import Strip, load_strips
from noli.report.privacy import clean_url, discreet, item_name, redact, withhold
from noli.report.quality import Quality, summarise, with_sample
from noli.report.words import (
    TITLES,
    Banner,
    count,
    restored_banner,
    status_banner,
    unverified_banner,
    verdict_banner,
)

EVIDENCE, PREVIEW = "evidence.json", "preview.npz"


class HasPath(Protocol):
    """Anything with the path of a run folder: a :class:`~noli.core.run.Run`, or the public run of the API."""

    @property
    def path(self) -> Path:
        """The run folder."""


@dataclass(frozen=True)
class Facts:
    """Everything a report says, before it becomes HTML, JSON or Markdown.

    Attributes:
        title: Heading.
        subject: What the report is about, or an empty string where names may not be shown.
        manifest: The run's manifest, redacted.
        banner: The verdict in words.
        evidence: The measured evidence, or None.
        strips: Preview pictures.
        quality: How much the pictures changed.
        card: The method's card, or None.
        limits: What the report does not show.
        partner: Id of the protect run a verification refers to, or None.
        pictures: Whether pictures and names are shown.
    """

    title: str
    subject: str
    manifest: dict[str, Any]
    banner: Banner
    evidence: Evidence | None
    strips: tuple[Strip, ...]
    quality: Quality
    card: Card | None
    limits: tuple[str, ...]
    partner: str | None
    pictures: bool


def gather(
    run: Path | str | HasPath,
    evidence: Evidence | None = None,
    *,
    pictures: bool = True,
    protect_run: Path | str | HasPath | None = None,
) -> Facts:
    """Collect what a report says; see :func:`build` for the arguments and errors."""
    opened = Run.open(run_folder_of(run))
    partner = Run.open(run_folder_of(protect_run)) if protect_run is not None else None
    data = partner or opened  # where the pictures and item records are
    full = opened.manifest.model_dump(mode="json")
    key = full.get("key") or {}
    full.pop("state", None)  # long, and only the method can read it; run.json keeps it
    manifest = redact(full, public={str(value) for value in key.values()})
    evidence = evidence if evidence is not None else load_evidence(opened.path)
    if evidence is not None:
        evidence = Evidence.model_validate(redact(evidence.model_dump(mode="json")))
        evidence = evidence if pictures else discreet(evidence, manifest)
    if not pictures:
        manifest = withhold(manifest)
    strips = load_strips(data.path / "artifacts" / PREVIEW, verb=data.manifest.verb)
    quality = _quality(data, strips, pictures=pictures)
    return Facts(
        title=TITLES.get(opened.manifest.verb, f"Report: {opened.manifest.verb}"),
        subject=_subject(data) if pictures else "",
        manifest=manifest,
        banner=_banner(opened, manifest, evidence, quality, pictures=pictures),
        evidence=evidence,
        strips=strips if pictures else (),
        quality=quality,
        # A verification has no effect of its own: its limits are in the evidence.
        card=method_card(data.manifest.method) if data.manifest.verb != "verify" else None,
        limits=_limits(evidence, quality, manifest, partner),
        partner=partner.manifest.run_id if partner else None,
        pictures=pictures,
    )


def load_evidence(folder: Path) -> Evidence | None:
    """Return the evidence of a run folder, or None when there is none.

    Raises:
        RunError: The file is damaged.
    """
    file = folder / "artifacts" / EVIDENCE
    if not file.is_file():
        return None
    try:
        return Evidence.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            "The evidence of the run cannot be read.",
            where=str(file),
            why=type(error).__name__,
            fix="run `noli verify` again",
        ) from error


def find_protect_run(folder: Path) -> Path | None:
    """Return the run folder beside the data that a verification judged, if there is one."""
    manifest = Run.open(folder).manifest
    if manifest.verb != "verify" or manifest.input is None or "://" in manifest.input.uri:
        return None
    protected = Path(manifest.input.uri)
    beside = protected.with_name(protected.name + ".noli") if protected.name else protected
    return beside if Run.exists(beside) else None


def find_evidence(folder: Path) -> Evidence | None:
    """Return the run's own evidence, else that of a verification of its present output, else None."""
    run = Run.open(folder)
    own = load_evidence(folder)
    if own is not None or run.manifest.verb != "protect" or run.manifest.output is None:
        return own
    if "://" in run.manifest.output.uri:
        return None
    output = Path(run.manifest.output.uri)
    beside = output.with_name(output.name + ".verify.noli") if output.name else output
    if not Run.exists(beside):
        return None
    test = Run.open(beside).manifest
    found = load_evidence(beside) if test.status == "done" else None
    if found is None or _outdated(found, run, test.created):
        return None
    return found


def _outdated(evidence: Evidence, protect: Run, tested: str = "") -> bool:
    """Tell whether evidence judged an earlier state of the data than what lies there now.

    Evidence names the data it judged; where it does not, the time of the test decides, if it is known.
    """
    now = protect.manifest.output.hash if protect.manifest.output else ""
    judged = evidence.hashes.get("protected_items", "")
    if now and judged:
        return now != judged
    return bool(tested) and tested < (protect.manifest.finished or "")


def run_folder_of(run: Path | str | HasPath) -> Path:
    """Return the run folder that was meant."""
    return Path(run) if isinstance(run, str | Path) else Path(run.path)


def _subject(run: Run) -> str:
    side = run.manifest.output or run.manifest.input
    return clean_url(side.uri).rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] if side else ""


def _quality(run: Run, strips: tuple[Strip, ...], *, pictures: bool) -> Quality:
    undone, run_id = run.manifest.verb == "undo", run.manifest.run_id
    quality = summarise(run.iter_records(), run_id, pictures=pictures, restored=undone)
    if undone:  # the previews of an undo show its input, which is not what its quality is measured against
        return quality
    sample = [
        (item_name({"path": strip.name}, run_id, pictures=pictures), strip.ssim)
        for strip in strips
        if strip.ssim is not None
    ]
    return with_sample(quality, sample)


def _banner(
    run: Run, manifest: Mapping[str, Any], evidence: Evidence | None, quality: Quality, *, pictures: bool
) -> Banner:
    if evidence is not None:
        return verdict_banner(evidence)
    facts = run.manifest
    if facts.verb == "protect" and facts.status == "done":
        clean = clean_url(facts.input.uri) if facts.input and pictures else None
        protected = clean_url(facts.output.uri) if facts.output and pictures else None
        return unverified_banner(clean, protected)
    if facts.verb == "undo" and facts.status == "done":
        psnr = next((measure for measure in quality.measures if measure.name == "psnr"), None)
        tiles: tuple[tuple[str, str], ...] = ()
        if psnr is not None:
            tiles = (
                ("PSNR against the originals", in_words(psnr.mean)),
                ("Worst picture", in_words(psnr.worst)),
            )
        return restored_banner(quality.items, tiles)
    return status_banner(manifest, pictures=pictures)


def _limits(
    evidence: Evidence | None, quality: Quality, manifest: Mapping[str, Any], partner: Run | None
) -> tuple[str, ...]:
    limits = list(evidence.limits) if evidence else []
    if evidence and partner and _outdated(evidence, partner):
        limits.insert(0, "The protected data changed after this test; the verdict is about an earlier state.")
    if evidence is None and manifest.get("verb") == "protect":
        limits.append("Nothing was measured yet about training on these pictures.")
    if quality.skipped:
        limits.append(
            f"{count(quality.skipped, 'item')} could not be used and left out of the protected data."
        )
    if quality.identical and not quality.restored:
        limits.append(
            f"{count(quality.identical, 'picture')} did not change at all (for example plain black ones)."
        )
    if (manifest.get("environment") or {}).get("git_dirty"):
        limits.append("Made with a modified noli: the commit alone does not reproduce this run.")
    return tuple(limits)
