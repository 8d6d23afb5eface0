"""What is drawn: every bar, interval, dot, line and column stands where its number says."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_making import build, evidence, record

from noli.core.evidence import Row
from noli.core.run import Run
from noli.report import quality, words

GAP, DASH = "\u00a0", "\u2013"
MARK = re.compile(r'<i class="(bar|whisker|seed)" style="([^"]+)"></i>')


def section(html: str, name: str) -> str:
    found = re.search(rf'<section aria-labelledby="h-{name}">.*?</section>', html, re.S)
    assert found is not None
    return found[0]


def drawn(row: str) -> list[tuple[str, dict[str, float]]]:
    """Return what is drawn in a row of the table: kind and lengths in percent."""
    return [
        (kind, {name: float(value) for name, value in re.findall(r"([a-z]+): ([\d.]+)%", style)})
        for kind, style in MARK.findall(row)
    ]


def rows_of(html: str) -> dict[str, tuple[str, str]]:
    """Return name -> tone and markup of every row of the battery."""
    found = re.findall(r'<tr class="(\w+)"><th scope="row">(.*?)<span.*?</tr>', section(html, "battery"))
    marks = re.findall(r'<tr class="\w+"><th scope="row">.*?</tr>', section(html, "battery"))
    return {unescape(name): (tone, mark) for (tone, name), mark in zip(found, marks, strict=True)}


def test_every_row_is_drawn_from_its_numbers_which_stand_beside(protect_run: Callable[..., Run]) -> None:
    found = evidence()
    rows = rows_of(build(protect_run(), found))
    assert list(rows) == [row.name for row in found.rows]
    for row in found.rows:
        tone, markup = rows[row.name]
        assert tone == words.tone(row, found.bound)
        bar, whisker, *seeds = drawn(markup)
        assert bar == ("bar", {"width": pytest.approx(100 * row.value)})
        assert whisker == (
            "whisker", {"left": pytest.approx(100 * row.low), "right": pytest.approx(100 * (1 - row.high))}
        )  # fmt: skip
        assert seeds == [("seed", {"left": pytest.approx(100 * value)}) for value in row.values]
        for number in (words.percent(row.value), words.interval(row.low, row.high)):
            assert f">{number}</td>" in markup


def test_the_lines_are_where_the_legend_says(protect_run: Callable[..., Run]) -> None:
    html = section(build(protect_run(), evidence()), "battery")
    table = re.search(r'<table class="battery"[^>]* style="([^"]*)"', html)
    assert table is not None
    assert table[1] == "--at-chance: 7.14%;--at-bound: 50.00%;--at-clean: 89.90%;"
    legend = re.findall(r'<li><i class="line (\w+)"></i>(.*?) <b>(.*?)</b></li>', html)
    assert legend == [
        ("chance", "guessing", f"7.1{GAP}%"),
        ("bound", "bound", f"50.0{GAP}%"),
        ("clean", "trained on originals", f"89.9{GAP}%"),
    ]
    for tone in ("good", "unsure", "bad"):
        assert f'<li class="{tone}"><i class="swatch">' in html
    heads = re.findall(r'scope="rowgroup"[^>]*><b>(.*?)</b>', html)
    assert heads == ["Naive level", "Routine level (the claim)", "Adaptive level", "For comparison"]


def test_nothing_is_drawn_that_was_not_measured(protect_run: Callable[..., Run]) -> None:
    found = evidence()
    single = tuple(row.model_copy(update={"values": (row.value,)}) for row in found.rows)
    bare = found.model_copy(update={"rows": single, "reference": {}, "bound": None})
    page = build(protect_run(), bare)
    html = section(page, "battery")
    assert 'class="seed"' not in html
    assert "--at-" not in html
    assert 'class="line' not in html
    assert "the bound" not in html, "no tone means anything without a bound"
    assert {tone for tone, _ in rows_of(page).values()} == {"plain"}


def test_extremes_stay_inside_and_names_stay_text(protect_run: Callable[..., Run]) -> None:
    row = evidence().rows[0]
    none = row.model_copy(
        update={"name": "<b>x</b>", "value": 0.0, "low": -0.01, "high": 0.0, "values": (0.0,)}
    )
    all_ = row.model_copy(update={"name": "y" * 80, "value": 1.0, "low": 1.0, "high": 1.02, "values": (1.0,)})
    rows = rows_of(build(protect_run(), evidence().model_copy(update={"rows": (none, all_)})))
    assert drawn(rows["<b>x</b>"][1]) == [("bar", {"width": 0.0}), ("whisker", {"left": 0.0, "right": 100.0})]
    assert drawn(rows["y" * 80][1]) == [("bar", {"width": 100.0}), ("whisker", {"left": 100.0, "right": 0.0})]


def test_a_drawing_is_no_text_for_who_cannot_see_it(protect_run: Callable[..., Run]) -> None:
    html = build(protect_run(), evidence())
    for cell in re.findall(r'<t[dh][^>]*class="plot"[^>]*>', html):
        assert 'aria-hidden="true"' in cell
    for part in re.findall(r'<div class="(?:hist|ticks)"[^>]*>', html):
        assert 'aria-hidden="true"' in part
    assert "<svg" not in html


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
    assert words.tone(row, bound) == expected


# The distributions of quality


def measure(name: str, values: list[float]) -> quality.Measure:
    return quality.Measure(name, np.array(values), "x")


def test_columns_count_the_pictures(protect_run: Callable[..., Run]) -> None:
    values = [20.0] * 6 + [21.0] * 3 + [32.0, 44.0]
    records = [record(n, f"{n}.png", psnr=value, linf=3 + n) for n, value in enumerate(values)]
    html = section(build(protect_run(["0.png"], records=records), evidence()), "quality")
    charts = re.findall(r'<figure class="chart">.*?</figure>', html, re.S)
    assert [re.search(r"<b>(.*?)</b>", chart)[1] for chart in charts] == [  # type: ignore[index]
        "PSNR, higher is closer", "Largest change, of 255"
    ]  # fmt: skip
    first = charts[0]
    columns = re.findall(r'<i class="column"(?: style="height: ([\d.]+)%")?></i>', first)
    heights = [float(height or 0) for height in columns]
    assert len(heights) == quality.BINS
    assert [(n, h) for n, h in enumerate(heights) if h] == [(0, 100), (1, 50), (12, 16.67), (23, 16.67)]
    where = {
        kind: float(at) for kind, at in re.findall(r'<i class="line (\w+)" style="left: ([\d.]+)%">', first)
    }
    mean = float(np.mean(values))
    assert where == {"mean": pytest.approx(100 * (mean - 20) / 24, abs=0.01), "worst": 0.0}
    assert f"mean <b>{mean:.1f} dB</b>" in first
    assert "worst <b>20.0 dB</b>" in first
    assert re.findall(r'bottom: ([\d.]+)%"><span>(\d+)', first) == [
        (f"{100 * n / 6:.2f}", str(n)) for n in (0, 2, 4, 6)
    ]
    shown = re.findall(r'<i style="left: ([\d.]+)%">([\d.]+)</i>', first)
    assert shown == [(f"{100 * (x - 20) / 24:.2f}", str(x)) for x in (20, 25, 30, 35, 40)]


def test_a_sample_is_not_drawn_as_a_distribution(protect_run: Callable[..., Run]) -> None:
    html = section(build(protect_run(), evidence()), "quality")
    assert html.count('<div class="hist"') == 2  # PSNR and the largest change; SSIM is that of the preview
    assert "SSIM (8" in html


def test_values_that_hardly_differ_have_a_histogram() -> None:
    for values in ([5.0], [30.0, 30.000000000000004], [0.0, 255.0]):
        found = measure("psnr", values).histogram
        assert sum(found.counts) == len(values)
        assert 0 <= found.share(values[0]) <= 1


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.sampled_from([0.0, 1.0]))
def test_ticks_are_few_round_and_inside(low: float, width: float, least: float) -> None:
    high = low + width
    found = quality.ticks(low, high, least)
    assert len(found) <= 6
    slack = 1e-9 * (abs(low) + width)
    assert all(low - slack <= tick <= high + slack for tick in found)
    steps = {float(f"{b - a:.3g}") for a, b in pairwise(found)}
    assert all(str(f"{step:e}")[0] in "125" and step >= least for step in steps)
