"""The page as a reader gets it: order, words, accessibility, no network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from report_making import Page, build, evidence

from noli.core.errors import DataError, OutputExists
from noli.core.manifest import DataInfo
from noli.core.run import Run
from noli.report.build import write_report


def test_order_of_the_page(protect_run: Callable[..., Run]) -> None:
    html = build(protect_run(), evidence())
    parts = ("pictures", "battery", "quality", "stops", "limits", "manifest")
    marks = ["<h1>", 'class="banner', *(f'id="h-{part}"' for part in parts)]
    places = [html.index(mark) for mark in marks]
    assert places == sorted(places)


def test_the_page_needs_nothing_else(protect_run: Callable[..., Run]) -> None:
    page = Page(build(protect_run(), evidence()))
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/png;base64,", "#")), (tag, name, value)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_style_sheet_loads_nothing_and_covers_dark_print_and_narrow(protect_run: Callable[..., Run]) -> None:
    html = build(protect_run(), evidence())
    styles = "".join(re.findall(r"<style[^>]*>(.*?)</style>", html, flags=re.S))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "@font-face" not in styles
    for part in ("prefers-color-scheme: dark", "@media print", "max-width: 46rem"):
        assert part in styles
    # What a chart or a rule uses as a colour must be defined for light and for dark.
    for name in set(re.findall(r"var\((--[a-z-]+)\)", html)) - {"--edge", "--wash", "--word"}:
        assert styles.count(f"{name}:") >= 2, name


def test_accessible(protect_run: Callable[..., Run]) -> None:
    html = build(protect_run(), evidence())
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("img")) == 32
    assert all(picture["alt"] and picture["width"] and picture["height"] for picture in page.all("img"))
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in page.all("th"))
    labels = {label["for"] for label in page.all("label")}
    assert labels == {f"level-{n}" for n in (1, 2, 3)} == {i["id"] for i in page.all("input")}
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    named = [v for _, a in page.tags for n, v in a.items() if n in ("aria-labelledby", "aria-describedby")]
    assert named
    assert set(named) <= set(ids)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(protect_run: Callable[..., Run], scheme: int) -> None:
    html = build(protect_run(preview=False))
    block = re.findall(r":root \{(.*?)\}", html, flags=re.S)[scheme]
    colour = dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6})", block))
    pairs = [("--ink", "--paper"), ("--ink", "--card"), ("--soft", "--paper"), ("--soft", "--card")]
    for tone in ("good", "bad", "unsure", "none"):
        pairs += [
            (f"--{tone}-text", f"--{tone}-wash"),
            (f"--{tone}-text", "--card"),
            ("--soft", f"--{tone}-wash"),
        ]
    for front, back in pairs:
        light, dark = sorted((luminance(colour[front]), luminance(colour[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)


@pytest.mark.parametrize(
    ("verdict", "headline", "tone"),
    [
        ("supported", "Protection holds at the routine level", "good"),
        ("not supported", "Protection does not hold at the routine level", "bad"),
        ("inconclusive", "No clear answer at the routine level", "unsure"),
    ],
)
def test_verdict_in_words_with_every_level(
    protect_run: Callable[..., Run], verdict: str, headline: str, tone: str
) -> None:
    html = build(protect_run(), evidence(verdict))
    page = Page(html)
    assert headline in page.text
    assert f'class="banner {tone}"' in html
    for text in ("89.9\u00a0%", "47.0\u00a0%", "50.0\u00a0%", "7.1\u00a0%"):
        assert text in html
    checked = [box["id"] for box in page.all("input") if "checked" in box]
    assert checked == ["level-2"]  # the level of the claim
    for row in evidence().rows:
        assert row.name in page.text
        assert row.about in page.text


def test_a_context_row_alone_is_not_judged(protect_run: Callable[..., Run]) -> None:
    whole, run = evidence("inconclusive"), protect_run()
    said = {True: ("No clear answer", "unsure"), False: ("Measured, not judged", "none")}
    for row in whole.rows:
        alone = {"level": None, "bound": None, "levels": (), "rows": (row,)}
        found = whole.model_copy(update=alone)
        assert found.decides == (row.level != "context")
        words, tone = said[found.decides]
        html = build(run, found)
        assert words in Page(html).text
        assert f'class="banner {tone}"' in html


def test_tabs_say_what_the_worst_attempt_did(protect_run: Callable[..., Run]) -> None:
    run, found = protect_run(), evidence("not supported")
    text = Page(build(run, found)).text
    assert "“leaked-pairs” (Undoes the filter from one leaked pair per class), recognised 82.0 %" in text
    assert text.count("The claim was made at this level") == 1
    assert "not tested" not in text
    assert "not tested" in Page(build(run, found.model_copy(update={"levels": found.levels[:2]}))).text


def test_a_protect_run_without_evidence_says_what_to_run(
    protect_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = protect_run(
        input=DataInfo(uri=str(tmp_path / "my photos")), output=DataInfo(uri="s3://ann:pw@b/safe?sig=x")
    )
    text = Page(build(run)).text
    assert "Not verified yet" in text
    assert f"noli verify s3://b/safe --clean '{tmp_path}/my photos'" in text
    assert "pw@" not in text
    assert "sig=x" not in text


@pytest.mark.parametrize(
    ("status", "headline"),
    [("failed", "Failed"), ("interrupted", "Interrupted"), ("running", "Not finished")],
)
def test_unfinished_runs_say_so(protect_run: Callable[..., Run], status: str, headline: str) -> None:
    run = protect_run(finish=False)
    if status != "running":
        error: BaseException = (
            KeyboardInterrupt() if status == "interrupted" else DataError("Bad.", fix="Mend it.")
        )
        run.fail(error)
    text = Page(build(run)).text
    assert headline in text
    assert ("Mend it." in text) == (status == "failed")
    assert "Not verified" not in text


def test_evidence_without_rows_gives_the_reason_and_no_chart(protect_run: Callable[..., Run]) -> None:
    found = evidence("inconclusive", rows=False, value=None, low=None, high=None, reason="Only 20 pictures.")
    html = build(protect_run(), found)
    assert "Only 20 pictures." in html
    assert 'class="battery"' not in html
    assert 'class="plot"' not in html
    assert "not tested" not in html


def test_evidence_of_other_kinds_is_shown_too(protect_run: Callable[..., Run]) -> None:
    found = evidence(
        level=None, levels=(), rows=(), reference={}, statistic="p-value", value=0.003, bound=0.01
    )
    text = Page(build(protect_run(), found)).text
    assert "The claim is supported" in text
    assert "p-value 0.003" in text


def test_a_page_of_ones_own_is_replaced_but_nothing_else(
    protect_run: Callable[..., Run], tmp_path: Path
) -> None:
    page, run_folder = tmp_path / "page.html", protect_run().path
    write_report(run_folder, page)
    write_report(run_folder, page)
    other = tmp_path / "thesis.html"
    other.write_text("<html>years of work</html>")
    with pytest.raises(OutputExists):
        write_report(run_folder, other)
    assert other.read_text() == "<html>years of work</html>"
