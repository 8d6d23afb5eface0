"""Audit scrambled pictures or codes: every attack that suits their scheme, and what is left of the key."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from noli import registry
from noli.api._write import refuse_inside
from noli.core.audit import BROUGHT_BACK, Audit, AuditRow
from noli.core.errors import UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.engine.auditing import Case, Images, gather
from noli.engine.codecase import codes_run
from noli.engine.progress import Progress
from noli.ops.decipher.scores import left_bits
from noli.ops.decipher.suite import Attack, Found, Target, attacks, variants
from noli.ops.keyspace import capped_bits
from noli.ops.metrics import ssim
from noli.ops.planes import to_planes
from noli.ops.scramble import padded, scramble
from noli.ops.sealing import folded
from noli.report.audit import write_page
from noli.report.build import check_replaceable

LIMITS = (
    "Only these attacks were tried; learned ones (GANs, diffusion models) bring back more from some schemes.",
    "A picture counts as brought back from an SSIM of 0.5; less may be enough to recognise somebody.",
    "Bits that are left are a lower bound where the attacker does not know which parts are wrong.",
    "Matching a pair needs lossless files: after JPEG it finds less than an attacker who allows for it.",
)
SHOWN = 6


def audit(
    scrambled: str | Path,
    *,
    clean: str | Path,
    public: str | Path | None = None,
    pictures: int = 200,
    seconds: float = 60.0,
    html: str | Path | None = None,
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
        seconds: CPU seconds per attack after which no further picture is begun.
        html: Also write a page with pictures here, outside the data: it shows originals.
        progress: Where progress goes; nowhere when None.

    Returns:
        The attacks with SSIM, share of pictures brought back, and bits of the key that are left.

    Raises:
        UsageError: The pictures are not scrambled by noli, or the codes have no finished run.
        DataError: No originals, or nothing to learn from.
        OutputExists: ``html`` lies inside the data, or is a file that is no earlier report.
    """
    if pictures < 1 or seconds <= 0:
        raise UsageError("An audit needs at least one picture and some time.", why=f"{pictures}, {seconds}")
    if html is not None:
        refuse_inside(html, scrambled, clean, public)
        check_replaceable(Path(html))
    bar = progress or Progress()
    if run := codes_run(scrambled):
        from noli.api._audit_codes import audit_codes

        told, text = audit_codes(
            run, str(clean), None if public is None else str(public), pictures, seconds, bar
        )
        if html is not None:
            atomic_write(Path(html), text.encode())
        return told
    case = gather(str(scrambled), str(clean), None if public is None else str(public), pictures)
    target = _target(case, seconds)
    rows, shown = [], []
    bar.start(None, "attack")
    for attack in attacks(target):
        row, back = _measured(attack, target)
        rows.append(row)
        # The known picture of a pair is not brought back, but keeps its place in the sheet.
        given = target.plain[: len(target.plain) - len(back)] if attack.has == "one picture in plain" else ()
        shown.append((attack.name, np.concatenate([*([given] if len(given) else []), back])[:SHOWN]))
        bar.advance()
    bar.finish()
    found = _audit(case, target, tuple(rows))
    if html is not None:
        first = target.plain[:SHOWN], target.scrambled[:SHOWN]
        atomic_write(Path(html), write_page(found, *first, shown).encode())
    return found


def _target(case: Case, seconds: float) -> Target:
    cfg: Any = case.cfg
    module: Any = registry.module(case.spec.name)
    short: Any = case.spec.name.split("/")[1]
    block = int(getattr(cfg, "block", 1))
    planes: Any = getattr(cfg, "planes", "colour")
    whole = padded(case.originals, block)
    grey = planes != "colour" and whole.shape[3] == 3
    plain: Images = to_planes(case.originals, planes, block) if grey else whole
    public: Images = to_planes(case.public, planes, block) if grey else case.public
    shape = (plain.shape[1], plain.shape[2], plain.shape[3])
    how = folded(case.spec.name, module.fold, Key.generate(), cfg, shape, "")
    return Target(
        scheme=cfg.kind if short == "shuffle" else short,
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
    back, alike, scores = scored(found, per_picture=target.fresh or found.alike != "listed")
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
        note=attack.note,
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
    left = [row.left_bits for row in rows if row.left_bits is not None]
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
        effective=min([capped, *left]),
        rows=rows,
        limits=LIMITS,
    )
