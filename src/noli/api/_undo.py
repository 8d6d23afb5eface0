"""Bring originals back, and compare data sets."""

from __future__ import annotations

from pathlib import Path

from noli.api._request import KeyLike, open_key
from noli.core.environment import available_cores
from noli.engine import diff as differences
from noli.engine.diff import Diff
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy
from noli.engine.undo import UndoResult, find_run
from noli.engine.undo import undo as invert


def undo(
    protected: str | Path,
    back: str | Path,
    *,
    key: KeyLike,
    workers: int | None = None,
    on_error: ErrorPolicy = "fail",
    run: str | Path | None = None,
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
        progress: Where progress goes; nowhere when None.

    Returns:
        Number of items, and PSNR against the originals where they still lie unchanged.

    Raises:
        UsageError: No finished run, or a method without a way back.
        WrongKey: Another key protected this data.
    """
    before, _ = find_run(protected)
    key_id = before.manifest.key.id if before.manifest.key else None
    return invert(
        protected,
        back,
        open_key(key, key_id),
        workers=workers if workers is not None else available_cores(),
        on_error=on_error,
        run_dir=None if run is None else Path(run),
        args_passed={"protected": str(protected), "back": str(back)},
        progress=progress,
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
