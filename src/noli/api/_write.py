"""Write the report of a run; keep pages and sheets that show originals out of the data itself."""

from __future__ import annotations

from pathlib import Path

from noli.core.errors import UsageError
from noli.core.run import Run
from noli.data.place import refuse_inside
from noli.engine.request import ROTATION, run_folder
from noli.report.build import write_report as write


def write_report(run: str | Path | Run, html: str | Path | None = None, *, pictures: bool = True) -> Path:
    """Write ``report.html``, ``report.json`` and ``card.md`` into a run folder.

    Args:
        run: The run, its folder, or the output it belongs to.
        html: Also write the page here, outside the data: the page shows originals.
        pictures: False leaves out all pictures and item names, for pages that leave the house: beside
            their originals, protected pictures give protection away. Only ``html`` is written then, or
            ``report-public.html`` in the run folder.

    Returns:
        Where the page is: ``html`` if given, else inside the run folder.

    Raises:
        UsageError: There is no run, it made codes or gave another key, or `html` does not end in ``.html``.
        OutputExists: ``html`` lies inside the data of the run, or is a file that is no earlier report.
        RunError: The run is damaged, or a place cannot be written.
    """
    place = run.path if isinstance(run, Run) else run
    folder = Path(place) if Run.exists(place) else run_folder(place)
    if not Run.exists(folder):
        raise UsageError(
            "No run belongs to this place.",
            where=str(place),
            why=f"there is no run.json in it or in {folder}",
            fix="name the run folder (it ends in .noli), or the output that lies beside it",
        )
    found = Run.open(folder).manifest
    if found.output is not None and found.output.layout == "codes":
        fix = "read codes.json beside the codes, and run.json in the run folder"
        raise UsageError("There is no report about codes.", where=str(folder), fix=fix)
    if found.method == ROTATION:
        fix = "run.json says which key followed which; noli lock audit says what the pictures are worth"
        raise UsageError("There is no report about a rotation.", where=str(folder), fix=fix)
    if html is not None and Path(html).suffix.lower() not in (".html", ".htm"):
        fix = "let its name end in .html; any browser prints it as PDF"
        raise UsageError("The report is an HTML page.", where=str(html), fix=fix)
    if html is not None:
        manifest = Run.open(folder).manifest
        data = [side.uri for side in (manifest.input, manifest.output) if side is not None]
        beside = place if Path(place) != folder else None
        refuse_inside(html, *data, manifest.args_resolved.get("clean"), beside)
    return write(folder, Path(html) if html is not None else None, pictures=pictures)
