"""Bring originals back."""

from __future__ import annotations

from pathlib import Path

from noli.api._protect import KeyLike, open_key
from noli.core.environment import available_cores
from noli.engine import undo as engine
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy
from noli.engine.undo import UndoResult


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
    made_with = engine.find_run(protected_run or protected)[0].manifest.key
    given = {"protected": protected, "back": back, "protected_run": protected_run}
    return engine.undo(
        protected,
        back,
        open_key(key, made_with.id if made_with else None),
        protected_run=protected_run,
        workers=workers if workers is not None else available_cores(),
        on_error=on_error,
        run_dir=None if run is None else Path(run),
        args_passed={name: str(value) for name, value in given.items() if value is not None},
        progress=progress,
    )
