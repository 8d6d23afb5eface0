"""Marks whose classes a public round decides: commit first, and mark when the round is there."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from noli import registry
from noli.api._beacon import BEACON, PROOF, Wanted, begun_without, had, stored, waiting
from noli.core.errors import UsageError, clean_url
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.manifest import DataInfo, KeyInfo
from noli.core.method import DataSummary, State
from noli.core.run import Run
from noli.data.sources import open_source
from noli.data.writers import check_paths
from noli.engine.lock import held
from noli.engine.request import RunRequest, absolute
from noli.engine.runner import check_places
from noli.engine.scanstage import SHARD_PIXELS, Totals, good_rows
from noli.engine.shard import ShardWork
from noli.engine.study import StoredStudy, files
from noli.proof.beacon import require, round_after, round_time
from noli.proof.commitment import Commitment
from noli.proof.marks import MADE, PLAN, VALUE
from noli.proof.protocol import BeaconPlan
from noli.proof.records import now, utc
from noli.proof.times import said

COMMITMENT = "commitment.json"


def planned(run: Run | None) -> BeaconPlan | None:
    """Return the round that decides the classes of a run, if one does."""
    plan = (run.manifest.state or {}).get(PLAN) if run is not None else None
    return BeaconPlan.model_validate(plan) if plan else None


def refuse_waiting_run(folder: Path, plan: BeaconPlan) -> NoReturn:
    """Refuse what needs marked data while the round that decides the marks is not applied yet."""
    raise UsageError(
        "Nothing is marked yet: public randomness has to decide how.",
        where=str(folder),
        why=f"round {plan.round} of the beacon, public from {said(round_time(plan.round))} on, is missing",
        fix="give the noli mark command again, with --allow-network or --beacon-file",
    )


def committed_of(run: Run) -> Commitment | None:
    """Return the commitment that a run was begun with; None where there was no beacon."""
    made = (run.manifest.state or {}).get(MADE)
    return Commitment.model_validate(made) if made else None


def await_round(request: RunRequest, name: str, wanted: Wanted) -> tuple[Run, bool]:
    """Commit to the secrets of a marking, or go on with one: note the round once it is published.

    The round is chosen by the first call and written down with the commitment, in one step. No later call
    changes it: whoever could choose among rounds could choose among classes.

    Args:
        request: The marking.
        name: Who claims, in words.
        wanted: How the round is had.

    Returns:
        The run, and whether it can be marked now.

    Raises:
        MissingPrerequisite: py_ecc is not installed; the round is published, and nothing says which it was.
        UsageError: The run was begun otherwise, or the file cannot be read.
        DataError: Broken items, or another round than the planned one.
    """
    require()
    folder = request.run_folder
    with held(folder):
        run = Run.open(folder) if Run.exists(folder) else None
        # Until something was marked, whatever lies at the output is somebody else's.
        owned = run is not None and bool(run.manifest.generations)
        check_paths(request.source, request.output, owned=owned)
        check_places(request, folder)
        if run is None:
            run = _begun(request, name, wanted.delay)
        else:
            _same(run, request)
        write_commitment(run)
        return run, note_round(run, wanted)


def refuse_beacon(folder: Path, *, given: bool) -> None:
    """Refuse arguments of a beacon without one, and to go on without the one that a run was begun with.

    Raises:
        UsageError: In either case.
    """
    if given:
        raise UsageError("Only a beacon is read from a file or the network.", fix="add --beacon")
    if Run.exists(folder) and planned(Run.open(folder)) is not None:
        what, fix = "The run was begun with a beacon.", "add --beacon, or mark into a new output"
        raise UsageError(what, where=str(folder), fix=fix)


def _begun(request: RunRequest, name: str, delay: int) -> Run:
    """Scan the data, choose the round, commit, and write all of it down in one step."""
    key, module = request.key, registry.module(request.spec.name)
    assert key is not None  # noqa: S101 - a mark has one
    if not hasattr(module, "fixed"):
        what = "This method takes no beacon."
        raise UsageError(what, where=request.spec.name, fix="leave --beacon out")
    summary, layout = _scanned(request)
    state: State = module.fixed(summary, request.cfg)
    plan = BeaconPlan(round=round_after(utc(now()) + timedelta(minutes=delay)))
    state[PLAN] = plan.model_dump(mode="json")
    # The manifest keeps no logins of URLs, and what it keeps must be what was signed.
    made = module.vault(state, key, request.cfg).commit(clean_url(name))
    state[MADE] = made.model_dump(mode="json")
    why = waiting(plan, "nothing", "the classes")
    return Run.create(request.run_folder, **_fields(request, key, layout), state=state, error=why)


def _scanned(request: RunRequest) -> tuple[DataSummary, str]:
    source, totals = open_source(request.source, labels=request.labels), Totals()
    rows = good_rows(request, source, totals)
    if not request.spec.studies:
        deque(rows, maxlen=0)
        return totals.summary(request.source), source.layout
    study = StoredStudy(ShardWork(request, {}, source), list(rows), files(request.run_folder))
    return totals.summary(request.source, study), source.layout


def _fields(request: RunRequest, key: Key, layout: str) -> dict[str, Any]:
    """Return the manifest as the runner begins it, without any data: that enters when it is marked."""
    resolved = request.resolved()
    return {
        "verb": request.verb,
        "method": request.spec.name,
        "args_passed": dict(request.args_passed),
        "args_resolved": {**resolved, "on_error": request.on_error, "workers": request.workers},
        "key": KeyInfo(id=key.id, commitment=key.commit()),
        "input": DataInfo(uri=absolute(request.source), layout=layout),
        "output": DataInfo(uri=resolved["output"], format=request.format, metadata=request.metadata),
        "shard_size": request.shard_size,
        "shard_pixels": SHARD_PIXELS,
        "status": "interrupted",
    }


def _same(run: Run, request: RunRequest) -> None:
    """Refuse to go on with other arguments than the commitment was made with."""
    if planned(run) is None:
        raise begun_without(run, "classes")
    if run.manifest.generations:
        return  # what was marked is compared by the runner
    before = run.manifest.args_resolved
    for name, value in request.resolved().items():
        if before.get(name) != value:
            raise UsageError(
                f"The commitment was made with another value of `{name}`.",
                where=str(run.path),
                why=f"it was {before.get(name)!r}, now it is {value!r}",
                fix="give the same command again, or mark into a new output",
            )


def write_commitment(run: Run) -> None:
    """Write the commitment that a run was begun with where it is published from, unless it is there."""
    file, made = run.path / PROOF / COMMITMENT, committed_of(run)
    if made is not None and not file.is_file():
        atomic_write(file, made.canonical())


def note_round(run: Run, wanted: Wanted) -> bool:
    """Whether the round is known, after writing it down if this call brings it."""
    file, plan = run.path / PROOF / BEACON, planned(run)
    assert plan is not None  # noqa: S101 - the run was begun with one
    state = run.manifest.state or {}
    if VALUE in state and file.is_file():
        return True
    found = stored(file, plan) if file.is_file() else had(plan, wanted)
    if found is None:
        return False
    atomic_write(file, found.canonical())
    # Last: from now on the draws are fixed.
    run.update(state={**state, VALUE: found.randomness})
    return True
