"""What the tests of documents share: finding words as a consumer does, editing them, making Word files."""

import io
import re
import zipfile

from hypothesis import strategies as st

from noli.data.documents import Edit, Text, open_texts

LETTERS = re.compile(r"[^\W\d_]+")
NEW_WORDS = st.sampled_from(["word", "Äther", "two words", "o'clock", "so-called", "naïve", "x", "слово"])
SPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n'

FRAGMENTS = {  # separated by bars
    "plain": (" ¦\n¦\r\n¦\r¦word¦Ünïcode¦don't¦http://a.b/c-d?e=f¦a@b.org¦/usr/lib¦e.g."),
    "markdown": (
        "\n¦\n\n¦ ¦word¦Some text¦    ¦\t¦- ¦1. ¦> ¦# ¦```¦~~~\n¦`¦``¦*¦_¦[¦](¦)¦]¦[ref]: x\n¦---\n¦|¦<b>¦"
        '</b>¦<code>¦<!--¦-->¦$¦$$¦\\¦<a title="¦">¦&amp;¦\\(¦\\)¦[^1]¦[@key]¦{#id}¦http://a.b/c¦\r\n¦[[¦'
        "]]"
    ),
    "html": (
        " ¦word¦Some text¦\n¦<p>¦</p>¦<b>¦</b>¦<code>¦</code>¦<script>¦</script>¦<!-- x -->¦<br/>¦&amp;¦"
        "&shy;¦&copy¦<p class='notranslate'>¦<a href=\"x>y\" title='z'>¦</a>¦<!DOCTYPE html>¦< ¦3 > 2¦"
        "<svg/>¦<textarea>¦</textarea>¦<img alt=word>¦é"
    ),
    "latex": (
        " ¦word¦Some text¦\n¦\n\n¦%¦\\%¦$¦$$¦{¦}¦\\emph{¦\\section{¦\\cite{key}¦\\[¦\\]¦\\(¦\\)¦"
        "\\begin{equation}¦\\end{equation}¦\\begin{itemize}¦\\item ¦\\verb|x|¦\\begin{document}¦"
        '\\end{document}¦\\foo¦[opt]¦"¦\\"u¦\\\'e¦\\ss ¦~¦&¦\\\\¦--'
    ),
}
SUFFIX = {"plain": ".txt", "markdown": ".md", "html": ".html", "latex": ".tex"}


def contents(kind: str) -> st.SearchStrategy[str]:
    """Texts made of what the format gives a meaning to, in any order, and some other characters."""
    pieces = st.sampled_from(FRAGMENTS[kind].split("¦")) | st.text(
        st.characters(exclude_categories=["Cs"]), max_size=3
    )
    return st.lists(pieces, max_size=30).map("".join)


def only(name: str, data: bytes | str) -> Text:
    (text,) = open_texts(name, data.encode() if isinstance(data, str) else data).texts
    return text


def words(name: str, data: bytes | str) -> list[str]:
    return LETTERS.findall(only(name, data).prose)


def free_words(text: Text) -> list[re.Match[str]]:
    """The words that may be replaced: they touch no glue."""
    return [
        found
        for found in LETTERS.finditer(text.prose)
        if found[0].isalpha()
        and "\0"
        not in text.prose[max(found.start() - 1, 0) : found.start()]
        + text.prose[found.end() : found.end() + 1]
    ]


def free(name: str, data: bytes | str) -> list[str]:
    return [found[0] for found in free_words(only(name, data))]


def drawn_edits(data: st.DataObject, text: Text) -> list[Edit]:
    """Edits of some of the words that may be replaced, in any order."""
    found = free_words(text)
    chosen = data.draw(st.lists(st.sampled_from(found), unique_by=lambda word: word.start())) if found else []
    return [Edit(*word.span(), data.draw(NEW_WORDS)) for word in chosen]


def applied(text: str, edits: list[Edit]) -> str:
    """The slow and obvious way: from the last edit to the first."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text


def reversed_edits(text: Text, edits: list[Edit]) -> list[Edit]:
    """The edits that put the old words back."""
    back, moved = [], 0
    for edit in sorted(edits):
        start = edit.start + moved
        back.append(Edit(start, start + len(edit.new), text.raw[edit.start : edit.end]))
        moved += len(edit.new) - (edit.end - edit.start)
    return back


def body(*paragraphs: str) -> str:
    return f'{HEAD}<w:document xmlns:w="{SPACE}"><w:body>{"".join(paragraphs)}</w:body></w:document>'


def run(text: str, properties: str = "") -> str:
    return f'<w:r>{properties}<w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


class Unseekable(io.BytesIO):
    """A stream that makes zipfile write its sizes behind the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def docx(
    document: str | bytes, *, method: int = zipfile.ZIP_DEFLATED, streamed: bool = False, comment: bytes = b""
) -> bytes:
    """A Word file with members before and behind the text."""
    target = Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in (
            ("[Content_Types].xml", "<Types/>" * 20),
            ("word/document.xml", document),
            ("word/styles.xml", "<styles>prose that stays</styles>"),
            ("docProps/core.xml", "<core/>"),
        ):
            info = zipfile.ZipInfo(name, (2021, 2, 3, 4, 5, 6))
            info.compress_type = zipfile.ZIP_STORED if name.startswith("docProps") else method
            info.extra = b"\x99\x99\x02\x00ab"
            archive.writestr(info, content)
        archive.comment = comment
    return target.getvalue()
