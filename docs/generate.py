"""Write the generated pages: one per registry entry, and the measurements of this checkout.

``make docs`` runs this before it builds the site. The pages are never committed: what they say comes from
the code (``methods/``) and from ``benchmarks/results/*.json`` (``benchmarks.md``). As a hook of mkdocs, the
file also puts the method pages into the navigation.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noli import registry
from noli.api import Explanation, explain
from noli.core.method import Spec

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
NEEDS = {"key": "a key", "labels": "a class per item", "text": "a caption per item", "color": "colour images"}

# Measurement -> (words, one of which the file's name contains; what is measured). A file is shown once,
# under the first measurement that fits; other files come last.
MEASUREMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "Key lottery": (
        ("key",),
        "How much the draw of the key decides, whether a criterion computed from the filters predicts it, "
        "and what choosing by it changes: mean and worst over keys.",
    ),
    "Effect": (
        ("effect",),
        "What networks learn from clean data, from protected data and from two controls (random noise, one "
        "filter for all classes), under the battery.",
    ),
    "Leak frontier": (
        ("leak", "frontier"),
        "What a thief with one clean/protected pair per class gains, against what the setting costs in "
        "protection.",
    ),
    "Memory": (("memory", "rss"), "Peak resident memory as the number of items grows."),
    "Training throughput": (
        ("train", "verify", "throughput"),
        "Images per second of the training loop of verify, against a plain float32 loop.",
    ),
    "Speed": (
        ("speed", "folder", "pipeline"),
        "Filtering against the reference formula on one core, and folder to folder against the same decoding "
        "and encoding without protection.",
    ),
}


# ------------------------------------------------------------------------------------------ methods


def method_page(name: str) -> str:
    """Return the page of one registry entry: card, options, limits, citation."""
    facts = explain(name)
    spec, card = facts.spec, facts.spec.card
    lines = [
        f"# {spec.name}",
        "",
        f"**{card.title}.** {registry.entry(name).summary}.",
        "",
        f"Paper: {card.paper}.",
        "",
        *table(("arrow", "needs", "undo", "module"), [_nature(spec)]),
        "",
        "## What it stops",
        "",
        *(f"- {line}" for line in card.stops),
        "",
        "## What it does not stop",
        "",
        *(f"- {line}" for line in card.does_not_stop),
        "",
        "## Options",
        "",
        "The same names work in Python (keyword arguments), with `--set name=value`, and in a YAML file "
        "given with `--config`. Those marked as flags also work as `--name value`. Values are given in the "
        "unit that the meaning names; a number without one is a count or a share.",
        "",
        *options_table(facts),
        "",
        *_about(spec),
    ]
    if card.bibtex:
        lines += ["## Citation", "", "```bibtex", _one_field_a_line(card.bibtex), "```", ""]
    return "\n".join(lines)


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
    rows = []
    for name in names:
        card = registry.get(name).card
        rows.append((f"[`{name}`]({page_name(name)})", registry.entry(name).summary, card.paper))
    return "\n".join(
        [
            "# Methods",
            "",
            "Every entry of the registry, rendered from the code. `noli list` and `noli explain NAME` say "
            "the same on the command line.",
            "",
            *table(("name", "what it does", "paper"), rows),
            "",
        ]
    )


def page_name(name: str) -> str:
    """Return the file name of a method's page."""
    return name.replace("/", "-") + ".md"


def _nature(spec: Spec) -> tuple[str, ...]:
    needs = ", ".join(NEEDS.get(need, need) for need in sorted(spec.needs)) or "nothing but images"
    undo = "with the key and the run folder" if spec.reversible else "no"
    return spec.arrow, needs, undo, f"`{spec.module}`"


def _about(spec: Spec) -> list[str]:
    """Return the module's docstring: it holds the threat model, shapes and differences from the paper."""
    text = inspect.getdoc(registry.module(spec.name)) or ""
    return ["## From the module", "", _plain(text), ""] if text else []


def _range(text: str) -> str:
    """Turn ``a|b or none`` and ``number >= 0 <= 4`` into what reads well in a table."""
    text = text.replace("|", " or ")
    return (
        re.sub(r" (>=?|<=?) (?=\S)", lambda sign: f", {sign[1]} ", text).replace(">=", "≥").replace("<=", "≤")
    )


def _one_field_a_line(bibtex: str) -> str:
    return re.sub(r",\s+(?=\w+\s*=)", ",\n  ", bibtex.strip())


def _plain(text: str) -> str:
    """Turn the reStructuredText of docstrings into Markdown."""
    for role in ("func", "class", "meth", "mod", "data"):
        text = text.replace(f":{role}:`", "`")
    return text.replace("``", "`")


# ------------------------------------------------------------------------------------------ measurements


def benchmarks_page(results: Path) -> str:
    """Return the page with all measurements of a results folder; missing ones are named as missing."""
    files = sorted(results.glob("*.json")) if results.is_dir() else []
    lines = [
        "# Measurements",
        "",
        "Figures of this checkout, copied by `make docs` from `benchmarks/results/*.json`, which "
        "`make bench` writes. Accuracies are shares from 0 to 1 on held-out clean images, PSNR is in dB, "
        "times are in seconds. A figure holds for the machine, data and training named with it, not beyond.",
        "",
    ]
    for title, (words, about) in MEASUREMENTS.items():
        found = [file for file in files if any(word in file.stem for word in words)]
        files = [file for file in files if file not in found]
        lines += [f"## {title}", "", about, ""]
        for file in found:
            lines += _measurement(file)
        if not found:
            lines += ["*Not measured on this checkout.*", ""]
    if files:
        lines += ["## Further measurements", ""]
        for file in files:
            lines += _measurement(file)
    return "\n".join(lines)


def _measurement(file: Path) -> list[str]:
    lines = [f"### `{file.stem}`", ""]
    try:
        body = json.loads(file.read_bytes())
    except ValueError as error:
        return [*lines, f"*Unreadable: {error}*", ""]
    machine = body.pop("machine", None) if isinstance(body, dict) else None
    lines += render(body)
    if isinstance(machine, dict):
        facts = ", ".join(f"{name}: {shown(value)}" for name, value in machine.items())
        lines += [f"Machine: {facts}", ""]
    return lines


def render(body: object, level: int = 4) -> list[str]:
    """Return JSON as Markdown: records as tables, scalars as a two-column table, the rest by headings."""
    if _records(body):
        return [*_records_table(body), ""]
    if isinstance(body, dict) and len(body) > 1 and _records(list(body.values())):
        return [*_records_table([{"": name, **row} for name, row in body.items()]), ""]
    if not isinstance(body, dict):
        return [shown(body), ""]
    nested = {name: value for name, value in body.items() if isinstance(value, dict) or _records(value)}
    scalars = [(words(name), shown(value)) for name, value in body.items() if name not in nested]
    lines = [*table(("", "value"), scalars), ""] if scalars else []
    if len(nested) > 1 and _records(list(nested.values())):
        return lines + render(nested, level)
    for name, value in nested.items():
        lines += [f"{'#' * min(level, 6)} {words(name)}", "", *render(value, level + 1)]
    return lines


def _records(value: object) -> bool:
    """Tell whether a value is a list of flat mappings."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, dict) and not any(isinstance(v, dict) for v in row.values()) for row in value)
    )


def _records_table(rows: Any) -> list[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[shown(row[name]) if name in row else "" for name in columns] for row in rows]
    return table([words(name) for name in columns], cells)


def shown(value: object) -> str:
    """Return a figure with at most four significant digits."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(shown(part) for part in value)
    return str(value)


def words(name: object) -> str:
    """Return a field's name as words."""
    return str(name).replace("_", " ")


# ------------------------------------------------------------------------------------------ Markdown, files


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table; bars and line ends inside cells are made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in line) + " |" for line in lines]


def pages(results: Path = RESULTS) -> dict[str, str]:
    """Return every generated page by its path inside the docs folder."""
    names = sorted(registry.TABLE)
    made = {f"methods/{page_name(name)}": method_page(name) for name in names}
    return made | {"methods/index.md": methods_index(names), "benchmarks.md": benchmarks_page(results)}


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
