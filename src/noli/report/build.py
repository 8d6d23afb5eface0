"""Build a report from a run folder: one HTML page, one JSON file, one Markdown card."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from noli.core.errors import OutputExists
from noli.core.evidence import LEVELS, Evidence
from noli.core.files import atomic_write
from noli.core.robustness import LEVELS as ROBUST_LEVELS
from noli.core.run import Run
from noli.report import words
from noli.report.facts import Facts, find_evidence, find_protect_run, gather
from noli.report.quality import ticks

SCHEMA_VERSION = 1
GENERATOR = b'<meta name="generator" content="noli">'
_MARKUP = re.compile(r"([\\`*_{}\[\]|~])")
_LINE_START = re.compile(r"^(\d*)([.)#+-])")
# The page would grow with the data; report.json has them.
_LEFT_OUT = ("error", "generations", "shards", "shard_size", "shard_pixels")


def write_report(
    folder: Path | str,
    page: Path | str | None = None,
    *,
    evidence: Evidence | None = None,
    pictures: bool = True,
) -> Path:
    """Write ``report.html``, ``report.json`` and ``card.md`` into a run folder, and the page also to `page`.

    Without pictures, the names of items and places become digests, and nothing but the page is written:
    `page`, or ``report-public.html`` in the run folder. Returns where the page lies.

    Raises:
        OutputExists: `page` is a file that is no earlier report.
        RunError: The folder holds no run, its files are damaged, or a place cannot be written.
    """
    run = Run.open(folder)
    # A page to pass on has a name of its own: the next report of the run shows originals again.
    places = [run.path / ("report.html" if pictures else "report-public.html")]
    if page is not None:
        places = [*places, Path(page)] if pictures else [Path(page)]
    check_replaceable(places[-1])
    facts = gather(run, evidence or find_evidence(run), pictures=pictures, protect_run=find_protect_run(run))
    html = render_html(facts)
    made = [(place, html) for place in places]
    if pictures:
        made += [(run.path / "report.json", render_json(facts)), (run.path / "card.md", render_card(facts))]
    for place, text in made:
        atomic_write(place, text.encode("utf-8", "replace"))
    return places[-1]


def check_replaceable(place: Path) -> None:
    """Refuse a place with something that is no page of our own; `OutputExists` says so."""
    if place.is_dir() or (place.exists() and GENERATOR not in place.read_bytes()[:2000]):
        raise OutputExists(
            "The report would replace something that is no report.",
            where=str(place),
            fix="name another file",
        )


def render_html(facts: Facts) -> str:
    """Return the page, which needs nothing else: no clock, no network; the same facts give the same page."""
    evidence = facts.evidence
    rows = evidence.rows if evidence else ()
    record = {name: value for name, value in facts.manifest.items() if value and name not in _LEFT_OUT}
    if "results" in record:  # what has a table of its own
        tables = ("robustness", "theft", "transfer")
        record["results"] = {name: v for name, v in record["results"].items() if name not in tables}
    if evidence:
        record["test"] = {"settings": evidence.config, "digests of the data": evidence.hashes}
    runs = {(len(row.values), row.n) for row in rows}
    return template("report.html.j2").render(
        facts=facts,
        evidence=evidence,
        levels={one.level: one for one in evidence.levels} if evidence else {},
        abouts={row.name: row.about for row in rows},
        groups=words.grouped(rows),
        record=yaml.safe_dump(record, sort_keys=False, allow_unicode=True),
        uniform=runs.pop() if len(runs) == 1 else None,
    )


def render_card(facts: Facts) -> str:
    """Return the Markdown card: no pictures, no names of items, no places; made to be published."""
    return template("card.md.j2").render(facts=facts, evidence=facts.evidence)


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
        "fallen": facts.fallen,
        "quality": facts.quality.summary(),
        "method": asdict(facts.card) if facts.card else None,
        "choice": facts.choice.model_dump(mode="json") if facts.choice else None,
        "limits": facts.limits,
        "protect_run": facts.partner,
        "manifest": facts.manifest,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)


def markdown(value: Any) -> str:
    """Return text that Markdown shows as it is: one line, no markup, no HTML."""
    line = escape(" ".join(str(value).split()), quote=False)
    return _LINE_START.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", line))


@cache
def template(name: str) -> Template:
    """Return one of the package's templates, with the filters and words that all of them use."""
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
        count=words.count, percent=words.percent, md=markdown, details=words.row_details, place=words.place
    )
    environment.globals.update(words=words, ticks=ticks, LEVELS=LEVELS, ROBUST_LEVELS=ROBUST_LEVELS)
    return environment.get_template(name)
