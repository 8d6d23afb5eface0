"""Write the generated pages: one per registry entry, and the measurements of this checkout.

``make docs`` runs this before it builds the site. The pages are never committed: what they say comes from
the code (``methods/``) and from ``benchmarks/results/*.json`` (``benchmarks.md``). As a hook of mkdocs, the
file also puts the method pages into the navigation.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

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
MEASUREMENTS = """\
# Measurements

Figures of this checkout, copied by `make docs` from `benchmarks/results/*.json`, which `make bench` writes.
Accuracies are shares from 0 to 1 on held-out clean images, PSNR is in dB, times are in seconds. A figure
holds for the machine, data and training named with it, not beyond.

"""
LEADERBOARD = """\
# Leaderboard

Accuracy in % on clean held-out images after training on protected ones, per countermeasure; `worst` is the
highest of a row, which is what counts. Green: little was learned. Red: as much as clean data teaches. Point
at a cell for its interval and the number of seeds. `benchmarks/leaderboard.py` writes the figures (10,000
images of CIFAR-10, the `tiny` network); empty cells were not measured.

"""
MEDICAL = """\
# Medical figures

SALM beside its rivals on chest X-rays (842 to train on, three classes, 32 px) and blood cells (637, three
classes, cut out of smears). What the figures mean and do not mean is in `docs/medical.md` of the repository;
`benchmarks/medical.py` writes them. Accuracy is in % on clean held-out images, as on the leaderboard, AUC the
area under the ROC curve of a class against the rest, averaged. "L2 of salm": the change is scaled per image
until it is as large as SALM's there. L2 is in [0, 1] units, the largest change in levels of 255.

"""


SIGNS = """
## Published signs

A protection holds in a row if at most half of what clean data teaches beyond chance is left (the number in
brackets is what is left; below 0.5 it holds). {agree} of {measured} measured signs agree, {all} are expected
(`benchmarks/signs.py`); those that differ are bold.

"""


def method_page(name: str) -> str:
    """Return the page of one registry entry: card, options, limits, citation."""
    facts = explain(name)
    spec = facts.spec
    # The module's docstring holds the threat model, shapes and differences from the paper.
    about = _plain(inspect.getdoc(registry.module(name)) or "")
    needs = ", ".join(NEEDS.get(need, need) for need in sorted(spec.needs)) or "nothing but images"
    undo = "with the key and the run folder" if spec.reversible else "no"
    nature = table(("arrow", "needs", "undo", "module"), [(spec.arrow, needs, undo, f"`{spec.module}`")])
    environment = Environment(trim_blocks=True, undefined=StrictUndefined)  # noqa: S701 - Markdown
    page = environment.from_string(METHOD).render(
        spec=spec, card=spec.card, entry=registry.entry(name), nature=nature, options=options_table(facts),
        about=about, bibtex=re.sub(r",\s+(?=\w+\s*=)", ",\n  ", spec.card.bibtex.strip()),
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
    return table(("option", "flag", "type and range", "default", "meaning"), rows)


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
    return INDEX + table(("name", "what it does", "paper"), rows) + "\n"


def page_name(name: str) -> str:
    """Return the file name of a method's page."""
    return name.replace("/", "-") + ".md"


def benchmarks_page(results: Path) -> str:
    """Return the page with all measurements of a results folder."""
    blocks = [
        f"## `{file.stem}`\n\n```yaml\n{yaml.safe_dump(json.loads(file.read_bytes()), sort_keys=False)}```\n"
        for file in sorted(results.glob("*.json"))
    ]
    return MEASUREMENTS + ("\n".join(blocks) or "*Nothing was measured on this checkout.*\n")


def leaderboard_page(results: Path) -> str:
    """Return the heat map of all protections against all countermeasures; green protects, red teaches."""
    file = results / "leaderboard.json"
    if not file.is_file():
        return LEADERBOARD + "*Nothing was measured on this checkout.*\n"
    settings = json.loads(file.read_bytes())["settings"]
    heat = _heat_table(settings, {"PSNR": "psnr", "CPU s": "cpu_seconds"})
    return LEADERBOARD + heat + signs_table(results)


def medical_page(results: Path) -> str:
    """Return heat map, pictures' quality, reader test and signs of every medical data set."""
    file = results / "medical.json"
    if not file.is_file():
        return MEDICAL + "*Nothing was measured on this checkout.*\n"
    quality = {"PSNR": "psnr", "SSIM": "ssim", "L2": "l2", "largest": "linf", "touched": "touched",
               "CPU s": "cpu_seconds"}  # fmt: skip
    blocks = []
    for name, found in json.loads(file.read_bytes())["sets"].items():
        settings = found["settings"]
        areas = table(("AUC after training on", *_columns(settings)), _areas(settings))
        readers = [(n, *_reader(one["reader"])) for n, one in settings.items() if "reader" in one]
        head = ("clean-trained reader asked about", "AUC", "change", "95 %", "under another label", "seeds")
        signs = [(s["sign"], s["found"], "yes" if s["holds"] else "**no**") for s in found["signs"]]
        parts = (f"## {name}", _heat_table(settings, quality), areas, table(head, readers),
                 table(("expected", "found", "holds"), signs))  # fmt: skip
        blocks.append("\n\n".join(parts))
    return MEDICAL + "\n\n".join(blocks) + "\n"


def _columns(settings: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(row for found in settings.values() for row in found["rows"]))


def _areas(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    columns, rows = _columns(settings), {name: found["rows"] for name, found in settings.items()}
    return [(n, *(f"{r[c]['auc']:.3f}" if c in r else "" for c in columns)) for n, r in rows.items()]


def _reader(found: Mapping[str, Any]) -> tuple[str, ...]:
    span = f"{found['low']:+.3f} to {found['high']:+.3f}"
    areas = (f"{found['auc']:.3f}", f"{found['difference']:+.3f}", span, f"{found['auc_other_labels']:.3f}")
    return (*areas, str(found["seeds"]))


def _heat_table(settings: Mapping[str, Any], numbers: Mapping[str, str]) -> str:
    """Return settings against rows as a coloured table; `numbers`: further columns and their fields."""
    clean = settings.get("clean", {"rows": {}})["rows"]
    columns = _columns(settings)
    top = max((row["value"] for row in clean.values()), default=1.0)
    head = "".join(f"<th>{name}</th>" for name in ("", *columns, "worst", *numbers))
    lines = []
    for name, found in settings.items():
        cells = [_heat(found["rows"].get(column), top) for column in columns]
        worst = found["rows"][found["worst"]]["value"]
        extra = (found.get(field) for field in numbers.values())
        shown = "".join("<td></td>" if n is None else f"<td>{_number(n)}</td>" for n in extra)
        lines.append(f"<tr><th>{name}</th>{''.join(cells)}<td><b>{100 * worst:.1f}</b></td>{shown}</tr>")
    body = "\n".join(lines)
    return f'<table class="heat">\n<tr>{head}</tr>\n{body}\n</table>\n'


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}"


def signs_table(results: Path) -> str:
    """Return the published signs beside ours; empty where they were not compared."""
    file = results / "signs.json"
    if not file.is_file():
        return ""
    compared = json.loads(file.read_bytes())
    rows = [
        (line["setting"], line["row"], line["expected"], _sign(line), line["source"])
        for line in compared["signs"]
    ]
    title = SIGNS.format(agree=compared["agree"], measured=compared["measured"], all=len(rows))
    return title + table(("setting", "row", "published", "here", "source"), rows)


def _sign(line: Mapping[str, Any]) -> str:
    if line["share"] is None:
        return line["found"]
    mark = "" if line["found"] == line["expected"] else "**"
    return f"{mark}{line['found']}{mark} ({line['share']:.2f}, seeds: {line['seeds']})"


def _heat(row: Mapping[str, Any] | None, top: float) -> str:
    if row is None:
        return "<td></td>"
    hue = 120 * (1 - min(1.0, row["value"] / top))
    spread = f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %, seeds: {len(row['values'])}"
    style = f"background: hsl({hue:.0f} 60% 80%); color: #111"
    return f'<td style="{style}" title="{spread}">{100 * row["value"]:.1f}</td>'


def _range(text: str) -> str:
    """Turn ``a|b or none`` and ``number >= 0 <= 4`` into what reads well in a table."""
    text = re.sub(r" (>=?|<=?) (?=\S)", r", \1 ", text.replace("|", " or "))
    return text.replace(">=", "≥").replace("<=", "≤")


def _plain(text: str) -> str:
    """Turn the reStructuredText of docstrings into Markdown."""
    return re.sub(":(func|class|meth|mod|data):`", "`", text).replace("``", "`")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars and line ends inside cells are made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in line) + " |" for line in lines
    )


def pages(results: Path = RESULTS) -> dict[str, str]:
    """Return every generated page by its path inside the docs folder."""
    names = sorted(registry.TABLE)
    made = {f"methods/{page_name(name)}": method_page(name) for name in names}
    return made | {
        "methods/index.md": methods_index(names),
        "leaderboard.md": leaderboard_page(results),
        "medical-figures.md": medical_page(results),
        "benchmarks.md": benchmarks_page(results),
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
