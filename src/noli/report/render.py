"""Facts as a page, as JSON and as a Markdown card."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from noli.ops.metrics import in_words
from noli.report.cards import markdown
from noli.report.facts import Facts
from noli.report.figures import battery_chart, grouped, quality_chart, tone
from noli.report.manifest import duration, sections
from noli.report.words import ATTACKERS, count, interval, percent, reference, row_details

SCHEMA_VERSION = 1


def render_html(facts: Facts) -> str:
    """Return the page."""
    evidence = facts.evidence
    runs = {(len(row.values), row.n) for row in evidence.rows} if evidence else set()
    return (
        _templates(html=True)
        .get_template("report.html.j2")
        .render(
            facts=facts,
            evidence=evidence,
            groups=grouped(evidence.rows) if evidence else [],
            battery=battery_chart(evidence) if evidence else None,
            histograms=quality_chart(facts.quality.measures),
            sections=sections(facts.manifest, evidence),
            wall=duration(facts.manifest.get("resources") or {}),
            tone=tone,
            uniform=runs.pop() if len(runs) == 1 else None,
        )
    )


def render_card(facts: Facts) -> str:
    """Return the Markdown card: no pictures, no names of items, no places; made to be published."""
    return (
        _templates(html=False)
        .get_template("card.md.j2")
        .render(
            facts=facts,
            evidence=facts.evidence,
            clean=reference(facts.evidence, "clean") if facts.evidence else None,
            chance=reference(facts.evidence, "chance") if facts.evidence else None,
        )
    )


def render_json(facts: Facts) -> str:
    """Return the report as JSON (UTF-8 text, no NaN, stable order)."""
    evidence = facts.evidence
    return json.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "title": facts.title,
            "subject": facts.subject,
            "headline": facts.banner.headline,
            "verdict": evidence.verdict if evidence else None,
            "command": facts.banner.command,
            "levels": {tab.level: tab.verdict for tab in facts.banner.tabs},
            "evidence": evidence.model_dump(mode="json") if evidence else None,
            "quality": facts.quality.summary(),
            "method": asdict(facts.card) if facts.card else None,
            "limits": facts.limits,
            "protect_run": facts.partner,
            "manifest": facts.manifest,
        },
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )


@cache
def _templates(*, html: bool) -> Environment:
    # Everything from outside is escaped by default; the card escapes Markdown explicitly instead.
    environment = Environment(
        loader=PackageLoader("noli.report", "templates"),
        autoescape=html,  # noqa: S701 - the Markdown card escapes every value with its own filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(count=count, percent=percent, md=markdown, db=in_words, details=row_details)
    environment.globals.update(interval=interval, ATTACKERS=ATTACKERS)
    return environment
