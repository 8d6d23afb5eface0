"""Write the generated pages: one per registry entry, and the measurements of this checkout.

``make docs`` runs this before it builds the site. The pages are never committed: what they say comes from
the code (``methods/``) and from ``benchmarks/results/*.json`` (``benchmarks.md``). As a hook of mkdocs, the
file also puts the method pages into the navigation.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

import figures
from noli import registry
from noli.api import Explanation, explain
from noli.core.method import Spec

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
NEEDS = {"key": "a key", "labels": "a class per item", "text": "a caption per item", "color": "colour images",
         "data": "the pictures themselves, to learn from",
         "metadata": "what is known of the pictures, never the pictures"}  # fmt: skip
METHOD = """\
# {{ spec.name }}

**{{ card.title }}.** {{ entry.summary }}.

Paper: {{ card.paper }}.

{{ nature }}

## What it stops

{% for line in card.stops %}
- {{ line }}
{% endfor %}

## What it does not stop

{% for line in card.does_not_stop %}
- {{ line }}
{% endfor %}

## Options

The same names work in Python (keyword arguments), with `--set name=value`, and in a YAML file given with
`--config`. Those marked as flags also work as `--name value`. Values are given in the unit that the meaning
names; a number without one is a count or a share.

{{ options }}

## From the module

{{ about }}
{{ measured }}
{% if card.bibtex %}

## Citation

```bibtex
{{ bibtex }}
```
{% endif %}
"""
INDEX = """\
# Methods

Every entry of the registry, rendered from the code. `noli list` and `noli explain NAME` say the same on the
command line.

"""


def method_page(name: str, results: Path = RESULTS) -> str:
    """Return the page of one registry entry: card, options, limits, figures, citation."""
    facts = explain(name)
    spec = facts.spec
    # The module's docstring holds the threat model, shapes and differences from the paper.
    about = _plain(inspect.getdoc(registry.module(name)) or "")
    needs = ", ".join(NEEDS.get(need, need) for need in sorted(spec.needs)) or "nothing but images"
    undo = "with the key and the run folder" if spec.reversible else "no"
    nature = figures.table(
        ("arrow", "needs", "undo", "module"), [(spec.arrow, needs, undo, f"`{spec.module}`")]
    )
    environment = Environment(trim_blocks=True, undefined=StrictUndefined)  # noqa: S701 - Markdown
    page = environment.from_string(METHOD).render(
        spec=spec, card=spec.card, entry=registry.entry(name), nature=nature, options=options_table(facts),
        about=about, measured=figures.measured(name.rpartition("/")[2], results),
        bibtex=re.sub(r",\s+(?=\w+\s*=)", ",\n  ", spec.card.bibtex.strip()),
    )  # fmt: skip
    return page + "\n"


def options_table(facts: Explanation) -> list[str]:
    """Return the Config as a table: option, flag, type with its range, default, meaning."""
    flags = own_flags(facts.spec)
    rows = []
    for option in facts.options:
        flag = "yes" if option.name in flags else ""
        rows.append(
            (f"`{option.name}`", flag, _range(option.type), f"`{option.default}`", _plain(option.help))
        )
    return figures.table(("option", "flag", "type and range", "default", "meaning"), rows)


def own_flags(spec: Spec) -> frozenset[str]:
    """Return the Config fields that are flags of the method's command, as the command line has them."""
    if spec.family == "verify":
        from noli.cli.verify import verify

        return frozenset(inspect.signature(verify).parameters) & frozenset(spec.config.model_fields)
    return frozenset(spec.options)


def methods_index(names: Iterable[str]) -> str:
    """Return the page that lists all registry entries."""
    rows = [
        (f"[`{name}`]({page_name(name)})", registry.entry(name).summary, registry.get(name).card.paper)
        for name in names
    ]
    return INDEX + figures.table(("name", "what it does", "paper"), rows) + "\n"


def page_name(name: str) -> str:
    """Return the file name of a method's page."""
    return name.replace("/", "-") + ".md"


def _range(text: str) -> str:
    """Turn ``a|b or none`` and ``number >= 0 <= 4`` into what reads well in a table."""
    text = re.sub(r" (>=?|<=?) (?=\S)", r", \1 ", text.replace("|", " or "))
    return text.replace(">=", "≥").replace("<=", "≤")


def _plain(text: str) -> str:
    """Turn the reStructuredText of docstrings into Markdown."""
    return re.sub(":(func|class|meth|mod|data):`", "`", text).replace("``", "`")


def pages(results: Path = RESULTS) -> dict[str, str]:
    """Return every generated page by its path inside the docs folder."""
    names = sorted(registry.TABLE)
    made = {f"methods/{page_name(name)}": method_page(name, results) for name in names}
    return made | {
        "methods/index.md": methods_index(names),
        "leaderboard.md": figures.leaderboard_page(results),
        "medical-figures.md": figures.medical_page(results),
        "benchmarks.md": figures.benchmarks_page(results),
    }


def write(folder: Path, made: Mapping[str, str]) -> None:
    """Write pages; those of methods that are gone are removed, unchanged ones are left alone."""
    for old in (folder / "methods").glob("*.md"):
        if f"methods/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def on_config(config: Any) -> Any:
    """Put all method pages into the navigation (called by mkdocs)."""
    for entry in config.nav or ():
        if "Methods" in entry:
            entry["Methods"] = [
                "methods/index.md",
                *({name: f"methods/{page_name(name)}"} for name in sorted(registry.TABLE)),
            ]
    return config


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    written = pages()
    write(target, written)
    sys.stdout.write(f"{len(written)} pages in {target}\n")
