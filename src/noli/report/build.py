"""Build a report from a run folder: one HTML page, one JSON file, one Markdown card."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from noli.core.errors import OutputExists
from noli.core.evidence import LEVELS, Evidence
from noli.core.files import atomic_write
from noli.core.run import Run
from noli.report import words
from noli.report.facts import Facts, find_evidence, find_protect_run, gather
from noli.report.figures import battery_chart, grouped, quality_chart, tone

SCHEMA_VERSION = 1
GENERATOR = b'<meta name="generator" content="noli">'
_MARKUP = re.compile(r"([\\`*_{}\[\]|~])")
_LINE_START = re.compile(r"^(\d*)([.)#+-])")
# Heading -> part of the manifest; what is in no other table stands in the first.
_SECTIONS = {
    "Key (public part)": "key",
    "Input": "input",
    "Output": "output",
    "Model": "model",
    "Arguments as given": "args_passed",
    "Arguments after defaults": "args_resolved",
    "Results": "results",
    "Resources": "resources",
    "Machine and software": "environment",
}
_LEFT_OUT = {
    "error",
    "generations",
    "shards",
    "shard_size",
    "shard_pixels",
}  # the page would grow with the data; report.json has them


def build(
    run: Run | Path | str,
    evidence: Evidence | None = None,
    *,
    pictures: bool = True,
    protect_run: Run | None = None,
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
    return render_html(gather(_opened(run), evidence, pictures=pictures, protect_run=protect_run))


def write_report(
    run: Run | Path | str,
    page: Path | str | None = None,
    *,
    evidence: Evidence | None = None,
    pictures: bool = True,
) -> Path:
    """Write ``report.html``, ``report.json`` and ``card.md`` into the run folder (atomic, each of them).

    Args:
        run: The run or its folder. A verification also shows the run beside the data that it judged.
        page: Where the page goes in addition.
        evidence: See :func:`build`. By default, for a protect run without evidence of its own, that of the
            verification beside it, if that judged the data as it is now.
        pictures: See :func:`build`.

    Returns:
        Where the page lies: `page` if given, else ``report.html`` in the run folder.

    Raises:
        OutputExists: `page` is a file that is no earlier report.
        RunError: The folder holds no run, its files are damaged, or a place cannot be written.
    """
    run = _opened(run)
    places = [run.path / "report.html", *([Path(page)] if page is not None else [])]
    _check_replaceable(places[-1])
    facts = gather(run, evidence or find_evidence(run), pictures=pictures, protect_run=find_protect_run(run))
    made = render_html(facts).encode("utf-8", "replace")
    for place in places:
        atomic_write(place, made)
    atomic_write(run.path / "report.json", render_json(facts).encode("utf-8", "replace"))
    atomic_write(run.path / "card.md", render_card(facts).encode("utf-8", "replace"))
    return places[-1]


def _opened(run: Run | Path | str) -> Run:
    return run if isinstance(run, Run) else Run.open(run)


def _check_replaceable(place: Path) -> None:
    """Only a page of our own may be replaced."""
    if place.is_dir() or (place.exists() and GENERATOR not in place.read_bytes()[:2000]):
        raise OutputExists(
            "The report would replace something that is no report.",
            where=str(place),
            fix="name another file",
        )


def render_html(facts: Facts) -> str:
    """Return the page."""
    evidence = facts.evidence
    rows = evidence.rows if evidence else ()
    runs = {(len(row.values), row.n) for row in rows}
    return _template("report.html.j2").render(
        facts=facts,
        evidence=evidence,
        levels={one.level: one for one in evidence.levels} if evidence else {},
        abouts={row.name: row.about for row in rows},
        groups=grouped(rows),
        battery=battery_chart(evidence) if evidence else None,
        histograms=quality_chart(facts.quality.measures),
        sections=sections(facts.manifest, evidence),
        tone=tone,
        uniform=runs.pop() if len(runs) == 1 else None,
    )


def render_card(facts: Facts) -> str:
    """Return the Markdown card: no pictures, no names of items, no places; made to be published."""
    return _template("card.md.j2").render(facts=facts, evidence=facts.evidence)


def render_json(facts: Facts) -> str:
    """Return the report as JSON (UTF-8 text, no NaN, stable order)."""
    evidence = facts.evidence
    levels = {one.level: one.verdict for one in evidence.levels} if evidence else {}
    document = {
        "schema_version": SCHEMA_VERSION,
        "title": facts.title,
        "subject": facts.subject,
        "headline": facts.banner.headline,
        "verdict": evidence.verdict if evidence else None,
        "command": facts.banner.command,
        "levels": {level: levels.get(level, "not tested") for level in LEVELS} if levels else {},
        "evidence": evidence.model_dump(mode="json") if evidence else None,
        "quality": facts.quality.summary(),
        "method": asdict(facts.card) if facts.card else None,
        "limits": facts.limits,
        "protect_run": facts.partner,
        "manifest": facts.manifest,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)


def sections(
    manifest: Mapping[str, Any], evidence: Evidence | None
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return titled tables ``(name, value)`` of a redacted manifest; empty ones are left out."""
    apart = {*_SECTIONS.values(), *_LEFT_OUT}
    found = {"Run": {name: value for name, value in manifest.items() if name not in apart}}
    found |= {title: manifest.get(part) or {} for title, part in _SECTIONS.items()}
    if evidence is not None:
        found |= {"Test settings": evidence.config, "Digests of the data tested": evidence.hashes}
    return [(title, flatten(part)) for title, part in found.items() if flatten(part)]


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested JSON as ``(name, text)`` rows; missing and empty values are left out."""
    if value is None or value in ("", [], {}):
        return []
    if isinstance(value, Mapping):
        names = {name: str(name).replace("_", " ") for name in value}
        return [
            row
            for name, item in value.items()
            for row in flatten(item, f"{prefix}: {names[name]}" if prefix else names[name])
        ]
    items = value if isinstance(value, list | tuple) else [value]
    return [(prefix, ", ".join(map(_text, items)))]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def markdown(value: Any) -> str:
    """Return text that Markdown shows as it is: one line, no markup, no HTML."""
    line = " ".join(str(value).split())
    return _LINE_START.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", html.escape(line, quote=False)))


@cache
def _template(name: str) -> Template:
    # Everything from outside is escaped by default; the card escapes Markdown explicitly instead.
    environment = Environment(
        loader=PackageLoader("noli.report", "templates"),
        autoescape=".html" in name,  # noqa: S701 - the Markdown card escapes every value with its own filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        count=words.count, percent=words.percent, md=markdown, details=words.row_details
    )
    environment.globals.update(words=words, LEVELS=LEVELS)
    return environment.get_template(name)
