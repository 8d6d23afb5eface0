"""``noli demo``: the whole story, offline, on photographs that are part of the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from rich.console import RenderableType
from typer import Argument, Option

from noli.cli import console
from noli.cli.console import verdict
from noli.cli.shared import Config, Json, Quiet, Settings
from noli.ops.metrics import percent
from noli.report.words import duration

if TYPE_CHECKING:
    from noli.api import DemoResult
    from noli.api._demo_lock import DemoLock
    from noli.api._demo_proof import DemoProof

NOTE = (
    "What these photographs show: in colour they can be told apart without any detail. Class filters, all "
    "that the default mode changes, do little there, and the published mode works mostly through its change "
    "of brightness (see the control), which a trainer can undo. Without colour and exposure only detail is "
    "left, and the filters do the work. Your own pictures lie somewhere between: verify them."
)


def demo(
    dest: Annotated[str, Argument(help="Folder for everything the demo makes.")] = "demo-run",
    data: Annotated[str | None, Option(metavar="PATH", help="Your own labelled pictures instead.")] = None,
    json: Json = False,
    settings: Settings = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Key, protect, verify, undo, prove, lock, report: the whole story in a few minutes on two cores."""
    from noli import api, options

    out = console.Output(json=json, quiet=quiet)
    given = options.read_settings(settings or (), config)
    found = api.demo(dest, data, progress=out.progress(), say=out.hint, config=given or None)
    out.result(found.as_dict(), *_story(found))


def _story(found: DemoResult) -> list[RenderableType]:
    accuracies = [
        ("the original pictures", found.clean, "clean"),
        ("protected as published (paper mode)", found.paper, "paper"),
        ("control: brightened only, no filter", found.brightened, ""),
        ("protected with the default mode (keyed)", found.keyed, "keyed"),
        ("guessing", found.chance, ""),
    ]
    without = ["without colour"] * bool(found.equalised)
    compared = [
        (name, percent(value), *(percent(found.equalised[also]) if also else "" for _ in without))
        for name, value, also in accuracies
    ]
    levels = [(verdict(at.verdict), at.level, at.worst, percent(at.value)) for at in found.evidence.levels]
    undo = "identical" if found.undo_psnr is None else f"{found.undo_psnr:.1f} dB PSNR to the originals"
    return [
        console.table(
            "How many new pictures does a network recognise that was trained on ...",
            ["", "recognised", *without],
            compared,
            right=1 + len(without),
        ),
        "",
        console.table(
            "Does the published mode protect, against ever more determined trainers?",
            ["verdict", "trainer", "best attempt", "accuracy"],
            levels,
            right=1,
        ),
        "",
        *([NOTE, ""] if found.embedded else []),
        *(_proof(found.proof) if found.proof else []),
        *(_locks(found.locks) if found.locks else []),
        console.grid(
            [
                ("verdict", found.evidence.reason),
                ("undo", f"with the key: {undo}"),
                *([("proof", _outcome(found.proof))] if found.proof else []),
                ("time", duration(found.seconds)),
                *_pages(found),
            ]
        ),
    ]


def _proof(found: DemoProof) -> list[RenderableType]:
    """Return who was asked and what came of it."""
    from noli.report.certificate import number

    rows = [
        (
            verdict("supported", "FOUND") if one.found else verdict("inconclusive", "not found"),
            name,
            f"{one.hits} of {found.questions}",
            number(one.p),
            percent(one.accuracy),
        )
        for name, one in (
            ("the thief: trained on the marked pictures", found.thief),
            ("control: trained on the originals", found.innocent),
        )
    ]
    psnr = f", PSNR {found.psnr:.1f} dB on those" if found.psnr is not None else ""
    marks = f"{found.marked:,} of {found.pictures:,} pictures carry a mark{psnr}."
    fixed = (
        f"Fixed before anything was marked: {found.questions} secret questions, {found.needed} hits are "
        f"evidence, chance gives {found.expected:.1f}; the two tests together accuse anybody wrongly with "
        f"probability {number(found.alpha)} at most. Both trained without augmentation."
    )
    if found.thief.accuracy < found.innocent.accuracy:
        fixed += " So many marks cost the thief accuracy, too: a side effect, no protection."
    title = "Who learned from your pictures? Both were asked over HTTP, for their first class alone"
    heads = ["", "network", "hits", "p-value", "recognised"]
    return [console.table(title, heads, rows, right=3), "", f"{marks} {fixed}", ""]


def _locks(found: tuple[DemoLock, ...]) -> list[RenderableType]:
    """Return what came back from scrambled pictures, and the sizes of the keys."""
    rows = [
        (
            one.method,
            one.attack,
            one.has,
            f"{percent(one.back)}",
            f"{one.scrambled:.2f} to {one.ssim:.2f}",
            f"{one.nominal:,.0f} / {one.capped:,.0f} / {one.effective:,.0f}",
        )
        for one in found
    ]
    title = "Scrambled pictures: what comes back without the key"
    heads = ["", "attack", "who has them and", "brought back", "likeness (SSIM)", "key bits *"]
    note = "* by the formula / as 256 bits allow / left after the best attack that looks for the key"
    return [console.table(title, heads, rows, right=3), "", note, ""]


def _outcome(found: DemoProof) -> str:
    """Return what the check of the bundle says, in words."""
    if found.status == "valid":
        return (
            "the bundle is valid: everything in it was recomputed, offline; believed was only that the "
            "questions were drawn at random, for which --beacon would stand, and when the thief was trained"
        )
    if found.status == "not significant":
        return (
            f"none this time: {found.thief.hits} hits, and it takes {found.needed}. The bundle is in order, "
            "but it is no evidence: marks do not find every thief"
        )
    return f"none: the bundle is {found.status}. {' '.join(found.reasons)}"


def _pages(found: DemoResult) -> list[tuple[str, RenderableType]]:
    pages = [("report", found.report)]
    pages += [(f"audit: {one.method}", one.page) for one in found.locks]
    if found.proof is not None:
        pages += [("bundle", found.proof.bundle), ("certificate", found.proof.certificate)]
    return [(name, str(file.resolve())) for name, file in pages]
