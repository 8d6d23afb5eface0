"""What is asked about a passage, and how an answer in words is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noli.data.plain_text import readable
from noli.engine.texts.queries import Variant, chosen, complete, gap_words, questions, variant
from noli.proof.releases import Passage, Place


def passage(text: str, *words: str) -> Passage:
    """Return a passage in which each of these words may be another."""
    places = sorted((text.index(word), text.index(word) + len(word), word) for word in words)
    return Passage(text, tuple(Place(start, end, (word, word[::-1])) for start, end, word in places))


@pytest.mark.parametrize(
    ("layout", "raw", "text"),
    [
        ("text", "A plain <b>line</b> &amp; more", "A plain <b>line</b> &amp; more"),
        ("markdown", "*stressed* and `code`", "*stressed* and `code`"),
        ("html", "<p>One <b>bold</b> word &amp; a half&shy;way</p>", "One bold word & a half\xadway"),
        ("html", "<p>One</p><p>Two</p>", "One\nTwo"),
        ("html", "Pages 15 -> 16, and 3 < 4</b> as it goes on", "Pages 15 -> 16, and 3 < 4 as it goes on"),
        ("word", '<w:p><w:r><w:t>Wo</w:t></w:r><w:r><w:t xml:space="preserve">rd </w:t></w:r></w:p>', "Word"),
        ("jsonlines", r"A line\nand a \"quote\" and \u00e9", 'A line\nand a "quote" and é'),
        ("latex", r"\emph{kept} as it is", r"\emph{kept} as it is"),
    ],
)
def test_readers_see_no_markup_where_models_are_given_none(layout: str, raw: str, text: str) -> None:
    assert readable(layout, raw) == text


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_lines_of_json_are_read_as_json(text: str) -> None:
    assert readable("jsonlines", json.dumps(text)[1:-1]) == text


@pytest.mark.parametrize(
    ("layout", "raw"),
    [
        ("text", "The swift fox leapt."),
        ("html", "<p>The <b>swift</b> fox &amp; the hen</p><p>leapt.</p>"),
        ("jsonlines", r"The \"swift\" fox\nleapt."),
    ],
)
def test_spans_name_the_varied_words_in_the_text_without_markup(layout: str, raw: str) -> None:
    found = variant(layout, passage(raw, "swift", "leapt"), (1, 0))
    assert [found.text[start:end] for start, end in found.spans] == ["tfiws", "leapt"]
    assert "swift" not in found.text
    assert "\ue000" not in found.text


def test_a_passage_whose_words_a_reader_does_not_see_is_not_complete() -> None:
    assert complete("html", passage("<p>A swift fox, 1 > 0 and 0 < 1.</p>", "swift"))
    assert not complete("html", passage("<p title='a swift fox'>A fox.</p>", "swift"))
    assert not complete("text", Passage("A swift fox.", (Place(2, 7, ("swift", "swift")),)))


def group() -> list[Variant]:
    one = passage("He ran rapidly home.", "rapidly")
    return [variant("text", one, (pick,)) for pick in (1, 0)]


def test_scores_ask_for_every_variant() -> None:
    assert questions("scores", group()) == ["He ran yldipar home.", "He ran rapidly home."]


def test_a_choice_lists_the_variants_in_order() -> None:
    (asked,) = questions("choice", group())
    assert asked.index("1. He ran yldipar home.") < asked.index("2. He ran rapidly home.")


def test_a_cloze_hides_the_word_and_lists_both() -> None:
    (asked,) = questions("cloze", group())
    assert "He ran _____ home." in asked
    assert "one of these words only: yldipar, rapidly." in asked
    assert gap_words(group()) == ["yldipar", "rapidly"]


@pytest.mark.parametrize(
    ("ask", "answer", "number"),
    [
        ("choice", "2", 1),
        ("choice", "Number 1, because 2 reads badly.", 0),
        ("choice", "3", None),
        ("choice", "0", None),
        ("choice", "neither", None),
        ("choice", "", None),
        ("choice", "9" * 5000, None),
        ("cloze", "Rapidly.", 1),
        ("cloze", "the word is yldipar", 0),
        ("cloze", "yldipar or rapidly", None),
        ("cloze", "quickly", None),
        ("cloze", "", None),
    ],
)
def test_answers_in_words(ask: str, answer: str, number: int | None) -> None:
    assert chosen(ask, answer, group()) == number  # type: ignore[arg-type]
