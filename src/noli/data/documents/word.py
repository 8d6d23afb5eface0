"""Word's `document.xml`: only what stands in `w:t` is prose."""

from __future__ import annotations

import re
from xml.parsers import expat

from noli.core.errors import DataError
from noli.data.documents.hypertext import entity_mark
from noli.data.documents.prose import BREAK, GLUE, SOFT

_SPACE = re.compile(
    r"""xmlns(?::([\w.-]+))?\s*=\s*["']http://(?:schemas\.openxmlformats\.org/wordprocessingml/2006"""
    r"""|purl\.oclc\.org/ooxml/wordprocessingml)/main["']"""
)
_TOKEN = re.compile(
    r"""<!--.*?-->|<\?.*?\?>|(?P<cdata><!\[CDATA\[.*?\]\]>)|(?P<entity>&[^;<]*+;)"""
    r"""|<(?P<end>/?)(?P<name>[^\s/>]+)(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""",
    re.DOTALL,
)
_BREAKS = ("p", "br", "cr", "tab", "ptab", "tc", "tr", "tbl", "sectPr", "txbxContent")
_LETTERS = ("sym", "oMath", "oMathPara", "ruby")  # they show what may be part of a word
_COPIES = ("moveFrom", "Fallback")  # text that stands a second time elsewhere


def check_xml(name: str, data: bytes) -> None:
    """Check that the text of a Word file is XML without a document type.

    Raises:
        DataError: It is not; entities of its own may grow without bounds.
    """
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise expat.ExpatError("a document type is not allowed")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        why = f"its text is not well-formed: {error}"
        raise DataError("The document cannot be read.", where=name, why=why, items=[name]) from None


def word_mask(text: str) -> str:
    """Return the mask of a well-formed `document.xml`; runs of a paragraph continue each other."""
    space = _SPACE.search(text)
    prefix = f"{space[1]}:" if space and space[1] else "" if space else "w:"
    pieces, at, inside, copies = list[str](), 0, False, 0
    for found in _TOKEN.finditer(text):
        shown = inside and not copies
        between = text[at : found.start()]
        pieces.append(between if shown else SOFT * len(between))
        pieces.append(_mark(found) * len(found[0]))
        at = found.end()
        opens = not found["end"] and found[0][-2] != "/"
        if found["name"] == f"{prefix}t":
            inside = opens
        elif _local(found) in _COPIES and (opens or found["end"]):
            copies += 1 if opens else -1
    return "".join((*pieces, SOFT * (len(text) - at)))


def _local(found: re.Match[str]) -> str:
    return (found["name"] or "").rpartition(":")[2]


def _mark(found: re.Match[str]) -> str:
    if found["entity"]:
        return entity_mark(found["entity"])
    name = _local(found)
    if name in _BREAKS:
        return BREAK
    return GLUE if found["cdata"] or name in _LETTERS else SOFT
