"""Choose a protection by trials on a sample, and protect with it."""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noli.api._judging import configured
from noli.api._protect import ProtectRun, protect, request_for
from noli.core.choice import Choice
from noli.core.errors import Interrupted, UsageError
from noli.core.evidence import Level
from noli.core.files import atomic_write
from noli.core.run import Run, read_artifact
from noli.engine.auto.asked import TRAININGS, Asked
from noli.engine.request import RunRequest, absolute
from noli.options import configure

CHOICE = "choice.json"
# Any method with a key will do for looking at the data and at the place of the output.
_STAND_IN = "cuda"


def choose(
    data: str | Path,
    output: str | Path,
    *,
    psnr: float | str = 22.0,
    ssim: float | str = 0.7,
    time: float | str | None = 600.0,
    claim: Level = "adaptive",
    only: Sequence[str] = (),
    seed: int | str = 0,
    config: Mapping[str, object] | None = None,
    clock: Callable[[], float] = clocks.monotonic,
    **arguments: Any,
) -> Choice:
    """Try the candidates on a sample of the data and say which one to take; writes nothing.

    The same data, options and key give the same choice wherever time was not the limit. An output that
    was begun with a choice keeps it: then nothing is tried, and the kept choice is returned.

    Args:
        data: As for :func:`protect`, with a class for every picture.
        output: As for :func:`protect`.
        psnr: Floor: smallest mean PSNR in dB, on pictures at native size as they would be stored.
        ssim: Floor: smallest mean SSIM.
        time: Seconds for the trials, or ``90s``, ``10m``, ``2h``; None for as many as it takes. A training
            that has begun is finished; the scan of the data comes before.
        claim: Attacker level up to which accuracies count.
        only: Candidates to try; all of the table when empty.
        seed: First seed of the trainings.
        config: Settings of the trainings, those of :func:`verify`.
        clock: Monotonic seconds.
        arguments: ``key`` and all other arguments of :func:`protect`, without ``method`` and its options.

    Returns:
        Everything that was tried, the pick and why. Nothing is picked where nothing meets the floor.

    Raises:
        UsageError: Unknown option or candidate, no key, an output in the way, or one begun otherwise.
        DataError: Items that cannot be used, too few of them, one class, or clean data that does not teach.
        Interrupted: Ctrl-C; nothing was written.
    """
    from noli.engine.auto.choosing import choose as try_candidates

    if arguments.get("key") is None:
        fix = "make one with `noli key new owner.key` and pass --key owner.key"
        raise UsageError("Choosing a protection needs a key.", fix=fix)
    given = {"psnr": psnr, "ssim": ssim, "time": time, "claim": claim, "only": only, "seed": seed}
    asked = configure(Asked, "protect/auto", given)
    cfg = configured(TRAININGS, config or {})
    request = request_for(data, output, _STAND_IN, **arguments)
    kept = _kept(request, asked, cfg)
    if kept is not None:
        return kept
    try:
        return try_candidates(request, asked, cfg, clock)
    except KeyboardInterrupt as stop:
        fix = "give the same command again: it begins anew"
        raise Interrupted("Stopped while choosing; nothing was written.", fix=fix) from stop
    finally:
        request.progress.finish()


def protect_auto(
    data: str | Path,
    output: str | Path,
    *,
    anyway: bool = False,
    choice: Choice | None = None,
    **arguments: Any,
) -> ProtectRun:
    """Choose a protection by trials on a sample, then protect all of the data with it.

    The run is an ordinary one of the picked method: ``undo``, ``verify`` and reports work as ever, and the
    same call resumes. The choice is kept with it, in ``artifacts/choice.json``.

    Args:
        data: As for :func:`protect`.
        output: As for :func:`protect`.
        anyway: Protect also where the best candidate does not hold.
        choice: What :func:`choose` returned for the same arguments; made here when None.
        arguments: All other arguments of :func:`choose`.

    Returns:
        The finished run.

    Raises:
        NoChoice: Nothing meets the floor, or nothing holds; a UsageError that names what to relax.
        NoliError: As for :func:`choose` and :func:`protect`.
    """
    from noli.engine.auto.telling import refusal

    if choice is None:
        choice = choose(data, output, **arguments)
    refused, pick = refusal(choice, anyway=anyway), choice.pick
    if refused is not None:
        raise refused
    assert pick is not None  # noqa: S101 - a choice without a pick is refused
    ours = ("psnr", "ssim", "time", "claim", "only", "seed", "config", "clock")
    passed = {name: value for name, value in arguments.items() if name not in ours}
    request = request_for(data, output, pick.method, config=pick.options, **passed)
    # Before the run: a run that is stopped goes on with this choice instead of making another one.
    atomic_write(_file(request), choice.model_dump_json(indent=1).encode())
    return protect(data, output, pick.method, config=pick.options, **passed)


def _file(request: RunRequest) -> Path:
    return request.run_folder / "artifacts" / CHOICE


def _kept(request: RunRequest, asked: Asked, cfg: Any) -> Choice | None:
    """Return the choice that the output was begun with, or None; refuse to begin it in another way."""
    folder = request.run_folder
    fix = "choose another output; this run goes on under `noli protect METHOD`"
    kept = read_artifact(_file(request), Choice, fix)
    if kept is None:
        if Run.exists(folder):
            method = Run.open(folder).manifest.method
            raise UsageError(
                "This output was begun without a choice.",
                where=str(folder),
                why=f"its run was made with {method}",
                fix=f"give that command again (noli protect {str(method).split('/')[-1]} ...), "
                "or choose another output",
            )
        return None
    changed = _changed(kept, request, asked, cfg)
    if not changed:
        return kept
    if not Run.exists(folder):
        return None
    old = ", ".join(f"{name}={value}" for name, value in changed.items())
    raise UsageError(
        "This output was begun with another choice.",
        where=str(folder),
        why=f"it was made with {old}",
        fix="ask for the same to continue it, or choose another output",
    )


def _changed(kept: Choice, request: RunRequest, asked: Asked, cfg: Any) -> dict[str, object]:
    """Return what a kept choice was made with, where it is not what is asked for now; time may differ."""
    from noli.engine.auto.candidates import wanted

    named = {candidate.name for candidate in wanted(asked.only)}
    pairs: dict[str, tuple[object, object]] = {
        "data": (kept.source, absolute(request.source)),
        "key": (kept.key, request.key.id if request.key else ""),
        "psnr": (kept.floor.psnr, asked.psnr),
        "ssim": (kept.floor.ssim, asked.ssim),
        "claim": (kept.claim, asked.claim),
        "seed": (kept.seed, asked.seed),
        "only": ({tried.name for tried in kept.candidates}, named),
        "settings": (kept.config, cfg.model_dump(mode="json")),
    }
    return {name: old for name, (old, new) in pairs.items() if old != new}
