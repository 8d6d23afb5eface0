"""From measured candidates to a choice in plain words, and why one is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noli.core.choice import Choice, Floor, NoChoice, Standing, Tried
from noli.core.evidence import Row, Verdict
from noli.engine.auto.asked import LIMITS, RULE, Asked
from noli.engine.auto.search import LATE, Board, State
from noli.engine.request import RunRequest, absolute
from noli.methods.verify.config import Config
from noli.methods.verify.verdicts import bounds, verdict_of
from noli.ops.metrics import finite, in_words, percent

_VERDICTS: dict[tuple[Verdict, bool], str] = {
    ("supported", True): "It holds.",
    ("inconclusive", True): "It holds as far as it was measured, but by less than the uncertainty.",
    ("inconclusive", False): "It does not hold, though by less than the uncertainty.",
    ("not supported", False): "It does not hold.",
}
_PARTLY = "No row that was measured is above that, but not all were measured."


@dataclass(frozen=True)
class Facts:
    """What a choice says beside its candidates; see :class:`noli.core.choice.Choice`."""

    request: RunRequest
    asked: Asked
    cfg: Config
    levels: Mapping[str, Any]
    clean: Row
    chance: float
    spent: float
    sample: dict[str, int]
    reduced: bool


def told(board: Board, facts: Facts) -> Choice:
    """Return the choice that a filled board gives."""
    asked, found = facts.asked, board.pick()
    state, equal = found if found else (None, [])
    verdict = None if state is None else _verdict(state, board, facts)
    candidates = [_tried(other, state, board, asked) for other in board.states]
    return Choice(
        picked=state.candidate.name if state else None,
        verdict=verdict,
        holds=state is not None and state in board.complete and state.worst.value <= board.allowed,
        reason=_why(state, equal, board, facts, verdict) if state and verdict else _nothing(board, asked),
        rule=RULE,
        claim=asked.claim,
        floor=Floor(psnr=asked.psnr, ssim=asked.ssim),
        seed=asked.seed,
        source=absolute(facts.request.source),
        key=facts.request.key.id if facts.request.key else "",
        complete=board.decided(),
        budget=asked.time,
        spent=round(facts.spent, 1),
        clean=facts.clean,
        chance=facts.chance,
        bound=board.allowed,
        rows=dict(facts.levels),
        candidates=tuple(sorted(candidates, key=_order)),
        sample=facts.sample,
        limits=tuple(limit for limit in LIMITS if facts.reduced or not limit.startswith("Large")),
        config=facts.cfg.model_dump(mode="json"),
    )


def refusal(choice: Choice, *, anyway: bool) -> NoChoice | None:
    """Return why nothing may be protected by this choice; None where something may.

    Args:
        choice: The choice.
        anyway: Take a pick that does not hold.
    """
    if choice.picked is None:
        low = [tried for tried in choice.candidates if tried.standing == "below the floor"]
        late = [one.name for one in choice.candidates if one.reason == LATE]
        tried = " that was tried" if late else ""
        what = f"No candidate{tried} meets the floor." if low else "No candidate could be tried."
        if low:
            more = f"give more --time ({', '.join(late)}); or " if late else ""
            fix = more + _relaxed(low, choice.floor)
        else:
            # Time helps only those for which there was none.
            helps = late or any(tried.standing == "unfinished" for tried in choice.candidates)
            fix = "give more --time" if helps else "see the reasons; name others with --only"
        error = NoChoice(what, why=choice.reason, fix=fix)
    elif choice.holds or anyway:
        return None
    else:
        fix = "take it nevertheless with --anyway, or lower the --psnr and --ssim that you ask for"
        if choice.claim != "naive":
            fix += "; a lower --claim counts weaker attackers only"
        error = NoChoice(
            "Time ran out before a candidate was measured under every countermeasure."
            if choice.unbroken
            else f"No candidate protects this data at the {choice.claim} level.",
            where=choice.picked,
            why=_short(choice),
            fix=fix if choice.complete else f"give more --time, or {fix}",
        )
    error.choice = choice
    return error


def _verdict(state: State, board: Board, facts: Facts) -> Verdict:
    refuted = bounds(facts.clean, facts.chance, facts.cfg.bound)[1]
    verdict = verdict_of(list(state.rows.values()), board.allowed, refuted)
    partly = len(state.rows) < len(board.rows)
    return "inconclusive" if partly and verdict == "supported" else verdict


def _tried(state: State, picked: State | None, board: Board, asked: Asked) -> Tried:
    candidate, quality = state.candidate, state.quality
    standing, reason = _standing(state, picked, board, asked)
    figures = {name: finite(value) for name, value in quality._asdict().items()} if quality.images else {}
    return Tried(
        name=candidate.name,
        method=candidate.method,
        options=dict(candidate.options),
        trial=dict(candidate.trial),
        standing=standing,
        reason=reason,
        rows=tuple(state.rows[name] for name in board.rows if name in state.rows),
        **figures,
    )


def _standing(state: State, picked: State | None, board: Board, asked: Asked) -> tuple[Standing, str]:
    if state is picked:
        return "picked", ""
    if state.failed:
        return "skipped", state.failed
    if state.low:
        # Rounded down, so that what is too little also reads so.
        low = [f"PSNR {_down(state.quality.psnr, 1)} dB"] * (state.quality.psnr < asked.psnr)
        low += [f"SSIM {_down(state.quality.ssim, 2)}"] * (state.quality.ssim < asked.ssim)
        return "below the floor", ", ".join(low)
    if not state.rows:
        return "unfinished", "no time was left to train on it; give more --time"
    better = next((other for other in board.complete if other.dominates(state)), None)
    if better is not None:
        return "dominated", f"{better.candidate.name} is no worse in accuracy, PSNR and time"
    return ("frontier", "") if state in board.complete else ("unfinished", _missing(state, board))


def _order(tried: Tried) -> tuple[int, float]:
    worst = tried.worst()
    if worst is not None and tried.standing != "skipped":
        return int(tried.standing != "picked"), worst.value
    if tried.standing == "skipped":
        return 3, 0.0
    return 2, -(tried.psnr if tried.psnr is not None else math.inf)


def _why(state: State, equal: Sequence[State], board: Board, facts: Facts, verdict: Verdict) -> str:
    worst, candidate, asked = state.worst, state.candidate, facts.asked
    quality, count = state.quality, len(state.rows)
    trainings = "The only training" if count == 1 else f"The most successful of {count} trainings"
    partly = state not in board.complete and worst.value <= board.allowed
    text = (
        f"{candidate.name}: PSNR {in_words(quality.psnr)}, SSIM {quality.ssim:.2f}. {trainings} "
        f"on the protected sample, {worst.name}, reaches {percent(worst.value)} "
        f"({percent(worst.low)} to {percent(worst.high)}) on held-out originals. The originals themselves "
        f"teach {percent(facts.clean.value)}, guessing gives {percent(facts.chance)}; to hold at the "
        f"{asked.claim} level a candidate may reach {percent(board.allowed)}. "
        f"{_PARTLY if partly else _VERDICTS[verdict, worst.value <= board.allowed]}"
    )
    lower = min(equal, key=lambda other: other.worst.value)
    if lower.worst.value < worst.value:
        text += (
            f" {lower.candidate.name} reached less ({percent(lower.worst.value)}), but within that interval "
            "both count as equal, and its PSNR is lower."
        )
    elif len(equal) > 1:
        names = ", ".join(other.candidate.name for other in equal if other is not state)
        text += f" {names} came within its interval, with lower PSNR."
    else:
        text += " Nothing else that was measured alike came within its interval."
    if missing := _missing(state, board):
        text += f" Time ran out: {missing}."
    elif not board.decided():
        text += " Time ran out: a candidate that was not finished or not tried may be better."
    if candidate.trial:
        options = ", ".join(f"{name}={value}" for name, value in candidate.trial.items())
        text += (
            f" It was tried with {options}; the run uses its defaults, which take longer "
            "and were not measured."
        )
    return text


def _nothing(board: Board, asked: Asked) -> str:
    low = [state.quality for state in board.states if state.low]
    if not low:
        return "; ".join(f"{state.candidate.name}: {state.failed}" for state in board.states)
    best = max(low, key=lambda quality: quality.psnr)
    return (
        f"Asked for PSNR {asked.psnr:g} dB and SSIM {asked.ssim:g}; the best quality reached is "
        f"{_down(best.psnr, 1)} dB with SSIM {_down(best.ssim, 2)}."
    )


def _relaxed(low: Sequence[Tried], floor: Floor) -> str:
    """Name the flags with which the best of the candidates below the floor would do."""
    best = max(low, key=lambda tried: math.inf if tried.psnr is None else tried.psnr)
    flags = []
    if best.psnr is not None and best.psnr < floor.psnr:
        flags.append(f"--psnr {_down(best.psnr, 1)}")
    if best.ssim is not None and best.ssim < floor.ssim:
        flags.append(f"--ssim {_down(best.ssim, 2)}")
    return f"accept {' '.join(flags)} ({best.name}), or do not use these methods"


def _down(value: float, digits: int) -> str:
    rounded = math.floor(10**digits * value) / 10**digits if math.isfinite(value) else value
    return f"{rounded:.{digits}f}"


def _short(choice: Choice) -> str:
    worst = choice.pick.worst() if choice.pick else None
    if worst is None:
        return choice.reason
    return (
        f"training under {worst.name} reaches {percent(worst.value)} on held-out originals, and "
        f"{percent(choice.bound)} would still count as protected"
    )


def _missing(state: State, board: Board) -> str:
    left = [row for row in board.rows if row not in state.rows]
    if not left:
        return ""
    verb = "was" if len(left) == 1 else "were"
    return f"{len(left)} of {len(board.rows)} rows {verb} not measured ({', '.join(left)})"
