"""Audit codes: what attacks on NeuraCrypt and InstaHide match or bring back."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from noli.api._audit import SHOWN, scored
from noli.core.attacks import MIXES, SETS, named, unfitting
from noli.core.audit import BROUGHT_BACK, Audit, AuditRow
from noli.core.run import Run
from noli.engine.auditing import Images
from noli.engine.codecase import Answer, CodeAttack, CodeCase, gather_codes
from noli.engine.mixattacks import MixTarget, mix_attacks
from noli.engine.progress import Progress
from noli.engine.setattacks import SetTarget, set_attacks
from noli.ops.codes import stored
from noli.ops.decipher.rematch import rate
from noli.report.audit import write_page

LIMITS_SETS = (
    "Only these attacks were tried; what they match is a lower bound of what can be matched.",
    "Pictures and codes are the same set: an attacker who has other pictures as well matches fewer, later.",
    "A matched code tells which picture it is; nothing here draws a picture that the attacker does not have.",
)
LIMITS_MIXES = (
    "Only these attacks were tried; the published one trains a network, and these do not.",
    "A picture counts as brought back from an SSIM of 0.5; less may be enough to recognise somebody.",
    "Every further code of a picture helps: what holds for these codes does not hold for more of them.",
)


def audit_codes(
    run: Run,
    clean: str,
    public: str | None,
    pictures: int,
    seconds: float,
    bar: Progress,
    only: str | None = None,
) -> tuple[Audit, str]:
    """Attack the codes of a run; return what came of it, and its page; see :func:`noli.audit`."""
    case = gather_codes(run, clean, public, pictures)
    sets = case.codes.ndim == 3
    plain, drawn, attacks = _set_case(case, seconds) if sets else _mix_case(case, seconds)
    if only is not None:
        one, suited = named(only, SETS if sets else MIXES), list(attacks)
        attacks = [attack for attack in suited if one is not None and attack.name == one.name]
        if not attacks:
            raise unfitting(only, [attack.name for attack in suited], case.spec.card.title)
    rows, shown = [], []
    bar.start(None, "attack")
    for attack in attacks:
        row, back = _measured(attack, plain)
        rows.append(row)
        if row.counts or not sets:
            shown.append((attack.name, back[:SHOWN]))
        bar.advance()
    bar.finish()
    found = Audit(
        method=case.spec.name,
        title=case.spec.card.title,
        config=case.cfg.model_dump(mode="json"),
        pictures=len(plain),
        shape=(plain.shape[1], plain.shape[2], plain.shape[3]),
        rows=tuple(rows),
        limits=LIMITS_SETS if sets else LIMITS_MIXES,
    )
    return found, write_page(found, plain[:SHOWN], drawn[:SHOWN], shown)


def _set_case(case: CodeCase, seconds: float) -> Any:
    target = SetTarget(case, seconds)
    return case.originals, np.stack([_drawn(one) for one in case.codes[:SHOWN]]), set_attacks(target)


def _mix_case(case: CodeCase, seconds: float) -> Any:
    target = MixTarget(case, seconds)
    return target.plain, stored(target.codes[:SHOWN, 0]), mix_attacks(target)


def _drawn(codes: npt.NDArray[np.float16]) -> Images:
    """Return the corner of a set of codes as a grey picture."""
    part = codes[:, : len(codes)].astype(np.float32)
    grey = 127.5 + 50 * (part - part.mean()) / (part.std() + 1e-6)
    found: Images = grey.clip(0, 255).astype(np.uint8)[..., None]
    return found


def _measured(attack: CodeAttack, plain: Images) -> tuple[AuditRow, Images]:
    begun = time.process_time()
    found = attack.run()
    spent = time.process_time() - begun
    told: dict[str, Any]
    if isinstance(found, Answer):
        told, back = _matched(found), _answered(found, plain)
    else:
        back, _, scores = scored(found, per_picture=False)
        told = {
            "pictures": len(scores),
            "ssim": float(np.mean(scores)),
            "back": float(np.mean([score >= BROUGHT_BACK for score in scores])),
        }
    row = AuditRow(
        name=attack.name,
        about=attack.about,
        has=attack.has,
        seconds=spent,
        note=attack.note if isinstance(attack.note, str) else attack.note(),
        **told,
    )
    return row, back


def _matched(found: Answer) -> dict[str, Any]:
    share = rate(int((found.said == found.true).sum()), len(found.true))
    return {
        "pictures": len(found.true), "back": share.share, "chance": share.chance, "low": share.low,
        "high": share.high,
    }  # fmt: skip


def _answered(found: Answer, plain: Images) -> Images:
    """Return, for the code of every picture, the picture that the attacker takes it to be of.

    Those that he knew to begin with are themselves.
    """
    rows = np.arange(len(plain))
    known = len(plain) - len(found.true)
    whose = {int(code): known + place for place, code in enumerate(found.said)}
    answers = [whose.get(int(code), known + place) for place, code in enumerate(found.true)]
    shown: Images = plain[np.concatenate([rows[:known], np.array(answers, np.int64)])]
    return shown
