"""Suffixes, encodings, newlines, empty files, and files of a size."""

import codecs

import pytest
from documents_making import docx, free, only, words

from noli.core.errors import DataError, UsageError
from noli.data.documents import SUFFIXES, Edit, open_texts

TEXTS = [suffix for suffix in SUFFIXES if suffix not in (".docx", ".jsonl", ".ndjson")]


def test_suffixes_count_whatever_their_case_and_folder() -> None:
    assert only("folder.txt/A.MD", "`no` yes").name == "folder.txt/A.MD"
    assert words("folder.txt/A.MD", "`no` yes") == ["yes"]


@pytest.mark.parametrize("name", ["a.pdf", "a", "md", "a.json", ".md"])
def test_unknown_suffixes_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_texts(name, b"")
    assert all(suffix in str(caught.value.fix) for suffix in SUFFIXES)


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize(
    ("codec", "bom"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_marks_and_newlines_stay(suffix: str, codec: str, bom: bytes, newline: str) -> None:
    content = f"Ähm one{newline}{newline}two 😀 three{newline}"
    opened = open_texts("a" + suffix, bom + content.encode(codec))
    assert opened.texts[0].raw == content
    assert opened.rewritten({}) == bom + content.encode(codec)
    at = content.index("two")
    assert opened.rewritten({0: [Edit(at, at + 3, "zwölf")]}) == bom + content.replace("two", "zwölf").encode(
        codec
    )


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b"ab\xff", 2),
        (b"caf\xe9 x", 3),
        (codecs.BOM_UTF8 + b"a\xff", 4),
        (codecs.BOM_UTF16_LE + b"a\0b", 4),
        (codecs.BOM_UTF16_BE + b"\0a\xd8\0\0a", 4),
        ("a".encode("utf-32"), 0),
        (codecs.BOM_UTF32_BE + b"\0\0\0a", 2),
        (b"\xed\xa0\x80", 0),
    ],
)
@pytest.mark.parametrize("suffix", [*TEXTS, ".jsonl"])
def test_other_encodings_are_refused_with_the_place(suffix: str, data: bytes, at: int) -> None:
    with pytest.raises(DataError) as caught:
        open_texts("a" + suffix, data)
    assert caught.value.where == f"a{suffix}, byte {at}"
    assert "UTF-8" in str(caught.value.fix)


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize("data", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"\n", b"\r\n", b" "])
def test_empty_files_are_one_text_without_words(suffix: str, data: bytes) -> None:
    opened = open_texts("a" + suffix, data)
    assert not opened.texts[0].prose.strip()
    assert opened.rewritten({0: []}) == data


def test_an_empty_file_of_lines_has_no_texts() -> None:
    assert open_texts("a.jsonl", b"").texts == open_texts("a.jsonl", b"\n \r\n").texts == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "```\nno\n```\n"),
        ("a.html", "<pre>no</pre><script>no</script>"),
        ("a.tex", "\\begin{lstlisting}\nno\n\\end{lstlisting}"),
    ],
)
def test_files_with_only_code_have_no_words(name: str, text: str) -> None:
    assert words(name, text) == []


@pytest.mark.parametrize(
    ("name", "head", "fits"),
    [
        ("a.html", "<meta charset=latin-1>", False),
        ("a.html", "<meta http-equiv=x content='text/html; charset=ISO-8859-1'>", False),
        ("a.html", "<meta charset='UTF-8'>", True),
        ("a.xhtml", "<?xml version='1.0' encoding='us-ascii'?>", False),
        ("a.tex", "\\usepackage[latin1]{inputenc}\n", False),
        ("a.tex", "\\usepackage[utf8]{inputenc}\n", True),
        ("a.txt", "charset=latin-1 ", True),
    ],
)
def test_a_page_that_declares_another_encoding_gets_no_letters_in_utf8(
    name: str, head: str, fits: bool
) -> None:
    opened = open_texts(name, f"{head} word".encode())
    place = (len(head) + 1, len(head) + 5)
    assert opened.rewritten({0: [Edit(*place, "plain")]}) == f"{head} plain".encode()
    if fits:
        assert opened.rewritten({0: [Edit(*place, "süß")]}) == f"{head} süß".encode()
    else:
        with pytest.raises(UsageError) as caught:
            opened.rewritten({0: [Edit(*place, "süß")]})
        assert "lacks" in str(caught.value.why)


def test_zero_bytes_of_a_text_are_glue() -> None:
    assert free("a.txt", "a\0b whole \x01 end") == ["whole", "end"]


REPEATED = (  # separated by bars
    'word ¦a¦-¦\'¦ ¦\n¦\x00¦a.¦a-¦a_¦a/¦a@¦@¦http://¦a://¦.a¦\\¦\\\\¦<¦<a ¦<a b=¦<a b="¦<a b="<a b"c=¦'
    "<!--¦<![CDATA[¦<!¦<?¦</¦<code>¦<p class=¦&a¦class=¦<script>¦`¦` ``¦``` ¦```\n¦~~~\n¦*¦_¦[¦](¦](a¦"
    "[a](¦[a](b(¦[a@¦[^¦[[¦$¦$a¦$$¦$$ a¦\\(¦\\[¦\\\\(¦{{¦{#¦|-¦- ¦1. ¦> ¦    a\n¦[a]: b\n¦---\n¦\\a{¦\\a[¦"
    "\\a[{}¦\\emph{¦\\cite¦\\href{¦\\verb|¦\\verb¦\\begin{math}¦%¦{¦}¦\\begin{¦\\begin{document}¦\\ss ¦"
    '\\\'¦\\"{¦\\def\\a¦!!! ¦[!¦{%¦\\item[¦<a\n¦"¦\r¦\\\\[¦\\lstinline['
)


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".tex"])
def test_no_repetition_hangs(suffix: str) -> None:
    """Time that grows with the square of the length would run into the suite's limit."""
    for piece in REPEATED.split("¦"):
        data = (piece * (40_000 // len(piece)) + "x\n").encode()
        assert len(open_texts("a" + suffix, data).texts) == 1


def test_large_lines_and_word_files_are_read() -> None:
    line = (
        b'{"a": ['
        + b'{"text": "\\\\", "b": {}}, ' * 5_000
        + b'1], "text": "'
        + b"\\u00e9\\n" * 20_000
        + b'"}'
    )
    runs = "<w:p><w:r><w:t>one two</w:t></w:r></w:p>" * 5_000
    assert len(open_texts("a.jsonl", line).texts[0].raw) == 8 * 20_000
    found = open_texts(
        "a.docx", docx(f'<w:d xmlns:w="http://purl.oclc.org/ooxml/wordprocessingml/main">{runs}</w:d>')
    )
    assert found.texts[0].prose.count("one two") == 5_000
