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
from noli.report.words import interval, percent, reference

if TYPE_CHECKING:  # matplotlib takes a third of a second to load: only when something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Placeholder colour -> CSS variable. The values only have to be unique and absent elsewhere.
INK, SOFT, LINE = "#0a0b01", "#0a0b02", "#0a0b03"
GOOD, BAD, UNSURE, PLAIN, ACCENT, CARD = "#0a0b04", "#0a0b05", "#0a0b06", "#0a0b07", "#0a0b08", "#0a0b09"
_VARIABLES = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    UNSURE: "var(--unsure)",
    PLAIN: "var(--plain)",
    ACCENT: "var(--accent)",
    CARD: "var(--card)",
}
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
_MEASURES = {
    "psnr": ("PSNR (dB), higher is closer", "items"),
    "ssim": ("SSIM, 1 is identical", "items"),
    "linf": ("Largest change (levels of 255)", "items"),
}
# Reference lines pass behind the text of the narrow shape.
_PLATE = {"facecolor": CARD, "edgecolor": "none", "pad": 0.8}
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
    said = _battery_words(evidence)
    return Chart(
        _svg(lambda: _battery(evidence, wide=True), "battery-wide", said),
        _svg(lambda: _battery(evidence, wide=False), "battery-narrow", said),
    )


def quality_chart(measures: Sequence[Measure]) -> Chart | None:
    """Draw the distribution of every measure over the items, with its mean and its worst item."""
    shown = [measure for measure in measures if len(measure.values) and not measure.sampled]
    if not shown:
        return None
    said = "Distributions over all items: " + "; ".join(
        f"{m.name} mean {m.mean:.4g}, worst {m.worst:.4g}" for m in shown
    )
    return Chart(
        _svg(lambda: _histograms(shown, wide=True), "quality-wide", said),
        _svg(lambda: _histograms(shown, wide=False), "quality-narrow", said),
    )


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


def _battery_words(evidence: Evidence) -> str:
    rows = ", ".join(f"{row.name} {percent(row.value)}" for row in evidence.rows)
    return f"Accuracy on clean test pictures by countermeasure: {rows}"


def _battery(evidence: Evidence, *, wide: bool) -> Figure:
    from matplotlib.figure import Figure

    groups = grouped(evidence.rows)
    step, gap = (1.0, 1.25) if wide else (1.85, 1.5)
    rows = sum(len(members) for _, members in groups)
    units = rows * step + len(groups) * gap
    width, unit = (8.6, 0.235) if wide else (4.3, 0.235)
    head, foot = (0.34 if wide else 0.82), 0.27
    height = units * unit + head + foot
    figure = Figure(figsize=(width, height))
    left, right = (0.245, 0.795) if wide else (0.02, 0.97)
    axes = figure.add_axes((left, foot / height, right - left, units * unit / height))
    axes.set(xlim=(0, 1), ylim=(units, 0), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(["0", "25", "50", "75", "100 %"])
    axes.tick_params(length=0)
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    y = 0.0
    for level, members in groups:
        edge = -0.44 if wide else 0.0
        title = axes.text(edge, y + gap - 0.4, _level_title(level, evidence), va="center", weight="bold")
        title.set(transform=_row_transform(axes), zorder=5, bbox=None if wide else _PLATE)
        y += gap
        for row in members:
            _bar(axes, row, y, wide=wide, colour=_colour(row, evidence.bound))
            y += step
    _reference_lines(axes, evidence, wide=wide, top=height - head, height=height)
    return figure


def _row_transform(axes: Axes) -> Any:
    """Across: shares of the axes, also outside of them; down: rows."""
    from matplotlib.transforms import blended_transform_factory

    return blended_transform_factory(axes.transAxes, axes.transData)


def _level_title(level: str, evidence: Evidence) -> str:
    if level == "context":
        return "For comparison"
    return f"{level.capitalize()} level" + (" (the claim)" if level == evidence.level else "")


def _colour(row: Row, bound: float | None) -> str:
    return {"good": GOOD, "bad": BAD, "unsure": UNSURE, "plain": PLAIN}[tone(row, bound)]


def _bar(axes: Axes, row: Row, y: float, *, wide: bool, colour: str) -> None:
    """Draw one row: name, bar, whisker, one dot per seed, numbers."""
    middle = y + 0.5 if wide else y + 1.15
    across = _row_transform(axes)
    if wide:
        axes.text(-0.02, middle, _short(row.name, 26), transform=across, ha="right", va="center")
        axes.text(1.03, middle, percent(row.value), transform=across, ha="left", va="center", weight="bold")
        axes.text(1.16, middle, interval(row.low, row.high), transform=across, va="center", color=SOFT)
    else:
        axes.text(0.0, y + 0.42, _short(row.name, 24), transform=across, va="center", bbox=_PLATE, zorder=5)
        value = axes.text(0.69, y + 0.42, percent(row.value), ha="right", va="center", weight="bold")
        spread = axes.text(1.0, y + 0.42, interval(row.low, row.high), ha="right", va="center", color=SOFT)
        for text in (value, spread):
            text.set(transform=across, bbox=_PLATE, zorder=5)
    axes.barh(middle, row.value, height=0.56, color=colour, linewidth=0)
    axes.plot([row.low, row.high], [middle, middle], color=INK, linewidth=1.1, solid_capstyle="butt")
    for end in (row.low, row.high):
        axes.plot([end, end], [middle - 0.16, middle + 0.16], color=INK, linewidth=1.1)
    if len(row.values) > 1:
        axes.plot(row.values, [middle] * len(row.values), "o", markersize=2.6, color=INK, markeredgewidth=0)


def _reference_lines(axes: Axes, evidence: Evidence, *, wide: bool, top: float, height: float) -> None:
    styles: list[tuple[str, float | None, Any, str]] = [
        ("Guessing", reference(evidence, "chance"), (0, (1, 2)), SOFT),
        ("Bound, fixed beforehand", evidence.bound, (0, (5, 2)), INK),
        ("Trained on the originals", reference(evidence, "clean"), "solid", ACCENT),
    ]
    drawn = [
        axes.axvline(value, color=colour, linestyle=style, linewidth=1.4, label=f"{name} ({percent(value)})")
        for name, value, style, colour in styles
        if value is not None
    ]
    if drawn:
        axes.get_figure().legend(  # type: ignore[union-attr]
            handles=drawn,
            loc="lower left",
            bbox_to_anchor=(0.0 if not wide else 0.01, top / height),
            ncol=3 if wide else 1,
            frameon=False,
            handlelength=2.4,
            columnspacing=1.6,
            borderaxespad=0.2,
            borderpad=0.1,
        )


def _histograms(measures: Sequence[Measure], *, wide: bool) -> Figure:
    from matplotlib.figure import Figure

    count = len(measures)
    figure = Figure(figsize=(8.6, 2.3) if wide else (4.3, 2.1 * count), layout="constrained")
    for index, measure in enumerate(measures):
        place = (1, count, index + 1) if wide else (count, 1, index + 1)
        axes = figure.add_subplot(*place)
        axes.hist(measure.values, bins=BINS, color=PLAIN, linewidth=0)
        axes.axvline(measure.mean, color=INK, linewidth=1.4, label=f"mean {_number(measure.mean)}")
        axes.axvline(
            measure.worst,
            color=BAD,
            linewidth=1.4,
            linestyle=(0, (5, 2)),
            label=f"worst {_number(measure.worst)}",
        )
        title, unit = _MEASURES[measure.name]
        axes.set_xlabel(title)
        axes.set_ylabel(unit if index == 0 or not wide else "")
        axes.tick_params(length=2)
        axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", nbins=5, integer=True)
        axes.legend(
            frameon=False,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),  # above the axes, clear of the bars
            ncol=2,
            handlelength=1.6,
            fontsize=9,
            columnspacing=1.2,
            borderaxespad=0.1,
        )
    return figure


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}".removesuffix(".0")


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _svg(draw: Callable[[], Figure], prefix: str, said: str) -> str:
    """Draw and return SVG for use inside a page: no prolog, own ids, CSS colours, one label."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(_SETTINGS), warnings.catch_warnings():
        # Glyphs are drawn by the reader's font; that ours lacks some only affects a guessed width.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        draw().savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    label = html.escape(said, quote=True)
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r'<svg role="img" aria-label="@@" \1', text, count=1
    ).replace("@@", label, 1)
