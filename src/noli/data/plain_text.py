"""What a reader sees of a stretch of a document: without its markup, in the characters that it stands for."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

# Everything else is read as it is stored: a model that learns from Markdown or LaTeX learns its markup, too.
_MARKUP = ("html", "xhtml", "word")
_BLOCKS = frozenset(
    {
        *("address", "article", "blockquote", "br", "dd", "div", "dt", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("li", "p", "section", "td", "th", "tr", "w:p"),
    }
)
_SPACE = re.compile(r"[^\S\n]+")


def readable(layout: str, raw: str) -> str:
    """Return the text of a stretch of a document.

    Args:
        layout: As in :data:`noli.data.documents.SUFFIXES`.
        raw: As it is stored; it may begin and end inside an element, but not inside a tag.
    """
    if layout == "jsonlines":
        return str(json.loads(f'"{raw}"', strict=False))
    if layout not in _MARKUP:
        return raw
    reader = _Reader()
    reader.feed(raw)
    reader.close()
    lines = (_SPACE.sub(" ", line).strip() for line in "".join(reader.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    """Collects the text; a block ends a line, and words of a line stay on it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data.replace("\n", " "))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._end(tag)

    def handle_endtag(self, tag: str) -> None:
        self._end(tag)

    def _end(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.parts.append("\n")
