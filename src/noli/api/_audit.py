"""Audit scrambled pictures or codes: every attack that suits their scheme, and what is left of the key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noli import registry
from noli.core.attacks import BLOCKS, DIFFUSION, LEARNED, PICTURES, named, unfitting
from noli.core.audit import BROUGHT_BACK, Audit, AuditRow
from noli.core.errors import UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.run import Run
from noli.data.place import refuse_inside
from noli.engine.auditing import MOST_PUBLIC, Case, Images, gather, scheme_of
from noli.engine.codecase import codes_run
from noli.engine.progress import Progress
from noli.ops.decipher.scores import left_bits
from noli.ops.decipher.suite import TOGETHER, Attack, Found, Target, attacks, variants
from noli.ops.keyspace import capped_bits
from noli.ops.metrics import percent, ssim
from noli.ops.planes import to_planes
from noli.ops.scramble import padded, scramble
from noli.ops.sealing import folded
from noli.report.audit import write_page
from noli.report.build import check_replaceable

if TYPE_CHECKING:
    from noli.train.studio import Learning

LIMITS = (
    "Only these attacks were tried; trained on more pictures, learned ones bring back more.",
    "A picture counts as brought back from an SSIM of 0.5; less may be enough to recognise somebody.",
    "Bits that are left are a lower bound where the attacker does not know which parts are wrong.",
    "Matching a pair needs lossless files: after JPEG it finds less than an attacker who allows for it.",
)
SHOWN = 6
ABOUT = {one.name: one.about for one in LEARNED}


def audit(
    scrambled: str | Path,
    *,
    clean: str | Path,
    public: str | Path | None = None,
    pictures: int = 200,
    seconds: float = 60.0,
    learned: bool = False,
    learning: Mapping[str, Any] | None = None,
    generator: str | Path | None = None,
    keep: str | Path | None = None,
    html: str | Path | None = None,
    only: str | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Attack scrambled pictures or codes as somebody without the key would, and say what he brings back.

    Attackers know scheme, options and size of blocks. What they have beside the pictures differs from row to
    row. Chosen pictures are scrambled under a key that is thrown away; the owner's key is not needed. Of
    codes (:func:`noli.encode`) they tell which belongs to which picture (NeuraCrypt), or they bring the
    pictures back (InstaHide).

    Args:
        scrambled: Pictures or codes that ``noli lock`` wrote, or their run folder.
        clean: The originals: attacks are scored by them, and one of them is a known pair.
        public: Other pictures of the kind, for attacks by statistics; None: photographs that come along.
        pictures: Most pictures that are attacked, of the size that is most frequent.
        seconds: CPU seconds per attack after which no further picture is begun, and no further random start
            made; of a row that this may have cut short, the note says so.
        learned: Also train attacks on the public pictures, scrambled under keys of the attacker's own: an
            encoder into a style-based generator (after arXiv 2209.07953), and embeddings that guide it and a
            diffusion model (after arXiv 2303.05036). Minutes of one processor core.
        learning: How much is learned: ``side`` (32 or 64), ``pictures``, ``keys``, ``looks``, ``diffusion``,
            ``samples``, ``sampling``, ``share`` of the usual steps, ``lpips`` (file of weights).
        generator: File of a trained style-based generator of noli; None: one is trained.
        keep: Folder for trainings until all of them are done, so that a kill costs one of them.
        html: Also write a page with pictures here, outside the data: it shows originals.
        only: Name of the one attack that is made (:mod:`noli.core.attacks`); None: all that suit. That of a
            learned one is enough to learn it.
        progress: Where progress goes; nowhere when None.

    Returns:
        The attacks with SSIM, share of pictures brought back, and bits of the key that are left.

    Raises:
        UsageError: The pictures are not scrambled by noli, the codes have no finished run, the attack does
            not suit them, or options of learning do not exist, or come without learning.
        DataError: No originals, nothing to learn from, or a generator that cannot be read.
        OutputExists: ``html`` or ``keep`` lies inside the data, or the page is no earlier report.
    """
    if pictures < 1 or seconds <= 0:
        raise UsageError("An audit needs at least one picture and some time.", why=f"{pictures}, {seconds}")
    _check_places(html, keep, scrambled, clean, public)
    alone = None if only is None else named(only, LEARNED)
    if not (learned or alone) and (learning or generator is not None):
        fix = "say learned=True (--learned), or leave them out"
        raise UsageError("Options of learned attacks need learned attacks.", fix=fix)
    bar = progress or Progress()
    others = None if public is None else str(public)
    if run := codes_run(scrambled):
        return _of_codes(run, str(clean), others, pictures, seconds, learned, html, only, bar)
    how, lpips = _learning(learning or {}) if learned or alone else (None, None)
    if how is not None and alone not in (None, DIFFUSION):
        how = how.model_copy(update={"diffusion": False})
    if alone == DIFFUSION and how is not None and not how.diffusion:
        raise unfitting(str(only), [one.name for one in LEARNED if one != DIFFUSION], "diffusion=false")
    most = MOST_PUBLIC if how is None else max(MOST_PUBLIC, how.pictures)
    case = gather(str(scrambled), str(clean), others, pictures, most)
    target = _target(case, seconds)
    rows, shown = _classical(target, bar, only) if alone is None else ([], [])
    if how is not None and (only is None or alone is not None):
        wanted = None if alone is None else alone.name
        more, seen = _learned(case, how, generator, lpips, keep, bar, wanted)
        rows += more
        shown += seen
    found = _audit(case, target, tuple(rows))
    if html is not None:
        first = target.plain[:SHOWN], target.scrambled[:SHOWN]
        atomic_write(Path(html), write_page(found, *first, shown).encode())
    return found


def _of_codes(
    run: Run,
    clean: str,
    public: str | None,
    pictures: int,
    seconds: float,
    learned: bool,
    html: str | Path | None,
    only: str | None,
    bar: Progress,
) -> Audit:
    from noli.api._audit_codes import audit_codes

    if learned:
        why = "codes have attacks of their own, some of which learn"
        raise UsageError("Codes are not attacked by generators.", why=why, fix="leave --learned out")
    told, text = audit_codes(run, clean, public, pictures, seconds, bar, only)
    if html is not None:
        atomic_write(Path(html), text.encode())
    return told


def _classical(
    target: Target, bar: Progress, only: str | None = None
) -> tuple[list[AuditRow], list[tuple[str, Images]]]:
    """Return the rows of attacks that learn nothing, and the first pictures that each brings back."""
    rows, shown = [], []
    bar.start(None, "attack")
    suited = list(attacks(target))
    if only is not None:
        one, fitting = named(only, PICTURES), [attack.name for attack in suited]
        if one is None or one.name not in fitting:
            learned = [named.name for named in LEARNED]
            raise unfitting(
                only, fitting + learned, f"{target.scheme}{', fresh keys' if target.fresh else ''}"
            )
        suited = [attack for attack in suited if attack.name == one.name]
    for attack in suited:
        row, back = _measured(attack, target)
        rows.append(row)
        # The known picture of a pair is not brought back, but keeps its place in the sheet.
        given = target.plain[: len(target.plain) - len(back)] if attack.has == "one picture in plain" else ()
        shown.append((attack.name, np.concatenate([*([given] if len(given) else []), back])[:SHOWN]))
        bar.advance()
    bar.finish()
    return rows, shown


def _check_places(html: str | Path | None, keep: str | Path | None, *data: str | Path | None) -> None:
    for place in (html, keep):
        if place is not None:
            refuse_inside(place, *data)
    if html is not None:
        check_replaceable(Path(html))


def _target(case: Case, seconds: float) -> Target:
    cfg: Any = case.cfg
    module: Any = registry.module(case.spec.name)
    scheme, block = scheme_of(case.spec, case.cfg)
    planes: Any = getattr(cfg, "planes", "colour")
    whole = padded(case.originals, block)
    grey = planes != "colour" and whole.shape[3] == 3
    plain: Images = to_planes(case.originals, planes, block) if grey else whole
    public: Images = (
        to_planes(case.public[:MOST_PUBLIC], planes, block) if grey else case.public[:MOST_PUBLIC]
    )
    shape = (plain.shape[1], plain.shape[2], plain.shape[3])
    how = folded(case.spec.name, module.fold, Key.generate(), cfg, shape, "")
    return Target(
        scheme=scheme,
        block=block,
        fresh=bool(cfg.fresh),
        plain=plain,
        scrambled=case.scrambled,
        public=public,
        oracle=lambda images: scramble(images, how),
        seconds=seconds,
    )


def _measured(attack: Attack, target: Target) -> tuple[AuditRow, Images]:
    begun = time.process_time()
    found = attack.run(target)
    spent = time.process_time() - begun
    back, alike, scores = scored(found, per_picture=target.fresh or found.alike not in TOGETHER)
    exact = _exact(back, found)
    bits = None
    if found.units:
        right = int(exact * found.units)
        # A picture that is put together may stand at any block.
        alike *= found.units if found.alike == "picture" else 1
        bits = left_bits(right, found.units, choices=found.choices, alike=alike if right else 1)
    row = AuditRow(
        name=attack.name,
        about=attack.about,
        has=attack.has,
        pictures=len(scores),
        ssim=float(np.mean(scores)),
        back=float(np.mean([score >= BROUGHT_BACK for score in scores])),
        exact=exact,
        left_bits=bits,
        seconds=spent,
        note="; ".join(one for one in (attack.note, found.note) if one),
    )
    return row, back


def scored(found: Found, *, per_picture: bool) -> tuple[Images, int, list[float]]:
    """Return the best of what an attack brings back, among how many answers, and the SSIM of each picture.

    Args:
        found: What it brings back.
        per_picture: Whether the best answer is chosen for every picture, or for all together.
    """
    back, alike = _best(found, per_picture=per_picture)
    return back, alike, [ssim(one, other) for one, other in zip(back, found.truth, strict=True)]


def _learning(learning: Mapping[str, Any]) -> tuple[Learning, str | None]:
    """Return how much is learned, and the file of LPIPS weights."""
    from pydantic import ValidationError

    from noli.train.studio import Learning

    apart = {"share": 1.0, "lpips": None, **learning}
    share, lpips = apart.pop("share"), apart.pop("lpips")
    try:
        how = Learning(**apart)
        return (how if share == 1 else how.shortened(float(share))), lpips
    except ValidationError as error:
        why = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise UsageError("Attacks cannot be learned like this.", why=why) from error
    except ValueError as error:
        raise UsageError("Attacks cannot be learned like this.", why=f"share: {error}") from error


def _learned(
    case: Case,
    how: Learning,
    generator: str | Path | None,
    lpips: str | None,
    keep: str | Path | None,
    bar: Progress,
    only: str | None = None,
) -> tuple[list[AuditRow], list[tuple[str, Images]]]:
    from noli.engine.learned import attacked
    from noli.ops.decipher.leakage import retrieval

    stage: list[str] = []

    def tell(_done: int, total: int, what: str) -> None:
        if stage[-1:] != [what]:
            stage.append(what)
            bar.start(total, f"learn {what}")
        bar.advance()

    begun = time.process_time()
    brought = attacked(
        case,
        how,
        folder=None if keep is None else Path(keep),
        generator=generator,
        lpips=lpips,
        tell=tell,
        untrained=only == BLOCKS.name,
    )
    bar.finish()
    spent = (time.process_time() - begun) / len(brought)
    rows = []
    brought = [one for one in brought if only in (None, one.answer.name)]
    for one in brought:
        scores = [ssim(made, truth) for made, truth in zip(one.images, case.originals, strict=True)]
        told = retrieval(one.answer.said, one.answer.known)
        rows.append(
            AuditRow(
                name=one.answer.name,
                about=ABOUT[one.answer.name],
                has="pictures like these",
                pictures=len(scores),
                ssim=float(np.mean(scores)),
                back=float(np.mean([score >= BROUGHT_BACK for score in scores])),
                seconds=spent,
                note=_note(one.answer.name, told.low, told.high),
                retrieval=told.value,
                guessing=told.chance,
            )
        )
    return rows, [(one.answer.name, one.images[:SHOWN]) for one in brought]


def _note(name: str, low: float, high: float) -> str:
    said = f"found among plain ones: 95 % interval {percent(low)} to {percent(high)}"
    return said if name == "block statistics" else f"a reconstruction of the attack; {said}"


def _best(found: Found, *, per_picture: bool) -> tuple[Images, int]:
    """Return the answer nearest to the truth among those that are as good for the attacker, and how many."""
    best, least, count = found.images, _errors(found.images, found.truth), 0
    for answer in variants(found):
        count += 1
        errors = _errors(answer, found.truth)
        better = errors < least if per_picture else np.full(len(errors), errors.sum() < least.sum())
        best = np.where(better[:, None, None, None], answer, best)
        least = np.where(better, errors, least)
    return best, count


def _errors(one: Images, other: Images) -> np.ndarray:
    found: np.ndarray = ((one.astype(np.float32) - other) ** 2).mean((1, 2, 3))
    return found


def _exact(back: Images, found: Found) -> float:
    """Return the share of values that came back as they were; of halves, that of the high ones among both."""
    if found.high:
        return float((back >> 4 == found.truth >> 4).mean()) / 2
    return float((back == found.truth).mean())


def _audit(case: Case, target: Target, rows: tuple[AuditRow, ...]) -> Audit:
    module: Any = registry.module(case.spec.name)
    original = (case.originals.shape[1], case.originals.shape[2], case.originals.shape[3])
    nominal = float(module.nominal(original, case.cfg))
    capped = capped_bits(nominal)
    # Counted by values, more may seem to be left than the key has by its formula.
    bits = [None if row.left_bits is None else min(row.left_bits, nominal) for row in rows]
    rows = tuple(row.model_copy(update={"left_bits": left}) for row, left in zip(rows, bits, strict=True))
    seen = [ssim(one, other) for one, other in zip(target.scrambled, target.plain, strict=True)]
    return Audit(
        method=case.spec.name,
        title=case.spec.card.title,
        config=case.cfg.model_dump(mode="json"),
        pictures=len(target.plain),
        shape=original,
        scrambled_ssim=float(np.mean(seen)),
        nominal=nominal,
        capped=capped,
        effective=min([capped, *(left for left in bits if left is not None)]),
        rows=rows,
        limits=LIMITS,
    )
