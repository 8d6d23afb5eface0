"""Properties of all formats: nothing but the edited words changes, and the mask of the rest stays."""

import html.parser

import pytest
from documents_making import (
    FRAGMENTS,
    SUFFIX,
    applied,
    contents,
    drawn_edits,
    free_words,
    only,
    reversed_edits,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import UsageError
from noli.data.documents import Edit, open_texts


@pytest.mark.parametrize("kind", FRAGMENTS)
@settings(deadline=None)
@given(data=st.data())
def test_prose_has_the_length_of_the_text_and_only_its_characters_or_marks(
    kind: str, data: st.DataObject
) -> None:
    content = data.draw(contents(kind))
    opened = open_texts("a" + SUFFIX[kind], content.encode())
    (text,) = opened.texts
    assert len(text.prose) == len(text.raw)
    assert all(shown in (stored, "\n", "\0", " ") for shown, stored in zip(text.prose, text.raw, strict=True))
    assert opened.rewritten({}) == opened.rewritten({0: []}) == content.encode()


@pytest.mark.parametrize("kind", FRAGMENTS)
@settings(deadline=None)
@given(data=st.data())
def test_edits_change_their_words_only_and_can_be_taken_back(kind: str, data: st.DataObject) -> None:
    name, content = "a" + SUFFIX[kind], data.draw(contents(kind)).encode()
    opened = open_texts(name, content)
    (text,) = opened.texts
    edits = drawn_edits(data, text)
    changed = opened.rewritten({0: edits})
    assert changed == applied(text.raw, edits).encode()
    again = open_texts(name, changed)
    assert again.texts[0].prose == applied(text.prose, edits)
    assert again.rewritten({0: reversed_edits(text, edits)}) == content


class Tags(html.parser.HTMLParser):
    """Notes what is no text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self.seen: list[object] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, attrs))

    def handle_endtag(self, tag):
        self.seen.append(tag)

    def handle_comment(self, data):
        self.seen.append(data)

    handle_decl = handle_entityref = handle_charref = handle_comment


@settings(deadline=None)
@given(st.data())
def test_a_page_keeps_its_tags_attributes_and_entities(data: st.DataObject) -> None:
    page = data.draw(contents("html").filter(lambda drawn: "<![" not in drawn))  # which html.parser refuses
    opened = open_texts("a.html", page.encode())
    changed = opened.rewritten({0: drawn_edits(data, opened.texts[0])}).decode()
    assert Tags(changed).seen == Tags(page).seen


def test_edits_may_come_in_any_order_and_touch() -> None:
    opened = open_texts("a.txt", b"one two three")
    assert opened.rewritten({0: [Edit(8, 13, "drei"), Edit(0, 3, "eins")]}) == b"eins two drei"
    assert opened.rewritten({0: [Edit(0, 2, "a"), Edit(2, 3, "b")]}) == b"ab two three"
    assert opened.rewritten({0: [Edit(0, 7, "both")]}) == b"both three"


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit(-3, 3, "x"), "out of range"),
        (Edit(4, 4, "x"), "out of range"),
        (Edit(8, 99, "x"), "out of range"),
        (Edit(0, 4, "x"), "more than words"),
        (Edit(4, 12, "x"), "more than words"),
        (Edit(4, 8, "x"), "more than words"),
        (Edit(12, 17, "x"), "more than words"),
        (Edit(0, 3, ""), "letters"),
        (Edit(0, 3, "a  b"), "letters"),
        (Edit(0, 3, " a"), "letters"),
        (Edit(0, 3, "-a"), "letters"),
        (Edit(0, 3, "a1"), "letters"),
        (Edit(0, 3, "<b>"), "letters"),
        (Edit(0, 3, "a\nb"), "letters"),
        (Edit(0, 3, "a\ud800"), "letters"),
    ],
)
def test_edits_that_could_break_a_document_are_refused(edit: Edit, why: str) -> None:
    opened = open_texts("a.html", b"one <b>two</b>three &amp; four")
    with pytest.raises(UsageError, match="cannot be made") as caught:
        opened.rewritten({0: [edit]})
    assert why in str(caught.value.why)
    assert caught.value.items == ("a.html",)


def test_overlaps_and_unknown_texts_are_refused() -> None:
    opened = open_texts("a.txt", b"one two")
    with pytest.raises(UsageError) as caught:
        opened.rewritten({0: [Edit(0, 7, "x"), Edit(4, 7, "y")]})
    assert "overlaps" in str(caught.value.why)
    for index in (-1, 1):
        with pytest.raises(UsageError, match="no text"):
            opened.rewritten({index: [Edit(0, 3, "x")]})


def test_words_beside_glue_are_told_apart() -> None:
    text = only("a.html", "half<b>bold</b> whole <i>word</i>, <code>c</code>s and e&shy;nd")
    assert [found[0] for found in free_words(text)] == ["whole", "word", "and"]
