"""Undo a protection with the key: the runner with the arrow turned round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noli import registry
from noli.core.environment import available_cores
from noli.core.errors import UsageError, WrongKey
from noli.core.key import Key
from noli.core.manifest import KeyInfo
from noli.core.method import Spec
from noli.core.run import Run
from noli.data.place import is_url, local_path
from noli.engine.opening import first_header, open_pictures
from noli.engine.progress import Progress
from noli.engine.request import ROTATION, ErrorPolicy, KeyLike, RunRequest, open_key, run_folder
from noli.engine.runner import run_data

_NOT_UNDONE = {
    "data->codes": ("Codes cannot be undone.", "keep the pictures: nothing can make them from the codes"),
    "model->model": ("Models are not undone.", "keep the model that was marked or locked"),
    "model->models": ("Models are not undone.", "keep the network that they were made from"),
}


@dataclass(frozen=True)
class UndoResult:
    """What came back.

    Attributes:
        run: The undo's own run.
        items: Restored items.
        compared: Items whose original still lies unchanged where the protected run read it.
        identical: Compared items that came back bit for bit.
        psnr_mean, psnr_min: PSNR against the originals in dB over the other compared items; None when
            there are none.
        missing: Protected items that are gone and were left out.
    """

    run: Run
    items: int
    compared: int
    identical: int
    psnr_mean: float | None
    psnr_min: float | None
    missing: int = 0


def undo(
    protected: str | Path,
    back: str | Path,
    key: KeyLike,
    *,
    workers: int | None = None,
    on_error: ErrorPolicy = "fail",
    run: str | Path | None = None,
    protected_run: str | Path | None = None,
    spec: Spec | None = None,
    lossy: bool = False,
    progress: Progress | None = None,
) -> UndoResult:
    """Restore the originals from protected data with the key, as far as the method allows.

    Restored files keep the names of the protected ones and a lossless format, because a JPEG cannot come
    back as the same JPEG. Scrambled pictures (``noli lock``) come back without their run folder, too, by the
    headers in their files.

    Args:
        protected: The protected data, or its run folder.
        back: Where the restored data goes: a new place.
        key: The key that protected it, or the path of its file (an older key of the file is found by itself).
        workers: Processes; all cores when None.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        run: Run folder; ``BACK.noli`` beside the restored data when None.
        protected_run: Run folder of the protection, where it does not lie beside ``protected``: data that
            was moved, or a part of it.
        spec: The method, when it is not in the registry.
        lossy: Bring scrambled pictures back even from a JPEG that halved their chroma.
        progress: Where progress goes; nowhere when None.

    Returns:
        Number of items, and PSNR against the originals where they still lie unchanged.

    Raises:
        UsageError: No finished run is found, or the method cannot be undone.
        WrongKey: Another key protected this data.
        DataError, RunError, Interrupted: As for :func:`~noli.engine.runner.run_data`.
    """
    if protected_run is None and not has_run(protected) and (header := first_header(protected)):
        return _result(
            open_pictures(
                protected, back, key, header=header, workers=workers, on_error=on_error, run=run,
                progress=progress, lossy=lossy,
            )
        )  # fmt: skip
    before, place = _finished(protected_run or protected)
    manifest = before.manifest
    spec = spec or registry.get(str(manifest.method))
    opened = _opened(key, manifest.key)
    if spec.arrow in _NOT_UNDONE:
        what, fix = _NOT_UNDONE[spec.arrow]
        raise UsageError(what, where=spec.name, fix=fix)
    if spec.arrow == "texts->texts":
        return _undo_texts(before, place, back, opened, run)
    given = {"protected": protected, "back": back, "protected_run": protected_run}
    done = run_data(
        RunRequest(
            source=place if protected_run is None else str(protected),
            output=str(back),
            spec=spec,
            cfg=spec.config.model_validate(manifest.args_resolved["config"]),
            key=opened,
            workers=workers if workers is not None else available_cores(),
            on_error=on_error,
            run_dir=None if run is None else Path(run),
            undo_of=before.path,
            lossy=lossy,
            labels=manifest.args_resolved.get("labels"),
            args_passed={name: str(value) for name, value in given.items() if value is not None},
            progress=progress or Progress(),
        )
    )
    return _result(done)


def _finished(protected: str | Path) -> tuple[Run, str]:
    """Return the run of protected data and where that lies; refuse one that is not finished."""
    before, place = find_run(protected)
    manifest = before.manifest
    if manifest.status != "done" and not before.finished_once:
        fix = f"finish it first: give the same {manifest.verb} command again"
        raise UsageError("The run is not finished.", where=str(before.path), why=manifest.status, fix=fix)
    return before, place


def _result(done: Run) -> UndoResult:
    found = done.manifest.results
    return UndoResult(
        run=done,
        items=found["items"],
        compared=found.get("restored_compared", 0),
        identical=found.get("restored_identical", 0),
        psnr_mean=found.get("restored_psnr_mean"),
        psnr_min=found.get("restored_psnr_min"),
        missing=found.get("protected_missing", 0),
    )


def _undo_texts(
    before: Run, place: str, back: str | Path, key: Key | None, run: str | Path | None
) -> UndoResult:
    from noli.engine.texts.restore import restore_texts

    if key is None:
        raise UsageError("Undoing needs the key.", fix="pass the key file that marked the texts")
    done = restore_texts(before, place, str(back), key, Path(run) if run is not None else run_folder(back))
    count = done.manifest.results["items"]
    # Their digests were compared.
    return UndoResult(done, count, count, count, None, None)


def has_run(run_or_output: str | Path) -> bool:
    """Tell whether a place is a run folder that says how to undo, or one lies beside it."""
    place = str(run_or_output)
    for folder in (() if is_url(place) else (Path(place),)) + (run_folder(place),):
        if Run.exists(folder):
            # What has got another key since is undone by the headers in the files, once all of it has.
            run = Run.open(folder)
            return run.manifest.method != ROTATION or not (run.manifest.status == "done" or run.finished_once)
    return False


def key_of(protected: str | Path) -> str | None:
    """Return the id of the key that made some data, by its run or by the headers in its files.

    Raises:
        UsageError: See :func:`find_run`.
    """
    if not has_run(protected) and (header := first_header(protected)):
        return header.key_id
    made_with = find_run(protected)[0].manifest.key
    return made_with.id if made_with else None


def output_of(run: Run) -> str:
    """Return where a run's output lies now: beside its folder if both were moved together."""
    output, folder = run.manifest.output.uri if run.manifest.output else "", run.path.resolve()
    if not is_url(output) and not Path(output).exists() and folder.suffix == ".noli":
        return str(folder.with_suffix(""))
    return output


def refuse_missing(place: str) -> None:
    """Raise UsageError where there is nothing at a local place."""
    if not is_url(place) and not local_path(place).exists():
        fix = "name the protected data, or its run folder (it ends in .noli)"
        raise UsageError("This place does not exist.", where=place, fix=fix)


def find_run(run_or_output: str | Path) -> tuple[Run, str]:
    """Return the run of protected data and where that data lies.

    Raises:
        UsageError: There is no run, or it did not protect data.
    """
    place = str(run_or_output)
    if not is_url(place) and Run.exists(place):
        run = Run.open(place)
        output = output_of(run)
    elif Run.exists(run_folder(place)):
        run, output = Run.open(run_folder(place)), place
    else:
        refuse_missing(place)
        raise UsageError(
            "No run belongs to this data.",
            where=place,
            why=f"{run_folder(place)} holds no run",
            fix="pass --protected-run RUN (protected_run=RUN in Python), the run folder of the protection: a "
            "part of the data, such as one of several Parquet files or a slice of one, cannot be undone "
            "without it; or put the run folder back beside the whole data",
        )
    if run.manifest.args_resolved.get("direction") != "apply":
        fix = "name protected data or its run folder"
        raise UsageError(f"This is a `{run.manifest.verb}` run.", where=str(run.path), fix=fix)
    return run, output


def _opened(key: KeyLike, made_with: KeyInfo | None) -> Key | None:
    """Open the key and make sure that it is the one which made the data."""
    if made_with is None:
        return None
    if key is None:
        fix = f"pass the key file that holds key {made_with.id}"
        raise UsageError("Undoing needs the key.", fix=fix)
    opened = open_key(key, made_with.id)
    if opened is None or not opened.opens(made_with.commitment):
        raise WrongKey(
            "This is not the key that protected the data.",
            why=f"the data was made with key {made_with.id}, this is key {opened.id if opened else None}",
            fix="pass the right key file; an older key of the same file is chosen by its id",
        )
    return opened
