"""Collect what a report says from a run folder, before it becomes a page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from noli import registry
from noli.core.choice import Choice
from noli.core.errors import NoliError, clean_url
from noli.core.evidence import Evidence
from noli.core.method import Card
from noli.core.robustness import Robustness
from noli.core.run import Run, read_artifact
from noli.core.theft import Theft
from noli.core.transfer import Transfer
from noli.ops.lockclaims import fallen
from noli.report.pictures import Strip, load_boxes, load_strips
from noli.report.privacy import evidence_without_names, item_name, redact, without_names
from noli.report.quality import Quality, summarise
from noli.report.words import MODELS, TITLES, Banner, banner, count

_JUDGING = ("verify", "attack")
M = TypeVar("M", Robustness, Theft, Transfer)


@dataclass(frozen=True)
class Facts:
    """Everything a report says, before it becomes HTML, JSON or Markdown; nothing in it is secret.

    `subject` is empty where names may not be shown; `partner` is the id of the run a verification judged;
    `matrix` has name, meaning and figure of every row measured of a locked model, `measure` says what
    the figures are, on how many pictures (`held_out`), `advice` and `told` what else there is to say of
    them, `fallen` what of the lock's claim does not hold (None: there is no such claim); `robustness` is what
    attacks left of it, `theft` what it costs without its key, `transfer` what devices of a fleet give away
    about each other; `boxed` are pictures with what a detector finds.
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
    choice: Choice | None
    pictures: bool
    matrix: tuple[tuple[str, str, float], ...] = ()
    robustness: Robustness | None = None
    theft: Theft | None = None
    transfer: Transfer | None = None
    measure: str = ""
    held_out: int = 0
    advice: str = ""
    told: tuple[tuple[str, str], ...] = ()
    fallen: tuple[str, ...] | None = None
    boxed: tuple[Strip, ...] = ()


def gather(
    run: Run, evidence: Evidence | None = None, *, pictures: bool = True, protect_run: Run | None = None
) -> Facts:
    """Collect what a report says, from nothing but the run folders; the evidence is by default the run's own.

    A verification shows pictures, quality and method card of `protect_run`. Without pictures, the names of
    items and places become digests.

    Raises:
        RunError: Files of a run are damaged.
    """
    data = protect_run or run  # where the pictures and item records are
    # The method's state is long, and only the method can read it; run.json keeps it.
    manifest = redact(run.manifest.model_dump(mode="json", exclude={"state"}))
    evidence = evidence or load_evidence(run)
    if evidence is not None:
        evidence = Evidence.model_validate(redact(evidence.model_dump(mode="json")))
        evidence = evidence if pictures else evidence_without_names(evidence, manifest)
    strips = load_strips(data.path / "artifacts" / "preview.npz", undone=data.manifest.verb == "undo")
    quality = _quality(data, strips, names=pictures)
    place = (data.manifest.output or data.manifest.input) if pictures else None
    choice = load_choice(run, names=pictures)
    return Facts(
        title=TITLES.get(run.manifest.verb, f"Report: {run.manifest.verb}"),
        subject=Path(clean_url(place.uri)).name if place else "",
        manifest=manifest if pictures else without_names(manifest),
        banner=banner(manifest, evidence, quality, names=pictures, choice=choice),
        evidence=evidence,
        strips=strips if pictures else (),
        quality=quality,
        # A verification has no effect of its own: its limits are in the evidence. An undo ends the effect.
        card=None if data.manifest.verb in (*_JUDGING, "undo") else method_card(data.manifest.method),
        limits=_limits(run, evidence, quality, protect_run),
        partner=protect_run.manifest.run_id if protect_run else None,
        choice=choice,
        pictures=pictures,
        boxed=load_boxes(run.path / "artifacts" / "boxes.npz") if pictures else (),
        robustness=_record(run, "robustness", Robustness),
        theft=_record(run, "theft", Theft),
        transfer=_record(run, "transfer", Transfer),
        **_measured(run),
    )


def _measured(run: Run) -> dict[str, Any]:
    """Return what was measured of a locked model, in the words of its method; nothing for other runs."""
    output, results = run.manifest.output, run.manifest.results
    if output is None or output.layout not in MODELS or not results:
        return {}
    method = registry.module(str(run.manifest.method))
    rows, measure = method.MEASURE
    meanings = method.MEANINGS
    # Of devices no such claim is made.
    said = {} if output.layout == "fleet" else {"fallen": fallen(results, rows)}
    if rows not in results:  # one attack alone
        return {"held_out": int(results["held_out"]), "measure": measure, **said}
    matrix = tuple((name, meanings[name], value) for name, value in results[rows].items() if name in meanings)
    words: dict[str, Any] = {"measure": measure, "advice": method.NEXT, "told": tuple(method.told(results))}
    return {"matrix": matrix, "held_out": int(results["held_out"]), **words, **said}


def _record(run: Run, name: str, kind: type[M]) -> M | None:
    found = run.manifest.results.get(name)
    return None if found is None else kind.model_validate(found)


def load_evidence(run: Run) -> Evidence | None:
    """Return the evidence of a run, or None when there is none.

    Raises:
        RunError: The file is damaged.
    """
    return read_artifact(run.path / "artifacts" / "evidence.json", Evidence, "run `noli verify` again")


def load_choice(run: Run, *, names: bool = True) -> Choice | None:
    """Return how the method of a run was chosen, or None where it was not chosen by trials.

    Without names, the place of the data is left out, and so are reasons, which may name items.

    Raises:
        RunError: The file is damaged.
    """
    fix = "restore it from a backup, or remove it: the run itself does not need it"
    found = read_artifact(run.path / "artifacts" / "choice.json", Choice, fix)
    if found is None or found.pick is None or found.pick.method != run.manifest.method:
        return None
    if names:
        return found
    tried = tuple(
        one.model_copy(update={"reason": ""} if one.standing == "skipped" else {}) for one in found.candidates
    )
    return found.model_copy(update={"source": "", "candidates": tried})


def find_protect_run(run: Run) -> Run | None:
    """Return the run beside the data that a verification judged, if there is one."""
    manifest = run.manifest
    if manifest.output is not None and manifest.output.layout in MODELS:
        return None  # its input are pictures to measure a locked model by
    return _beside(manifest.input.uri, ".noli") if manifest.verb in _JUDGING and manifest.input else None


def find_evidence(run: Run) -> Evidence | None:
    """Return the run's own evidence, else that of a verification of its present output, else None."""
    own, output = load_evidence(run), run.manifest.output
    if own is not None or run.manifest.verb != "protect" or output is None:
        return own
    # Data and run folder may have been moved together; the digest below tells whose test it is.
    moved = str(run.path).removesuffix(".noli")
    test = _beside(output.uri, ".verify.noli") or _beside(moved, ".verify.noli")
    found = load_evidence(test) if test and test.manifest.status == "done" else None
    return found if found and found.hashes.get("protected_items") == output.hash else None


def _beside(uri: str, suffix: str) -> Run | None:
    """Return the run whose folder lies beside data, if there is one; URLs have no neighbours."""
    folder = Path(uri + suffix)
    return Run.open(folder) if "://" not in uri and Run.exists(folder) else None


def method_card(name: str | None) -> Card | None:
    """Return a method's card, or None when the method is unknown here (a plug-in that is not installed)."""
    try:
        return registry.get(name).card if name else None
    except NoliError:
        return None


def _quality(run: Run, strips: tuple[Strip, ...], *, names: bool) -> Quality:
    call = partial(item_name, run_id=run.manifest.run_id, names=names)
    if run.manifest.verb == "undo":  # its previews show its input, against which its quality is not measured
        return summarise(run.iter_records(), call, restored=True)
    ssim = {call({"path": strip.name}): strip.ssim for strip in strips if strip.ssim is not None}
    return summarise(run.iter_records(), call, ssim=ssim)


def _limits(
    run: Run, evidence: Evidence | None, quality: Quality, protect_run: Run | None
) -> tuple[str, ...]:
    limits = list(evidence.limits) if evidence else []
    now = protect_run.manifest.output if protect_run else None
    if evidence and now and evidence.hashes.get("protected_items", now.hash) != now.hash:
        limits.insert(0, "The protected data changed after this test; the verdict is about an earlier state.")
    if evidence is None and run.manifest.verb == "protect":
        limits.append("Nothing was measured yet about training on these pictures.")
    if quality.skipped:
        limits.append(
            f"{count(quality.skipped, 'item')} could not be used and left out of the protected data."
        )
    if quality.identical and not quality.restored:
        limits.append(
            f"{count(quality.identical, 'picture')} did not change at all (for example plain black ones)."
        )
    if run.manifest.environment.git_dirty:
        limits.append("Made with a modified noli: the commit alone does not reproduce this run.")
    return tuple(limits)
