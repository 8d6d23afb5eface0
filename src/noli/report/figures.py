"""The charts of a report: inline SVG whose colours follow the page (light, dark, print).

Drawn with matplotlib's object interface, never pyplot: no global figure, no backend is chosen. Colours are
placeholders that become CSS variables. Each chart is drawn twice, for wide and for narrow screens; both go
into the page and the style sheet shows one. Same input, same bytes: no date, fixed ids.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noli.core.evidence import LEVELS, Evidence, Row
from noli.report.quality import Measure
from noli.report.words import interval, percent

if TYPE_CHECKING:  # matplotlib takes a third of a second to load: only when something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# CSS variable -> placeholder colour, which only has to be unique and absent elsewhere.
_NAMES = ("ink", "soft", "line", "good", "bad", "unsure", "plain", "accent", "card")
COLOURS = {name: f"#0a0b{number:02x}" for number, name in enumerate(_NAMES)}
INK, SOFT, LINE = COLOURS["ink"], COLOURS["soft"], COLOURS["line"]
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the font of the page
    "svg.hashsalt": "noli",
    "text.parse_math": False,  # names may hold dollar signs
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_MEASURES = {"psnr": "PSNR (dB), higher is closer", "linf": "Largest change (levels of 255)"}
# Reference lines pass behind the text of the narrow shape.
_PLATE = {"facecolor": COLOURS["card"], "edgecolor": "none", "pad": 0.8}
_LEGEND: Any = {"loc": "lower left", "frameon": False}
_DASHED = (0, (5, 2))
BINS = 24


@dataclass(frozen=True)
class Chart:
    """One chart in its two shapes, as SVG markup that may be put into a page unescaped."""

    wide: str
    narrow: str


def battery_chart(evidence: Evidence) -> Chart | None:
    """Draw every row of a battery: bars by level with interval whiskers, lines for clean, chance, bound."""
    if not evidence.rows:
        return None
    rows = ", ".join(f"{row.name} {percent(row.value)}" for row in evidence.rows)
    said = f"Accuracy on clean test pictures by countermeasure: {rows}"
    return _chart("battery", said, lambda wide: _battery(evidence, wide=wide))


def quality_chart(measures: Sequence[Measure]) -> Chart | None:
    """Draw the distribution of every measure over the items, with its mean and its worst item."""
    shown = [measure for measure in measures if not measure.sampled]
    if not shown:
        return None
    figures = "; ".join(f"{m.name} mean {m.mean:.4g}, worst {m.worst:.4g}" for m in shown)
    said = f"Distributions over all items: {figures}"
    return _chart("quality", said, lambda wide: _histograms(shown, wide=wide))


def grouped(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows by level, mildest attacker first and comparison rows last, in their own order."""
    groups = [(level, [row for row in rows if row.level == level]) for level in (*LEVELS, "context")]
    return [(level, members) for level, members in groups if members]


def tone(row: Row, bound: float | None) -> str:
    """Return ``good``, ``bad``, ``unsure`` (the bound lies inside the interval) or ``plain``."""
    if bound is None or row.level == "context":
        return "plain"
    if row.high <= bound:
        return "good"
    return "bad" if row.low > bound else "unsure"


def _battery(evidence: Evidence, *, wide: bool) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.transforms import blended_transform_factory

    groups = grouped(evidence.rows)
    # Heights of a row and of a heading, in units of 0.235 inches; in inches: width, legend, axis labels.
    step, gap, unit = (1.0, 1.25, 0.235) if wide else (1.85, 1.5, 0.235)
    width, head, foot = (8.6, 0.34, 0.27) if wide else (4.3, 0.82, 0.27)
    left, right, edge = (0.245, 0.795, -0.44) if wide else (0.02, 0.97, 0.0)
    units = len(evidence.rows) * step + len(groups) * gap
    height = units * unit + head + foot
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left, foot / height, right - left, units * unit / height))
    axes.set(xlim=(0, 1), ylim=(units, 0), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(["0", "25", "50", "75", "100 %"])
    axes.tick_params(length=0)
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        """Write at a share of the axes' width, also outside of them, and at a row."""
        place = blended_transform_factory(axes.transAxes, axes.transData)
        axes.text(x, y, text, transform=place, va="center", zorder=5, bbox=None if wide else _PLATE, **style)

    y = 0.0
    for level, members in groups:
        title = "For comparison" if level == "context" else f"{level.capitalize()} level"
        claimed = " (the claim)" if level == evidence.level else ""
        write(edge, y + gap - 0.4, title + claimed, weight="bold")
        y += gap
        for row in members:
            spread = interval(row.low, row.high)
            if wide:
                write(-0.02, y + 0.5, _short(row.name, 26), ha="right")
                write(1.03, y + 0.5, percent(row.value), weight="bold")
                write(1.16, y + 0.5, spread, color=SOFT)
            else:
                write(0.0, y + 0.42, _short(row.name, 24))
                write(0.69, y + 0.42, percent(row.value), ha="right", weight="bold")
                write(1.0, y + 0.42, spread, ha="right", color=SOFT)
            _bar(axes, row, y + (0.5 if wide else 1.15), COLOURS[tone(row, evidence.bound)])
            y += step
    for name, value, line, colour in (
        ("Guessing", evidence.reference.get("chance"), (0, (1, 2)), SOFT),
        ("Bound, fixed beforehand", evidence.bound, _DASHED, INK),
        ("Trained on the originals", evidence.reference.get("clean"), "solid", COLOURS["accent"]),
    ):
        if value is not None:
            _line(axes, value, f"{name} ({percent(value)})", colour, line)
    handles = axes.get_legend_handles_labels()[0]
    place, columns = (0.01 if wide else 0.0, 1 - head / height), 3 if wide else 1
    figure.legend(handles=handles, bbox_to_anchor=place, ncol=columns, handlelength=2.4,
                  columnspacing=1.6, borderaxespad=0.2, borderpad=0.1, **_LEGEND)  # fmt: skip
    return figure


def _line(axes: Axes, value: float, label: str, colour: str, style: Any) -> None:
    axes.axvline(value, color=colour, linestyle=style, linewidth=1.4, label=label)


def _bar(axes: Axes, row: Row, y: float, colour: str) -> None:
    """Draw one row: bar, whisker, one dot per seed."""
    axes.barh(y, row.value, height=0.56, color=colour, linewidth=0)
    axes.plot(
        (row.low, row.high), (y, y), "|-", color=INK, linewidth=1.1, markersize=5.4, markeredgewidth=1.1
    )
    if len(row.values) > 1:
        axes.plot(row.values, [y] * len(row.values), "o", color=INK, markersize=2.6, markeredgewidth=0)


def _histograms(measures: Sequence[Measure], *, wide: bool) -> Figure:
    from matplotlib.figure import Figure

    count = len(measures)
    figure = Figure(figsize=(8.6, 2.3) if wide else (4.3, 2.1 * count), layout="constrained")
    grid: Any = figure.subplots(*((1, count) if wide else (count, 1)), squeeze=False)
    for axes, measure in zip(grid.flat, measures, strict=True):
        axes.hist(measure.values, bins=BINS, color=COLOURS["plain"], linewidth=0)
        _line(axes, measure.mean, f"mean {_number(measure.mean)}", INK, "solid")
        _line(axes, measure.worst, f"worst {_number(measure.worst)}", COLOURS["bad"], _DASHED)
        axes.set_xlabel(_MEASURES[measure.name])
        axes.set_ylabel("items" if axes is grid.flat[0] or not wide else "")
        axes.tick_params(length=2)
        axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", nbins=5, integer=True)
        place = (0.0, 1.0)  # above the axes, clear of the bars
        axes.legend(bbox_to_anchor=place, ncol=2, handlelength=1.6, fontsize=9,
                    columnspacing=1.2, borderaxespad=0.1, **_LEGEND)  # fmt: skip
    return figure


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}".removesuffix(".0")


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _chart(name: str, said: str, draw: Callable[[bool], Figure]) -> Chart:
    return Chart(
        *(_svg(draw, wide, f"{name}-{'wide' if wide else 'narrow'}", said) for wide in (True, False))
    )


def _svg(draw: Callable[[bool], Figure], wide: bool, prefix: str, said: str) -> str:
    """Draw and return SVG for use inside a page: no prolog, own ids, CSS colours, one label."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(_SETTINGS), warnings.catch_warnings():
        # Glyphs are drawn by the reader's font; that ours lacks some only affects a guessed width.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        draw(wide).savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for name, placeholder in COLOURS.items():
        text = text.replace(placeholder, f"var(--{name})")
    label = f'<svg role="img" aria-label="{html.escape(said)}" '
    return label + re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"\1", text)
