"""The certificate: what it says of a claim, for eyes and for files, whatever came of it."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "proof"))
from report_making import Page
from story import COMMITTED, SUSPECT, WORD, altered, honest, story, thief

from noli.proof import ledger
from noli.proof.bundle import unpack
from noli.proof.check import check, read_parts
from noli.proof.records import sha256
from noli.proof.released import Bound
from noli.proof.session import claim_of
from noli.proof.times import seen_by_checker
from noli.proof.trust import Trust
from noli.report.certificate import Certificate, number, rarity, render_html, render_pdf
from noli.report.contents import contents
from noli.report.limits import NOT_SHOWN

TRUST = Trust(seen=(seen_by_checker(COMMITTED),), believe=WORD)


def certificate(told, model, trust: Trust | None = TRUST) -> Certificate:
    data = told.bundle(model)
    parts = read_parts(unpack(data)[0])
    checked = check(data, trust) if trust is not None else None
    return Certificate(parts.claim, parts.commitment, parts.spent, parts.entries, checked)


def test_a_supported_claim_says_what_it_does_not_show(tmp_path: Path) -> None:
    told = story(tmp_path)
    page = Page(render_html(certificate(told, thief(told))))
    words = " ".join(page.text.split())
    assert "The claim is supported" in words
    assert "The model was trained on the pictures that were signed." in words
    assert all(" ".join(text.split()) in words for text in NOT_SHOWN)
    assert "10 of 40" in words  # still sealed
    assert "the checker, who saw the published commitment" in words


def test_a_claim_that_is_not_supported_accuses_nobody(tmp_path: Path) -> None:
    one = certificate(story(tmp_path), honest)
    assert (one.headline, one.tone) == ("The claim is not supported", "none")
    assert "Nor is it shown that the claim is false" in one.sentence


def test_what_a_checker_does_not_accept_is_not_praised(tmp_path: Path) -> None:
    told = story(tmp_path)
    one = certificate(told, thief(told), Trust())
    assert (one.headline, one.tone) == ("Not accepted: untimely", "unsure")
    assert "Nobody but the owner says" in Page(render_html(one)).text


def test_unchecked_pages_say_who_decides(tmp_path: Path) -> None:
    told = story(tmp_path)
    text = " ".join(Page(render_html(certificate(told, thief(told), None))).text.split())
    assert "is decided by noli check" in text


def test_a_sequence_is_drawn_as_it_went(tmp_path: Path) -> None:
    told = altered(story(tmp_path), looks="sequential", alpha=1e-3, tests=2)
    one = certificate(told, thief(told, every=1))
    assert one.curve is not None
    points = [float(pair.split(",")[1]) for pair in one.curve.points.split()]
    assert len(points) == one.claim.outcome.n
    assert points[-1] <= one.curve.threshold < one.curve.neutral  # heights grow downwards
    assert points == sorted(points, reverse=True)
    assert "p-value among 2 tests (Bonferroni)" in dict(one.figures)
    assert certificate(story(tmp_path), honest).curve is None


@pytest.mark.parametrize("place", [1, 2, 3])
def test_the_bar_of_a_curve_is_that_of_the_rule_that_stopped_it(tmp_path: Path, place: int) -> None:
    """A test beyond the planned ones goes on until it has paid: its curve ends at the bar."""
    told = altered(story(tmp_path), looks="sequential", alpha=1e-3)
    spent = tmp_path / "ledger.jsonl"
    for number_ in range(1, place):
        fields = {"time": COMMITTED, "suspect": "another", "family": "", "protocol": told.protocol.digest}
        ledger.append(spent, transcript=f"{number_:064x}", p=0.5, e=2.0, **fields)
    session = told.session()
    paid = ledger.paid(told.protocol, ledger.read(spent), session.transcript.head)
    session = replace(session, paid=paid)
    session.run(thief(told, every=1))
    claim, entries = claim_of(session, SUSPECT, spent)
    one = Certificate(claim, session.commitment, entries, session.transcript.entries)
    assert one.curve is not None
    assert paid == {1: 1, 2: 2, 3: 6}[place]
    assert one.curve.label == f"needed: {number(paid * 1e3)}"
    *before, last = (float(pair.split(",")[1]) for pair in one.curve.points.split())
    assert last <= one.curve.threshold < min(before)
    assert claim.verdict.supported
    text = " ".join(Page(render_html(one)).text.split())
    assert f"Its p-value was multiplied by {paid:g}." in text
    assert ("tests beyond the plan" in text) is (place > 1)


def test_the_words_on_sharing_are_those_of_what_is_computed(tmp_path: Path) -> None:
    told = altered(story(tmp_path), looks="sequential", alpha=1e-3, tests=4)
    one = certificate(told, thief(told, every=1))
    assert one.claim.verdict.p == pytest.approx(4 * one.claim.outcome.p)
    said = "4 planned tests share the error probability in equal parts (Bonferroni). Its {} by 4."
    assert one.sharing == said.format("p-value was multiplied")
    assert not re.search(r"\bHolm|e-BH", render_html(one))
    by_e = altered(told, correction="e-bh")
    (tmp_path / "ledger.jsonl").unlink()
    assert certificate(by_e, thief(by_e, every=1)).sharing == said.format("e-value was divided")


def test_foreign_words_cannot_become_markup(tmp_path: Path) -> None:
    told = altered(story(tmp_path), claim="<script>alert(1)</script>")
    html = render_html(certificate(told, thief(told)))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_same_certificate_gives_the_same_files(tmp_path: Path) -> None:
    told = story(tmp_path)
    one = certificate(told, thief(told))
    assert render_html(one) == render_html(one)
    pdf = render_pdf(one)
    assert pdf.startswith(b"%PDF")
    assert pdf == render_pdf(one)
    assert b"CreationDate" not in pdf


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (0.0123, "0.012"), (1e-6, "10⁻⁶"), (4.26e-7, "4.3 \u00d7 10⁻⁷"),
     (15103.2, "15,103"), (2e6, "2.0 \u00d7 10⁶")],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    assert number(value) == text


def test_rarity_in_words() -> None:
    assert rarity(0.59) == "in 59 of 100 cases"
    assert rarity(1e-3) == "at most once in 1,000 cases"
    assert rarity(1e-20) == "less than once in 10¹⁵ cases"
    assert rarity(0.15) == "at most once in 6 cases"  # 1 in 7 would be 0.143
    assert rarity(0.594) == "in 60 of 100 cases"
    assert rarity(1e-6) == "at most once in 1,000,000 cases"
    assert rarity(0.2) == "at most once in 5 cases"
    assert rarity(1.0) == "in 100 of 100 cases"


@given(p=st.floats(1e-15, 1))
def test_words_never_make_it_rarer_than_it_is(p: float) -> None:
    said = [int(part.replace(",", "")) for part in re.findall(r"[\d,]+", rarity(p))]
    claimed = said[0] / said[1] if len(said) == 2 else 1 / said[0]
    assert p <= claimed * (1 + 1e-9)


def test_a_beacon_s_certificate_says_what_it_excludes_and_what_is_left(tmp_path: Path) -> None:
    """Many commitments before the round stay possible: neither a beacon nor a time stamp excludes them."""
    plain = certificate(story(tmp_path), honest, None)
    told = story(tmp_path / "beacon", beacon={"round": 123})
    (tmp_path / "beacon").mkdir()
    session = told.session()
    session.run(honest)
    claim, spent = claim_of(session, SUSPECT, tmp_path / "beacon" / "ledger.jsonl")
    one = Certificate(claim, session.commitment, spent, session.transcript.entries)
    texts = [" ".join(Page(render_html(each)).text.split()) for each in (plain, one)]
    assert ["could not choose them" in text for text in texts] == [False, True]
    assert ["multiply the p-value by M" in text for text in texts] == [False, True]
    assert ["That the owner drew the secrets at random" in text for text in texts] == [True, False]
    assert "round 123, public from 2023-08-23 15:15:33 UTC on" in texts[1]
    assert "2023-08-23T15:15:33" in dict(one.times)["Round 123 of drand-quicknet"]
    assert render_pdf(one) != render_pdf(plain)


def table(page: str) -> dict[str, list[str]]:
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td><code>(.*?)</code></td></tr>", page)
    return {re.sub("<.*", "", re.sub(".*<summary>", "", name)): [size, digest] for name, size, digest in rows}


def test_every_member_is_listed_with_its_digest(tmp_path: Path) -> None:
    told = story(tmp_path)
    held, _ = unpack(told.bundle(thief(told), files={"environment.json": b"{}"}, stamps=[b"a stamp"]))
    one = replace(certificate(told, thief(told), None), contents=contents(held))
    shown = table(render_html(one))
    alone = {name for name in held if not name.startswith("openings/")}
    assert set(shown) == alone | {"openings/ (30 files)"}
    for name in alone:
        assert shown[name][1] == sha256(held[name])[:16]
    assert shown["timestamps/000.tsr"][0] == "7 bytes"
    opened = [name for name in sorted(held) if name.startswith("openings/")]
    joined = sha256(b"".join(bytes.fromhex(sha256(held[name])) for name in opened))
    assert shown["openings/ (30 files)"][1] == joined[:16]
    page = render_html(one)
    assert all(f"{name}, " in page and sha256(held[name])[:16] in page for name in opened)
    assert "Not listed are report.html and report.pdf, because this page is one of them" in page
    assert "that of their digests" in page
    # Few members stand in no folder; a checker's page has the reports and the signature, too.
    whole = replace(one, contents=contents({"a": b"", "signature.json": b"x" * 20_000, "b/c": b""}))
    page = render_html(whole)
    assert list(table(page)) == ["a", "b/c", "signature.json"]
    assert "20 kB" in page
    assert "Not listed" not in page
    assert "signature.json has the digests of all others" in page
    assert "Members of the bundle" not in render_html(replace(one, contents=()))
    assert render_pdf(whole) != render_pdf(replace(one, contents=()))


def test_released_files_are_in_the_records(tmp_path: Path) -> None:
    told = story(tmp_path)
    one = certificate(told, honest)
    assert "not fixed: the bundle has no list" in Page(render_html(one)).text
    fixed = replace(one, release=Bound("ab" * 32, {"a": "cd" * 32}))
    assert "1 file, fixed by the commitment" in " ".join(Page(render_html(fixed)).text.split())
