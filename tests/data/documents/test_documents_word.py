"""Word files: only the words change; the other members and the zip's own bytes stay."""

import io
import struct
import zipfile

import pytest
from documents_making import (
    HEAD,
    LETTERS,
    SPACE,
    body,
    docx,
    drawn_edits,
    free_words,
    only,
    paragraph,
    reversed_edits,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError, UsageError
from noli.data.documents import Edit, open_texts
from noli.data.documents.opening import _LIMIT

TWO = body(paragraph(run("One two"), run(" three")), paragraph(run("Four &amp; five")))
BOLD = "<w:rPr><w:b/></w:rPr>"


def bodies(data: bytes) -> dict[str, tuple[bytes, zipfile.ZipInfo]]:
    """Each member's stored bytes with its local header."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
    starts = [info.header_offset for info in infos] + [struct.unpack("<I", data[-6:-2])[0]]
    return {
        info.filename: (data[info.header_offset : stop], info)
        for info, stop in zip(infos, starts[1:], strict=True)
    }


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@settings(deadline=None)
@given(data=st.data())
def test_other_members_and_all_dates_stay(method: int, streamed: bool, data: st.DataObject) -> None:
    pieces = st.sampled_from(["word ", "Some text", "é", "&#233;", " ", "x"]).map(run)
    document = body(
        *data.draw(st.lists(st.lists(pieces, max_size=4).map(lambda runs: paragraph(*runs)), max_size=4))
    )
    content = docx(document, method=method, streamed=streamed)
    opened = open_texts("a.docx", content)
    (text,) = opened.texts
    assert (text.raw, len(text.prose)) == (document, len(document))
    assert opened.rewritten({}) == content
    edits = drawn_edits(data, text)
    changed = opened.rewritten({0: edits})
    before, after = bodies(content), bodies(changed)
    assert list(after) == list(before)
    for name, (stored, info) in before.items():
        new = after[name][1]
        assert name == "word/document.xml" or after[name][0] == stored
        assert (new.date_time, new.extra, new.flag_bits, new.compress_type, new.external_attr) == (
            *(info.date_time, info.extra, info.flag_bits, info.compress_type, info.external_attr),
        )
    again = open_texts("a.docx", changed)
    assert again.rewritten({0: reversed_edits(text, edits)}) == content


@pytest.mark.parametrize(
    ("document", "words", "free"),
    [
        (TWO, "One two three Four five", "One two three Four five"),
        (body(paragraph(run("half"), run("word", BOLD), run(" end"))), "half word end", "end"),
        (body(paragraph(run("one")), paragraph(run("two"))), "one two", "one two"),
        (
            body(paragraph(run("one"), "<w:r><w:tab/></w:r>", run("two"), "<w:br/>", run("three"))),
            *["one two three"] * 2,
        ),
        (
            body(paragraph(run("a"), "<w:r><w:instrText>no</w:instrText><w:delText>no</w:delText></w:r>")),
            "a",
            "a",
        ),
        (body(paragraph("<w:moveFrom>", run("no"), "</w:moveFrom>", run("yes"))), "yes", "yes"),
        (
            body(paragraph("<mc:Fallback xmlns:mc='m'>", run("no"), "</mc:Fallback>", run("yes"))),
            "yes",
            "yes",
        ),
        (
            body(paragraph(run("well"), "<w:r><w:noBreakHyphen/></w:r>", run("known one"))),
            "well known one",
            "one",
        ),
        (body(paragraph("<m:oMath xmlns:m='m'><m:t>no</m:t></m:oMath>", run("th end"))), "th end", "end"),
        (body(paragraph(run("caf&#233; a&shy;b <!-- no -->".replace("&shy;", "&#173;")))), "caf a b", ""),
        (body(paragraph(run("see http://x.org/"), run("no-no", BOLD), run(" end"))), "see end", "see end"),
        (body(paragraph(run("<![CDATA[no]]> yes"), "<w:t/>", "<w:txt>no</w:txt>")), "yes", "yes"),
        (
            TWO.replace("w:", "x:").replace("xmlns:x:", "xmlns:w:").replace("xmlns:w=", "xmlns:x="),
            *["One two three Four five"] * 2,
        ),
        (f'<document xmlns="{SPACE}"><t>one</t><a:t xmlns:a="a">no</a:t></document>', "one", "one"),
        (body(), "", ""),
    ],
)
def test_the_words_of_a_word_file(document: str, words: str, free: str) -> None:
    text = only("a.docx", docx(document))
    assert LETTERS.findall(text.prose) == words.split()
    assert [found[0] for found in free_words(text)] == free.split()


def test_an_archive_comment_and_utf16_text_stay() -> None:
    document = TWO.replace("UTF-8", "UTF-16").encode("utf-16")
    content = docx(document, comment=b"PK and more")
    opened = open_texts("a.docx", content)
    at = opened.texts[0].raw.index("two")
    changed = opened.rewritten({0: [Edit(at, at + 3, "zwei")]})
    assert changed.endswith(b"PK and more")
    with zipfile.ZipFile(io.BytesIO(changed)) as archive:
        assert archive.read("word/document.xml") == TWO.replace("UTF-8", "UTF-16").replace(
            "two", "zwei"
        ).encode("utf-16")


def broken(content: bytes, **values: int) -> bytes:
    """The file with other values in the directory's entry of the text."""
    places = {"flags": (8, "<H"), "method": (10, "<H"), "checksum": (16, "<I"), "size": (24, "<I")}
    data = bytearray(content)
    entry = data.index(b"word/document.xml", data.index(b"PK\1\2")) - 46
    local = data.index(b"word/document.xml") - 30
    for name, value in values.items():
        at, kind = places[name]
        struct.pack_into(kind, data, entry + at, value)
        if name in ("flags", "method"):
            struct.pack_into(kind, data, local + at - 2, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a zip"),
        (b"PK\3\4 cut off", "not a zip"),
        (docx(TWO)[:-40], "not a zip"),
        (docx(TWO).replace(b"word/document.xml", b"word/dokument.xml"), "no item named"),
        (broken(docx(TWO), flags=1), "encrypted"),
        (broken(docx(TWO), method=99), "not supported"),
        (broken(docx(TWO, method=zipfile.ZIP_BZIP2)), "unusual"),
        (broken(docx(TWO), checksum=1), "CRC"),
        (broken(docx(TWO), size=_LIMIT + 1), "larger than 64 MiB"),
        (broken(docx(TWO, streamed=True), size=7), ""),
        (b"#!/bin/sh\n" + docx(TWO), "other data around"),
        (docx(TWO[:-3]), "not well-formed"),
        (docx(HEAD + '<!DOCTYPE d [<!ENTITY e "x">]><d>&e;</d>'), "document type"),
        (docx(HEAD.replace("UTF-8", "nothing") + "<d/>"), "not well-formed"),
    ],
)
def test_files_that_cannot_be_read_are_named(content: bytes, why: str) -> None:
    with pytest.raises(DataError) as caught:
        open_texts("a.docx", content)
    assert why in str(caught.value.why)
    assert caught.value.where == "a.docx"
    assert caught.value.items == ("a.docx",)


@pytest.mark.parametrize("lie", [False, True])
def test_a_bomb_is_refused_before_it_is_unpacked(lie: bool) -> None:
    content = docx(b" " * (_LIMIT + 1))
    with pytest.raises(DataError) as caught:
        open_texts("a.docx", broken(content, size=1000) if lie else content)
    assert ("CRC" if lie else "64 MiB") in str(caught.value.why)


def test_two_texts_are_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("word/document.xml", TWO)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("word/document.xml", TWO)
    with pytest.raises(DataError, match="two members"):
        open_texts("a.docx", target.getvalue())


def test_letters_that_the_declared_encoding_lacks_are_refused() -> None:
    opened = open_texts("a.docx", docx(TWO.replace("UTF-8", "ISO-8859-1")))
    at = opened.texts[0].raw.index("two")
    assert b"zwei" in zipfile.ZipFile(io.BytesIO(opened.rewritten({0: [Edit(at, at + 3, "zwei")]}))).read(
        "word/document.xml"
    )
    with pytest.raises(UsageError) as caught:
        opened.rewritten({0: [Edit(at, at + 3, "zwöi")]})
    assert "lacks" in str(caught.value.why)
