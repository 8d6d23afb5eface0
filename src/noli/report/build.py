"""Build a report from a run folder: one HTML page, one JSON file, one Markdown card."""

from __future__ import annotations

from pathlib import Path

from noli.core.errors import OutputExists
from noli.core.evidence import Evidence
from noli.core.files import atomic_write
from noli.report.facts import HasPath, find_evidence, find_protect_run, gather, run_folder_of
from noli.report.render import render_card, render_html, render_json

__all__ = ["build", "find_evidence", "find_protect_run", "gather", "write_report"]

HTML, JSON, CARD = "report.html", "report.json", "card.md"
GENERATOR = b'<meta name="generator" content="noli">'


def build(
    run: Path | str | HasPath,
    evidence: Evidence | None = None,
    *,
    pictures: bool = True,
    protect_run: Path | str | HasPath | None = None,
) -> str:
    """Return the report of a run as one HTML page that needs nothing else.

    A pure function of the run folder (and of `protect_run` when given): nothing is written, no clock and no
    network is used, and the same folder gives the same page.

    Args:
        run: The run or its folder.
        evidence: Evidence to show; by default ``artifacts/evidence.json`` of the run.
        pictures: False leaves out all pictures and replaces the names of items and places by digests.
        protect_run: For a verification: the run that protected the data. Its pictures, quality figures and
            method card are shown.

    Raises:
        RunError: The folder holds no run, or its files are damaged.
    """
    return render_html(gather(run, evidence, pictures=pictures, protect_run=protect_run))


def write_report(
    run: Path | str | HasPath,
    html: Path | str | None = None,
    *,
    evidence: Evidence | None = None,
    pictures: bool = True,
    protect_run: Path | str | HasPath | None = None,
) -> Path:
    """Write ``report.html``, ``report.json`` and ``card.md`` into the run folder (atomic, each of them).

    Args:
        run: The run or its folder.
        html: Where the page goes in addition.
        evidence: See :func:`build`. By default, for a protect run without evidence of its own, that of the
            verification beside it, if that is newer than the run.
        pictures: See :func:`build`.
        protect_run: See :func:`build`; by default the run beside the verified data, if there is one.

    Returns:
        Where the page lies: `html` if given, else ``report.html`` in the run folder.

    Raises:
        OutputExists: `html` is a file that is no earlier report.
        RunError: The folder holds no run, its files are damaged, or a place cannot be written.
    """
    folder = run_folder_of(run)
    if html is not None:
        _check_replaceable(Path(html))
    facts = gather(
        folder,
        evidence if evidence is not None else find_evidence(folder),
        pictures=pictures,
        protect_run=protect_run if protect_run is not None else find_protect_run(folder),
    )
    page = render_html(facts).encode("utf-8", "replace")
    atomic_write(folder / HTML, page)
    atomic_write(folder / JSON, render_json(facts).encode("utf-8", "replace"))
    atomic_write(folder / CARD, render_card(facts).encode("utf-8", "replace"))
    if html is None:
        return folder / HTML
    atomic_write(Path(html), page)
    return Path(html)


def _check_replaceable(place: Path) -> None:
    """Only a page of our own may be replaced."""
    if place.is_dir() or (place.exists() and GENERATOR not in place.read_bytes()[:2000]):
        raise OutputExists(
            "The report would replace something that is no report.",
            where=str(place),
            fix="name another file",
        )
