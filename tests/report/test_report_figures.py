"""The charts: what they show, that they are deterministic, and that they follow the page's colours."""

from __future__ import annotations

import random
import re
import sys
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from report_making import evidence

from noli.core.evidence import Row
from noli.report import figures, quality, words

GAP, DASH = "\u00a0", "\u2013"


def svg(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - our own drawing


def shown(text: str) -> list[str]:
    return ["".join(e.itertext()).strip() for e in svg(text).iter() if e.tag.endswith("}text")]


def test_battery_chart_shows_every_row_with_its_numbers() -> None:
    found = evidence()
    chart = figures.battery_chart(found)
    assert chart is not None
    for drawing in (chart.wide, chart.narrow):
        texts = shown(drawing)
        for row in found.rows:
            assert row.name in texts
            assert words.percent(row.value) in texts
            assert words.interval(row.low, row.high) in texts
        order = [t for t in texts if t.endswith(("level", "(the claim)", "comparison"))]
        assert order == ["Naive level", "Routine level (the claim)", "Adaptive level", "For comparison"]
        legend = {
            f"Guessing (7.1{GAP}%)",
            f"Bound, fixed beforehand (50.0{GAP}%)",
            f"Trained on the originals (89.9{GAP}%)",
        }
        assert legend <= set(texts)


def test_bars_have_the_right_length_and_colour() -> None:
    chart = figures.battery_chart(evidence())
    assert chart is not None
    bars: list[tuple[str, float]] = []
    for element in svg(chart.wide).iter():
        style, path = element.get("style", ""), element.get("d", "")
        colour = re.match(r"fill: var\(--(good|bad|unsure|plain)\)$", style)
        if colour:
            x = [float(v) for v in re.findall(r"[ML] ([\d.]+) ", path)]
            bars.append((colour[1], max(x) - min(x)))
    rows = [row for _, members in figures.grouped(evidence().rows) for row in members]
    assert [tone for tone, _ in bars] == ["good"] * 6 + ["bad"] * 2 + ["plain"]
    scale = bars[0][1] / rows[0].value
    for row, (_, length) in zip(rows, bars, strict=True):
        assert length == pytest.approx(scale * row.value, rel=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "bound", "level", "expected"),
    [
        (0.1, 0.5, 0.5, "naive", "good"),
        (0.4, 0.6, 0.5, "naive", "unsure"),
        (0.51, 0.6, 0.5, "naive", "bad"),
        (0.51, 0.6, 0.5, "context", "plain"),
        (0.51, 0.6, None, "naive", "plain"),
    ],
)
def test_tone(low: float, high: float, bound: float | None, level: Any, expected: str) -> None:
    row = Row(name="x", about="", level=level, values=(low,), value=low, low=low, high=high, n=1)
    assert figures.tone(row, bound) == expected


def test_charts_are_deterministic_and_leave_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    random.seed(1)
    first = figures.battery_chart(evidence())
    random.seed(2)
    assert figures.battery_chart(evidence()) == first
    assert dict(mpl.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:  # another test may have loaded it; we open no figure in it
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_charts_name_no_place_and_no_colour() -> None:
    chart = figures.battery_chart(evidence())
    assert chart is not None
    for text in (chart.wide, chart.narrow):
        assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)
        assert "<metadata" not in text
        assert "<!DOCTYPE" not in text
        assert not re.search(r"#[0-9a-f]{6}[;\"]", text)
        assert {"{http://www.w3.org/2000/svg}svg"} == {svg(text).tag}


def test_extreme_batteries_can_be_drawn() -> None:
    row = Row(name="x" * 80, about="", level="naive", values=(0.0,), value=0.0, low=0.0, high=0.0, n=1)
    full = row.model_copy(update={"name": "$x_{1}$", "value": 1.0, "low": 1.0, "high": 1.0})
    chart = figures.battery_chart(evidence(rows=False).model_copy(update={"rows": (row, full)}))
    assert chart is not None
    assert "$x_{1}$" in shown(chart.wide)
    assert any(text.startswith("xxxx") and text.endswith("…") for text in shown(chart.narrow))
    bare = evidence(rows=False).model_copy(update={"rows": (row,), "reference": {}, "bound": None})
    assert figures.battery_chart(bare) is not None
    assert figures.battery_chart(evidence(rows=False)) is None


def measure(name: str, values: list[float]) -> quality.Measure:
    return quality.Measure(name, np.array(values), "x")


def test_quality_chart_shows_mean_and_worst() -> None:
    chart = figures.quality_chart([measure("psnr", [20.0, 30.0]), measure("linf", [3.0, 9.0])])
    assert chart is not None
    for drawing in (chart.wide, chart.narrow):
        texts = shown(drawing)
        assert {"mean 25", "worst 20", "mean 6", "worst 9"} <= set(texts)
    assert figures.quality_chart([measure("psnr", [5.0])]) is not None  # one value has no spread
    assert figures.quality_chart([measure("ssim", [0.5, 0.9])]) is None
    assert figures.quality_chart([]) is None
