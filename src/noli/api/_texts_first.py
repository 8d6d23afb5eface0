"""Texts whose released variants a public round decides: commit first, and mark when the round is there."""

from __future__ import annotations

from datetime import timedelta

from noli.api._beacon import Wanted, begun_without, waiting
from noli.api._commit_first import note_round, planned, write_commitment
from noli.core.errors import UsageError, clean_url
from noli.core.run import Run
from noli.engine.lock import held
from noli.engine.texts.claims import secrets_of
from noli.engine.texts.collection import Collection
from noli.engine.texts.drafts import TextRequest, drafts, ordered
from noli.engine.texts.marking import begin_texts, begun_before, check_places
from noli.proof.beacon import require, round_after
from noli.proof.marks import MADE, PLAN
from noli.proof.protocol import BeaconPlan
from noli.proof.records import now, utc


def await_round(request: TextRequest, name: str, wanted: Wanted) -> tuple[Run, bool]:
    """Commit to the secrets of a marking, or go on with one: note the round once it is published.

    The first call chooses the round and writes it down with the commitment, in one step; no later call
    changes it. While the round is not published, later calls do not read the texts again.

    Args:
        request: The marking.
        name: Who claims, in words.
        wanted: How the round is had.

    Returns:
        The run, and whether the texts can be marked now.

    Raises:
        MissingPrerequisite: py_ecc is not installed; the round is published, and nothing says which it was.
        UsageError: The run was begun otherwise, the file cannot be read, texts that can never be evidence.
        DataError: A document cannot be read, there is no place in any, or another round than the planned one.
    """
    require()
    if request.cfg.mode == "published":
        raise UsageError(
            "The published mode takes no beacon.", why="nothing in it is drawn", fix="leave --beacon out"
        )
    check_places(request)
    found = request.collection()
    with held(request.folder):
        run = begun_before(request)
        if run is None:
            run = _begun(request, found, name, wanted.delay)
        elif planned(run) is None:
            raise begun_without(run, "variants")
        write_commitment(run)
        return run, note_round(run, wanted)


def _begun(request: TextRequest, found: Collection, name: str, delay: int) -> Run:
    passages = ordered(list(drafts(request, found)))
    # Not before the words were found, which takes a while: the owner has all the minutes to publish.
    plan = BeaconPlan(round=round_after(utc(now()) + timedelta(minutes=delay)))
    # The manifest keeps no logins of URLs, and what it keeps must be what was signed.
    made = secrets_of(request, passages, plan).commit(clean_url(name))
    state = {PLAN: plan.model_dump(mode="json"), MADE: made.model_dump(mode="json")}
    why = waiting(plan, "no text", "which variants are released")
    return begin_texts(request, found, passages, state, why)
