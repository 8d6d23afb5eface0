"""Bring originals back, and compare data sets."""

from __future__ import annotations

from pathlib import Path

from noli import registry
from noli.api._request import KeyLike, open_key
from noli.core.environment import available_cores
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.run import Run
from noli.engine import diff as differences
from noli.engine.diff import Diff
from noli.engine.progress import Progress, Quiet
from noli.engine.request import ErrorPolicy, RunRequest
from noli.engine.runner import run_data
from noli.engine.undo import UndoResult, check_key, find_run
from noli.engine.undo import undo as invert


def undo(
    protected: str | Path,
    back: str | Path,
    *,
    key: KeyLike,
    workers: int | None = None,
    on_error: ErrorPolicy = "fail",
    run: str | Path | None = None,
    protected_run: str | Path | None = None,
    progress: Progress | None = None,
) -> UndoResult:
    """Restore the originals from protected data with the key, as far as the method allows.

    Args:
        protected: The protected data, or its run folder.
        back: Where the restored data goes: a new place.
        key: The key that protected it, or the path of its file (an older key of the file is found by itself).
        workers: Processes; all cores when None.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        run: Run folder; ``BACK.noli`` beside the restored data when None.
        protected_run: Run folder of the protection, where it does not lie beside ``protected``: data that
            was moved, or a part of it.
        progress: Where progress goes; nowhere when None.

    Returns:
        Number of items, and PSNR against the originals where they still lie unchanged.

    Raises:
        UsageError: No finished run, or a method without a way back.
        WrongKey: Another key protected this data.
    """
    before, _ = find_run(protected if protected_run is None else protected_run)
    key_id = before.manifest.key.id if before.manifest.key else None
    passed = {"protected": str(protected), "back": str(back)}
    if protected_run is not None:
        passed["protected_run"] = str(protected_run)
    opened = open_key(key, key_id)
    cores = workers if workers is not None else available_cores()
    run_dir = None if run is None else Path(run)
    if protected_run is None:
        return invert(protected, back, opened, workers=cores, on_error=on_error, run_dir=run_dir,
                      args_passed=passed, progress=progress)  # fmt: skip
    return _restore_elsewhere(
        before, protected, back, opened, cores, on_error, run_dir, passed, progress or Quiet()
    )


def _restore_elsewhere(
    before: Run,
    protected: str | Path,
    back: str | Path,
    key: Key | None,
    workers: int,
    on_error: ErrorPolicy,
    run_dir: Path | None,
    passed: dict[str, str],
    progress: Progress,
) -> UndoResult:
    """Undo data that does not lie where its run left it; a part of it will do."""
    manifest = before.manifest
    if manifest.status != "done" and not before.finished_once:
        fix = "finish it first: run the same protect command again"
        raise UsageError("The run is not finished.", where=str(before.path), why=manifest.status, fix=fix)
    check_key(manifest, key)
    spec = registry.get(str(manifest.method))
    request = RunRequest(
        source=str(protected),
        output=str(back),
        spec=spec,
        cfg=spec.config.model_validate(manifest.args_resolved["config"]),
        key=key,
        workers=workers,
        on_error=on_error,
        run_dir=run_dir,
        direction="invert",
        undo_of=before.path,
        labels=manifest.args_resolved.get("labels"),
        max_pixels=manifest.args_resolved["max_pixels"],
        verb="undo",
        args_passed=passed,
        progress=progress,
    )
    done = run_data(request)
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


def diff(
    a: str | Path,
    b: str | Path,
    *,
    labels: str | None = None,
    ssim: bool = True,
    progress: Progress | None = None,
) -> Diff:
    """Compare two data sets picture by picture, as they are stored.

    Args:
        a: The first data set, usually the originals.
        b: The second.
        labels: Column or array with the class, where the layout does not say.
        ssim: Also compute SSIM (slower).
        progress: Where progress goes; nowhere when None.

    Returns:
        PSNR and SSIM mean and worst, the largest change, the worst pictures, and items without partner.

    Raises:
        DataError: Nothing in common.
    """
    return differences.diff(a, b, labels=labels, ssim=ssim, progress=progress)
