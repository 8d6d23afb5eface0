"""Mark a data set and commit to the secrets, before anything is published."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, cast

from noli import registry
from noli.api._beacon import PROOF as PROOF
from noli.api._beacon import Wanted
from noli.api._commit_first import COMMITMENT as COMMITMENT
from noli.api._commit_first import await_round, committed_of, planned, refuse_beacon, refuse_waiting_run
from noli.api._protect import ProtectRun, protect, request_for
from noli.api._released import digest_of, note_release, record_of
from noli.core.errors import DataError, RunError, UsageError, WrongKey
from noli.core.files import atomic_write, refuse_existing, write_new
from noli.core.key import Key
from noli.core.method import MethodConfig, Spec
from noli.core.run import Run
from noli.engine.request import KeyLike, folder_of, key_for, open_key
from noli.options import resolve
from noli.proof.beacon import round_time
from noli.proof.commitment import Commitment, Vault
from noli.proof.records import Damaged


class MarkRun(ProtectRun):
    """A marking; its commitment is to be published before the data is, and before the beacon's round.

    Attributes:
        commitment: The signed commitment to all secrets.
        waiting: Whether nothing is marked yet, because the beacon's round is not published.
    """

    commitment: Commitment
    waiting: bool = False

    @property
    def round_time(self) -> datetime | None:
        """When the round appears that decides the classes; None without a beacon."""
        plan = self.commitment.protocol.beacon
        return round_time(plan.round) if plan is not None else None

    @property
    def commitment_file(self) -> Path:
        """Where the commitment lies."""
        return self.path / PROOF / COMMITMENT


def mark(
    data: str | Path,
    output: str | Path,
    method: str = "gratings",
    *,
    key: KeyLike,
    name: str = "",
    beacon: bool = False,
    beacon_delay: int = 10,
    beacon_file: str | Path | None = None,
    allow_network: bool = False,
    **arguments: Any,
) -> MarkRun:
    """Write a marked copy of a data set, and the commitment that has to be published before it.

    Runs, resumes and extends like :func:`noli.api.protect`. The commitment is made once; the same call again
    keeps it. With a beacon the first call only commits; the same call after the round appeared marks.

    Args:
        data: As for :func:`noli.api.protect`.
        output: As for :func:`noli.api.protect`.
        method: Registry name (``mark/gratings``) or the short one (``gratings``).
        key: The owner's key, or the path of a key file without a passphrase.
        name: Who claims, in words; it is part of the commitment.
        beacon: Let a round of drand that is not published yet decide the classes.
        beacon_delay: Minutes from the first call to that round; later calls do not change it.
        beacon_file: The round's JSON as drand serves it.
        allow_network: Whether noli may fetch the round.
        arguments: All other arguments of :func:`noli.api.protect`.

    Returns:
        The run; nothing is marked while it is ``waiting``.

    Raises:
        UsageError: As for :func:`noli.api.protect`, a method that is no mark, or a run that was begun with a
            beacon where there is none now, or the reverse.
        MissingPrerequisite: For a beacon: py_ecc is missing, or its round where it is published already.
        DataError: As for :func:`noli.api.protect`, or what should be the round is not.
    """
    spec = registry.get(method if "/" in method else f"mark/{method}")
    if spec.family != "mark":
        raise UsageError("This method makes no marks.", where=spec.name, fix=f"use noli {spec.family}")
    if spec.arrow in (others := {"texts->texts": "mark_texts", "model->model": "mark_model"}):
        fix = f"call noli.{others[spec.arrow]}"
        raise UsageError("This method does not mark pictures.", where=spec.name, fix=fix)
    owner = key_for(spec, key, folder_of(arguments.get("run"), output))
    request = request_for(data, output, spec.name, key=owner, **arguments)
    if beacon:
        file = Path(beacon_file) if beacon_file is not None else None
        begun, ready = await_round(request, name, Wanted(beacon_delay, file, allow_network))
        if not ready:
            return _unmarked(begun)
    else:
        refuse_beacon(request.run_folder, given=allow_network or beacon_file is not None)
    done = protect(data, output, spec.name, key=owner, **arguments)
    run = MarkRun(done.path, done.manifest)
    run.worked, run.added = done.worked, done.added
    run.commitment = _committed(run, spec, owner, name)
    return run


def _unmarked(begun: Run) -> MarkRun:
    run, made = MarkRun(begun.path, begun.manifest), committed_of(begun)
    assert made is not None  # noqa: S101 - nothing waits without one
    run.commitment, run.waiting, run.worked = made, True, False
    return run


def owner_key(key: KeyLike, run: Run) -> Key:
    """Return the key that marked the data, also from a file to which another was added since.

    Raises:
        UsageError: There is none.
        WrongKey: The key file does not hold it.
    """
    made_with = run.manifest.key
    owner = open_key(key, made_with.id if made_with else None)
    if owner is None:
        raise UsageError("The key that marked the data is needed.", fix="give --key")
    return owner


def _committed(run: MarkRun, spec: Spec, key: Key, name: str) -> Commitment:
    made = committed(run, vault_of(run, spec, key), name)
    note_release(run, key, [made])
    return made


def committed(run: Run, vault: Vault, name: str) -> Commitment:
    """Return the commitment of a finished marking; without one, commit to its secrets and its files."""
    if commitment_file(run).is_file():
        return commitment_of(run, vault)
    made = vault.commit(name, released=digest_of(run))
    atomic_write(commitment_file(run), made.canonical())
    return made


def marking(place: str | Path, *, waiting: bool = False) -> tuple[Run, Spec]:
    """Open the run that marked data: its folder, or the marked data beside it.

    Args:
        place: Either of them.
        waiting: Whether one will do that has only committed so far.

    Raises:
        UsageError: It is none, or not finished.
    """
    from noli.engine.request import run_folder

    folder = Path(place) if Run.exists(place) else run_folder(place)
    run = Run.open(folder)
    enough = run.manifest.status == "done" or (waiting and planned(run) is not None)
    if run.manifest.verb == "mark" and not enough and (plan := planned(run)) is not None:
        refuse_waiting_run(folder, plan)
    if run.manifest.verb != "mark" or not enough:
        raise UsageError(
            "This is no finished run that marked data.",
            where=str(folder),
            why=f"its verb is {run.manifest.verb}, its status {run.manifest.status}",
            fix="name the output of `noli mark`, or give that command again",
        )
    return run, registry.get(str(run.manifest.method))


def config_of(run: Run, spec: Spec) -> MethodConfig:
    """Return the configuration that a run was made with."""
    return resolve(spec, run.manifest.args_resolved["config"])


def test_of(spec: Spec, wanted: str | None) -> str:
    """Return which of a mark's tests is meant; empty for marks that have only one.

    Raises:
        UsageError: It has no such test.
    """
    tests: tuple[str, ...] = getattr(registry.module(spec.name), "TESTS", ())
    if wanted is None or wanted in tests:
        return wanted or (tests[0] if tests else "")
    fix = f"leave it out, or name one of {', '.join(tests)}" if tests else "leave it out"
    raise UsageError("This mark has no such test.", where=f"{spec.name}: {wanted}", fix=fix)


def vault_of(run: Run, spec: Spec, key: Key, test: str = "") -> Vault:
    """Return the owner's secrets for a run, and for one of its tests where there are several.

    Raises:
        WrongKey: The data was marked with another key.
        UsageError: No evidence can be made of this configuration.
    """
    made_with = run.manifest.key
    if made_with is not None and made_with.id != key.id:
        raise WrongKey(
            "The data was marked with another key.",
            where=str(run.path),
            why=f"it was made with key {made_with.id}, this is key {key.id}",
            fix="give the key file that marked it",
        )
    if spec.arrow == "texts->texts":
        from noli.api._mark_texts import text_vault

        return text_vault(run, key)
    module = registry.module(spec.name)
    more = (test,) if test else ()
    return cast(Vault, module.vault(run.manifest.state, key, config_of(run, spec), *more))


def commitment_file(run: Run, test: str = "") -> Path:
    """Return where the commitment of a run lies, or of one of its further tests."""
    name = COMMITMENT if test in ("", "bits") else f"commitment-{test}.json"
    return run.path / PROOF / name


def commitment_of(run: Run, vault: Vault, test: str = "") -> Commitment:
    """Read the commitment of a run, and see that it is the one of these secrets.

    Raises:
        RunError: It is not there.
        DataError: It is another one, or damaged.
    """
    file = commitment_file(run, test)
    if not file.is_file():
        fix = "give the same noli mark command again"
        raise RunError("The commitment is missing.", where=str(file), fix=fix)
    try:
        found = Commitment.read(file.read_bytes(), file.name)
        found.check()
        if (found.root, found.protocol) != ((mine := vault.commit()).root, mine.protocol):
            raise Damaged("it commits to other secrets")
    except Damaged as error:
        fix = "put the published commitment back"
        raise DataError("The commitment cannot be used.", where=str(file), why=str(error), fix=fix) from error
    return found


def stamp(
    marked: str | Path,
    output: str | Path,
    *,
    authority: str,
    key: KeyLike,
    allow_network: bool = False,
    test: str | None = None,
    release: bool = False,
) -> Path:
    """Have the commitment of a marking stamped by an authority (RFC 3161), before the data is published.

    Args:
        marked: The marked data, or the run folder of its marking.
        output: Where the time stamp goes: a new file.
        authority: Address of the authority.
        key: The key that marked the data.
        allow_network: noli uses no network of its own accord.
        test: Of a mark with several tests, the one whose commitment is meant; the first by default.
        release: Instead of the commitment, stamp the record of released files that was signed after it.

    Returns:
        Where the time stamp lies; :func:`noli.api.detect` puts it into bundles.

    Raises:
        UsageError: The network was not allowed, or there is no such record.
        DataError: The authority does not answer.
        MissingPrerequisite: rfc3161-client is not installed.
        OutputExists: `output` is there already.
    """
    from noli.proof.times import request_token

    if not allow_network:
        raise UsageError(
            "A time stamp is had over the network, which was not allowed.",
            where=authority,
            fix="add --allow-network, or have the commitment stamped otherwise: any RFC 3161 client will do",
        )
    refuse_existing(output)
    run, spec = marking(marked, waiting=True)
    owner, which = owner_key(key, run), test_of(spec, test)
    made = commitment_of(run, vault_of(run, spec, owner, which), which)
    write_new(Path(output), request_token(authority, record_of(run) if release else made))
    return Path(output)
