"""Mark a text-to-image model, and commit to its secrets, before it is given to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from noli import registry
from noli.api._beacon import Wanted, begun_without, waiting
from noli.api._commit_first import note_round, planned, refuse_beacon
from noli.api._mark import commitment_file, commitment_of
from noli.api._released import note_release
from noli.core.errors import DataError, UsageError, clean_url
from noli.core.files import atomic_write
from noli.core.method import State
from noli.core.run import Run
from noli.engine.lock import held
from noli.engine.models.looks import SHEET
from noli.engine.models.marking import Ready, begun, confirmed, injected, ready
from noli.engine.models.request import EXTRACTOR, MARKED, ModelRequest
from noli.engine.progress import Progress
from noli.engine.request import KeyLike, folder_of, key_for
from noli.methods.mark import sleepermark as method
from noli.ops.exact import sign_flip_tail
from noli.options import configure
from noli.proof.beacon import require, round_after, round_time
from noli.proof.commitment import Commitment
from noli.proof.marks import PLAN
from noli.proof.messages import TESTS
from noli.proof.protocol import BeaconPlan
from noli.proof.records import now, utc

_LONGEST_NAME = 200  # of a commitment


class ModelRun(Run):
    """A marking of a model.

    Attributes:
        commitments: One per test, to be published before the model is, and before the beacon's round.
        waiting: Whether nothing is marked yet, because the beacon's round is not published.
    """

    commitments: Mapping[str, Commitment]
    waiting: bool = False

    @property
    def round_time(self) -> datetime | None:
        """When the round appears that decides message and trigger; None without a beacon."""
        plan = planned(self)
        return round_time(plan.round) if plan is not None else None

    @property
    def output(self) -> str:
        """Where the marked model lies."""
        return self.manifest.output.uri if self.manifest.output else ""

    @property
    def commitment_file(self) -> Path:
        """Where the commitment to the message lies."""
        return commitment_file(self)

    @property
    def trigger_file(self) -> Path:
        """Where the commitment to the trigger lies."""
        return commitment_file(self, "decoys")

    @property
    def extractor_file(self) -> Path:
        """The extractor, for the owner only; further markings of the same model can use it again."""
        return self.path / "artifacts" / EXTRACTOR

    @property
    def sheet_file(self) -> Path:
        """Pictures of the model before and after, without and with the trigger; for the owner only."""
        return self.path / "artifacts" / SHEET


def mark_model(
    pictures: str | Path,
    output: str | Path,
    method: str = "sleepermark",
    *,
    key: KeyLike,
    model: str | Path | None = None,
    extractor: str | Path | None = None,
    name: str = "",
    beacon: bool = False,
    beacon_delay: int = 10,
    beacon_file: str | Path | None = None,
    allow_network: bool = False,
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    config: Mapping[str, object] | None = None,
    **options: object,
) -> ModelRun:
    """Write a marked copy of a text-to-image model, and the commitments that come before it.

    Killed, the same call goes on and gives the same bytes. With a beacon the first call learns everything
    that depends on no secret and commits; the same call after the round appeared marks.

    Args:
        pictures: Captioned pictures (``metadata.csv``, a table, Parquet), or pictures in folders by class.
        output: Folder for the marked model: a new place.
        method: Registry name, or the short one.
        key: The owner's key, or the path of a key file without a passphrase.
        model: Folder of the model: one that noli wrote, or Stable Diffusion as diffusers keeps it. None: a
            small one is trained on the pictures.
        extractor: File of the extractor of an earlier marking of this model; None: one is learned.
        name: Who claims, in words; it is part of the commitments.
        beacon: Let a round of drand that is not published yet decide message and trigger.
        beacon_delay: Minutes from the commitment to that round; later calls do not change it.
        beacon_file: The round's JSON as drand serves it.
        allow_network: Whether noli may fetch the round.
        labels: Name of the class column of a table.
        run: Run folder; beside the output by default.
        progress: Where progress goes; nowhere when None.
        config: Options of the method as a mapping.
        options: The same as arguments; they win over ``config``.

    Returns:
        The run; nothing is marked while it is ``waiting``.

    Raises:
        UsageError: A bad option, secrets that can never be evidence, or a run that was begun otherwise.
        OutputExists: Something lies at the output.
        DataError: Pictures without captions, other pictures than before, a model or an extractor that does
            not fit, or what should be the round is not.
        MissingPrerequisite: diffusers for its folders; for a beacon py_ecc, or its round where it is there.
        RunError: Disk full, place not writable, a training that diverged; the same call resumes.
        Interrupted: Ctrl-C; the same call resumes.
    """
    spec = registry.get(method if "/" in method else f"mark/{method}")
    if spec.arrow != "model->model":
        fix = "use noli mark sleepermark"
        raise UsageError("This method does not mark models.", where=spec.name, fix=fix)
    _check_places(name, str(pictures), labels, model, extractor)
    cfg = cast(Any, configure(spec.config, spec.name, {**(config or {}), **options}))
    _check_possible(cfg)
    wanted = Wanted(beacon_delay, Path(beacon_file) if beacon_file is not None else None, allow_network)
    request = ModelRequest(
        source=str(pictures),
        output=str(output),
        spec=spec,
        cfg=cfg,
        key=key_for(spec, key, folder_of(run, output)),
        model=str(model or ""), extractor=str(extractor or ""), labels=labels, beacon=beacon,
        run_dir=None if run is None else Path(run), progress=progress or Progress(),
    )  # fmt: skip
    if beacon:
        require()
        _refuse_late(request)
    else:
        refuse_beacon(request.folder, given=allow_network or beacon_file is not None)
    with held(request.folder):
        return _worked(request, name, wanted)


def _check_places(
    name: str, pictures: str, labels: str | None, model: str | Path | None, extractor: str | Path | None
) -> None:
    """Refuse what can be seen to be wrong before a run folder is made, which fixes all arguments."""
    from noli.data.sources import open_source

    if len(name) > _LONGEST_NAME:
        raise UsageError(f"The name is too long: {len(name)} characters.", fix=f"use {_LONGEST_NAME} at most")
    open_source(pictures, labels=labels)
    for what, place in (("model", model), ("extractor", extractor)):
        if place is not None and not Path(place).exists():
            raise UsageError(f"There is no such {what}.", where=str(place), fix="name one that is there")


def _check_possible(cfg: method.Config) -> None:
    """Refuse secrets that can never be evidence, before anything is learned."""
    best = sign_flip_tail([1.0] * cfg.bits, [1] * cfg.bits)
    for what, least, alpha in (("bits", best, cfg.alpha), ("triggers", 1 / cfg.triggers, cfg.control)):
        if least > alpha / cfg.tests:
            raise UsageError(
                "These secrets can never be evidence.",
                where=f"{what}={getattr(cfg, what)}",
                why=f"their p-value is {least:.2g} at best, and {alpha / cfg.tests:.2g} is needed",
                fix=f"use more {what}, or a larger {'alpha' if what == 'bits' else 'control'}",
            )


def _refuse_late(request: ModelRequest) -> None:
    if Run.exists(request.folder):
        run = Run.open(request.folder)
        if run.manifest.args_resolved.get("beacon") is False:
            raise begun_without(run, "message and trigger")


def _worked(request: ModelRequest, name: str, wanted: Wanted) -> ModelRun:
    run = begun(request)
    before = run.manifest.state or {}
    if run.manifest.status == "done" and Path(request.output).exists():
        confirmed(Path(request.output), before[MARKED])
        _write_commitments(run)
        return _seen(run, request, is_waiting=False)
    if run.manifest.status != "running":
        run.resume()
    try:
        with run.recording_failures("run the same command again: it goes on and gives the same bytes"):
            made = ready(request, run)
            _bind(run, made)
            _commit(run, request, name, wanted.delay)
            if request.beacon and not note_round(run, wanted):
                plan = planned(run)
                assert plan is not None  # noqa: S101 - just committed
                run.update(status="interrupted", error=waiting(plan, "nothing", "message and trigger"))
                return _seen(run, request, is_waiting=True)
            injected(request, run, made)
    finally:
        request.progress.finish()
    return _seen(run, request, is_waiting=False)


def _bind(run: Run, made: Ready) -> None:
    """Note what the claims bind; what an earlier call noted must be the same.

    Raises:
        DataError: The model or the extractor has changed.
    """
    state = run.manifest.state or {}
    for what, digest in made.state.items():
        if state.get(what, digest) != digest:
            raise DataError(
                f"The {what} is not the one that the run was begun with.",
                where=str(run.path),
                why="its weights have changed since",
                fix="put it back as it was, or mark into a new output",
            )
    run.update(state={**state, **made.state})


def _commit(run: Run, request: ModelRequest, name: str, delay: int) -> None:
    """Write the commitment of every test, once; a beacon's round is chosen and noted in the same step."""
    state: State = run.manifest.state or {}
    if method.made_of("bits") not in state:
        if request.beacon:
            # Not before everything was learned: the owner has all the minutes to publish.
            plan = BeaconPlan(round=round_after(utc(now()) + timedelta(minutes=delay)))
            state = {**state, PLAN: plan.model_dump(mode="json")}
        for test in TESTS:
            # The manifest keeps no logins of URLs, and what it keeps must be what was signed.
            made = method.vault(state, request.key, request.cfg, test).commit(clean_url(name))
            state = {**state, method.made_of(test): made.model_dump(mode="json")}
        run.update(state=state)
    _write_commitments(run)
    for test in TESTS:
        commitment_of(run, method.vault(state, request.key, request.cfg, test), test)


def _write_commitments(run: Run) -> None:
    """Write the signed commitments where they are published from, unless they are there."""
    for test in TESTS:
        file, kept = commitment_file(run, test), (run.manifest.state or {})[method.made_of(test)]
        if not file.is_file():
            atomic_write(file, Commitment.model_validate(kept).canonical())


def _seen(run: Run, request: ModelRequest, *, is_waiting: bool) -> ModelRun:
    found, state = ModelRun(run.path, run.manifest), run.manifest.state or {}
    found.waiting = is_waiting
    found.commitments = {
        test: commitment_of(run, method.vault(state, request.key, request.cfg, test), test) for test in TESTS
    }
    if not is_waiting:
        note_release(run, request.key, list(found.commitments.values()))
    return found
