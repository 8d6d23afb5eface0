"""Write the report of a run."""

from __future__ import annotations

from pathlib import Path

from noli.core.run import Run
from noli.engine.request import run_folder
from noli.report.build import write_report as write


def write_report(run: str | Path | Run, html: str | Path | None = None, *, pictures: bool = True) -> Path:
    """Write ``report.html``, ``report.json`` and ``card.md`` into a run folder.

    Args:
        run: The run, its folder, or the output it belongs to.
        html: Also write the page here.
        pictures: False leaves out all pictures and item names, for pages that leave the house: beside
            their originals, protected pictures give protection away.

    Returns:
        Where the page is: ``html`` if given, else inside the run folder.

    Raises:
        RunError: There is no run, or it is damaged.
    """
    folder = run.path if isinstance(run, Run) else find_run(run)
    return write(folder, Path(html) if html is not None else None, pictures=pictures)


def find_run(place: str | Path) -> Path:
    """Return the run folder for a run folder or for an output with a run folder beside it."""
    if not Run.exists(place) and Run.exists(run_folder(place)):
        return run_folder(place)
    return Path(place)
