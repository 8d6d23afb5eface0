"""The measured figures as pages: leaderboard, medical table, signs, and everything in one list."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

MEASUREMENTS = """\
# Measurements

Figures of this checkout, copied by `make docs` from `benchmarks/results/*.json`, which `make bench` writes.
Accuracies are shares from 0 to 1 on held-out clean images, PSNR is in dB, times are in seconds. A figure
holds for the machine, data and training named with it, not beyond.

"""
LEADERBOARD = """\
---
hide: [toc]
---

# Leaderboard

Accuracy in % on clean held-out images after training on protected ones, per countermeasure. `worst` is the
highest of a row without the context columns, which is what counts; `rows` says how many of these were
measured: where others have more, the worst may be higher. Green: little was learned. Red: as much as clean
data teaches under the same countermeasure. ±: half the 95 % interval, over keys and trainings where there are
several (few make it wide), else over test images; point at a cell for its ends and the number of seeds.
`benchmarks/leaderboard.py` writes the figures (10,000 images of CIFAR-10, the `tiny` network); empty
cells were not measured. CPU seconds were measured on different machines: orders of magnitude, not ratios;
T2UE's leave out the training of its generator. In columns of leaked pairs, `clean` is what the leaked
originals teach alone, which no protection reaches: a row that is no higher says nothing. The table scrolls
in both directions.

"""
MEASURED = """
## Measured

Accuracy in % on clean held-out images after training on protected ones. The [leaderboard](../leaderboard.md)
says what columns and colours mean, and has the other methods.

"""
MEDICAL = """\
# Medical figures

SALM beside its rivals on chest X-rays (842 to train on, three classes, 32 px) and blood cells (637, three
classes, cut out of smears). What the figures mean and do not mean is in `docs/medical.md` of the repository;
`benchmarks/medical.py` writes them. Accuracy is in % on clean held-out images, as on the leaderboard, AUC the
area under the ROC curve of a class against the rest, averaged. "L2 of salm": the change is scaled per image
until it is as large as SALM's there. L2 is in [0, 1] units, the largest change in levels of 255.

"""
LEVELS = ("naive", "routine", "adaptive", "context")
SIGNS = """
## Published signs

A protection holds in a row if at most half of what clean data teaches beyond chance in that row is left (the
number in brackets is what is left; below 0.5 it holds). In the last lines it is what SEM leaves in parts of
what REM leaves, and the share of answers that a paper's own test counts (`benchmarks/answers.py`). These are
point values without intervals, unlike verdicts. {agree} of {measured} measured signs agree, {all} are
expected (`benchmarks/signs.py`); those that differ are bold.

"""


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
    return LEADERBOARD + _leaderboard(json.loads(file.read_bytes())["settings"]) + signs_table(results)


def measured(method: str, results: Path) -> str:
    """Return the leaderboard's lines of one method (a setting begins with its name); empty without any."""
    file = results / "leaderboard.json"
    settings = json.loads(file.read_bytes())["settings"] if file.is_file() else {}
    own = {name: found for name, found in settings.items() if re.split("[ ,]", name)[0] == method}
    clean = {name: found for name, found in settings.items() if name == "clean"}
    return MEASURED + _leaderboard(clean | own) if own else ""


def _leaderboard(settings: Mapping[str, Any]) -> str:
    return _heat_table(settings, {"PSNR": "psnr", "CPU s": "cpu_seconds"})


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
        areas = table(("AUC after training on", *_levels(settings)), _areas(settings))
        readers = [(n, *_reader(one["reader"])) for n, one in settings.items() if "reader" in one]
        head = ("clean-trained reader asked about", "AUC", "change", "95 %", "under another label", "seeds")
        signs = [(s["sign"], s["found"], "yes" if s["holds"] else "**no**") for s in found["signs"]]
        parts = (f"## {name}", _heat_table(settings, quality), areas, table(head, readers),
                 table(("expected", "found", "holds"), signs))  # fmt: skip
        blocks.append("\n\n".join(parts))
    return MEDICAL + "\n\n".join(blocks) + "\n"


def _levels(settings: Mapping[str, Any]) -> dict[str, str]:
    """Rows of all settings and their attacker level, in its order; what claims nothing comes last."""
    levels = {row: cell["level"] for found in settings.values() for row, cell in found["rows"].items()}
    return dict(sorted(levels.items(), key=lambda pair: LEVELS.index(pair[1])))


def _areas(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    columns, rows = _levels(settings), {name: found["rows"] for name, found in settings.items()}
    return [(n, *(f"{r[c]['auc']:.3f}" if c in r else "" for c in columns)) for n, r in rows.items()]


def _reader(found: Mapping[str, Any]) -> tuple[str, ...]:
    span = f"{found['low']:+.3f} to {found['high']:+.3f}"
    areas = (f"{found['auc']:.3f}", f"{found['difference']:+.3f}", span, f"{found['auc_other_labels']:.3f}")
    return (*areas, str(found["seeds"]))


def _heat_table(settings: Mapping[str, Any], numbers: Mapping[str, str]) -> str:
    """Return settings against rows as a coloured table; `numbers`: further columns and their fields."""
    clean = settings.get("clean", {"rows": {}})["rows"]
    levels = _levels(settings)
    columns = list(levels)
    # Clean data has nothing to leak: there the ordinary training says how much it teaches.
    usual = clean.get("crop+flip", {"value": 1.0})
    alike = {column: cell for column, cell in clean.items() if not column.startswith("leak-")}
    tops = {column: alike.get(column, usual)["value"] for column in columns}
    shown = {"worst": None, "rows": None, **numbers}
    groups = Counter(levels[column] for column in columns)
    spans = "".join(f'<th colspan="{groups[level]}">{level}</th>' for level in LEVELS if groups[level])
    names = "".join(f"<th><span>{name}</span></th>" for name in ("", *shown, *columns))
    lines = [f'<tr><th></th><th colspan="{len(shown)}"></th>{spans}</tr>', f"<tr>{names}</tr>"]
    for name in sorted(settings, key=lambda name: name != "clean"):
        found = settings[name]
        worst = found["rows"][found["worst"]]["value"]
        judged = sum(cell["level"] != "context" for cell in found["rows"].values())
        extra = [found.get(field) for field in numbers.values()]
        cells = [f"<b>{100 * worst:.1f}</b>", str(judged), *("" if n is None else _number(n) for n in extra)]
        heat = "".join(_heat(found["rows"].get(column), tops[column]) for column in columns)
        lines.append(f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}{heat}</tr>")
    body = "\n".join(lines)
    return f'<div class="heat"><table class="numbers">\n{body}\n</table></div>\n'


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
    half = f"<small>±{50 * (row['high'] - row['low']):.1f}</small>"
    return f'<td style="{style}" title="{spread}">{100 * row["value"]:.1f}{half}</td>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars and line ends inside cells are made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in line) + " |" for line in lines
    )
