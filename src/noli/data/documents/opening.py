"""Opening a document by its suffix: the encoding, then the format."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import NamedTuple

from noli.core.errors import DataError, UsageError
from noli.data.documents.edits import Text, TextFile
from noli.data.documents.hypertext import html_mask, xhtml_mask
from noli.data.documents.jsonlines import found_values, value_mask
from noli.data.documents.latex import latex_mask
from noli.data.documents.markdown import markdown_mask
from noli.data.documents.member import Member
from noli.data.documents.prose import finished, normalised
from noli.data.documents.word import check_xml, word_mask

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys((".txt", ".text"), "plain"),
        **dict.fromkeys((".md", ".markdown"), "markdown"),
        **dict.fromkeys((".html", ".htm"), "html"),
        ".xhtml": "xhtml",
        **dict.fromkeys((".tex", ".ltx"), "latex"),
        **dict.fromkeys((".jsonl", ".ndjson"), "jsonlines"),
        ".docx": "word",
    }
)
"""The format of a document by the suffix of its name, in lower case."""

_MASKS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "markdown": markdown_mask,
    "html": html_mask,
    "xhtml": xhtml_mask,
    "latex": latex_mask,
    "jsonlines": value_mask,
    "word": word_mask,
}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w-]+)|\[([\w-]+)\]\{inputenc\}""", re.I)
_DECLARING = ("html", "xhtml", "latex", "word")
_HEAD = 4096
_DOCUMENT, _LIMIT = "word/document.xml", 64 << 20


def open_texts(name: str, data: bytes, field: str = "text") -> TextFile:
    """Read a document, or the documents of a JSON Lines file.

    Args:
        name: The file's name; its suffix says the format (see `SUFFIXES`).
        data: The file's bytes: UTF-8 with or without a byte order mark, or UTF-16 with one.
        field: For JSON Lines: where the text is in each line, with dots between the keys of nested objects.

    Raises:
        UsageError: The suffix is unknown.
        DataError: Another encoding, a line that is no JSON object or lacks the field, a damaged or
            encrypted Word file, or one whose text is larger than 64 MiB.
    """
    kind = SUFFIXES.get(PurePath(name).suffix.lower())
    if kind is None:
        raise UsageError(
            "This is no text document that noli can read.",
            where=name,
            fix="Known suffixes: " + ", ".join(SUFFIXES),
            items=[name],
        )
    wrap: Callable[[bytes], bytes] = bytes
    if kind == "word":
        member = Member(name, data, _DOCUMENT, _LIMIT)
        data, wrap = member.content, member.replaced
        check_xml(name, data)
    text = _decoded(name, data, kind)
    if kind != "jsonlines":
        return TextFile(
            [_text(name, text.content, kind)], text.content, codec=text.codec, wrap=text.around(wrap)
        )
    texts, starts = list[Text](), list[int]()
    for line, start, end in found_values(name, text.content, field):
        texts.append(_text(f"{name}#{line}", text.content[start:end], kind))
        starts.append(start)
    return TextFile(texts, text.content, starts=starts, codec=text.codec, wrap=text.around(wrap))


class _Decoded(NamedTuple):
    content: str
    codec: str
    bom: bytes

    def around(self, wrap: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        return lambda body: wrap(self.bom + body)


def _text(name: str, raw: str, kind: str) -> Text:
    return Text(name, raw, finished(_MASKS[kind](normalised(raw))))


def _decoded(name: str, data: bytes, kind: str) -> _Decoded:
    bom, codec = next((pair for pair in _BOMS if data.startswith(pair[0])), (b"", "utf-8"))
    if data.startswith(codecs.BOM_UTF32_LE):  # it begins like the mark of UTF-16
        bom, codec = b"", "utf-8"
    try:
        content = data[len(bom) :].decode(codec)
    except UnicodeDecodeError as error:
        raise DataError(
            "The text is in an encoding that noli does not read.",
            where=f"{name}, byte {len(bom) + error.start}",
            why=f"not {codec.upper()}: {error.reason}",
            fix="Convert the file to UTF-8.",
            items=[name],
        ) from None
    declared = _DECLARED.search(data[:_HEAD]) if kind in _DECLARING and data.isascii() else None
    # ASCII fits every encoding that a page may declare; new letters in UTF-8 would not.
    if declared and (declared[1] or declared[2]).lower() not in (b"utf-8", b"utf8"):
        codec = "ascii"
    return _Decoded(content, codec, bom)
