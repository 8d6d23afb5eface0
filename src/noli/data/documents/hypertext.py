"""HTML and XHTML: tags, comments, entities, and elements whose text is no prose."""

from __future__ import annotations

import html
import re

from noli.data.documents.prose import BREAK, GLUE, SOFT, mark_of

_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr")
# Raw text ends at its end tag, whatever stands in between.
_RAW = re.compile("script|style|textarea|xmp|iframe|noembed|noframes")
_SKIPPED = re.compile(_RAW.pattern + "|code|pre|kbd|samp|var|math|svg|tt|listing|plaintext")
_BLOCK = re.compile(
    "address|article|aside|audio|blockquote|body|br|button|canvas|caption|center|col|colgroup|d[dlt]|details|dialog"
    "|dir|div|fieldset|fig(?:caption|ure)|footer|form|frame(?:set)?|h[1-6r]|head(?:er)?|hgroup|html|iframe|input"
    "|legend|li|link|listing|main|menu|meta|nav|noscript|object|ol|optgroup|option|p|plaintext|pre|search|section"
    "|select|summary|table|tbody|t[dhr]|template|textarea|tfoot|thead|title|ul|video|xmp"
)

_VALUE = r""""[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+"""
_LENIENT = rf"(?:[^>=]++|=\s*+(?:{_VALUE})?)*+(?:>|\Z)"  # browsers drop a tag that is never closed
# As Markdown asks.
_STRICT = r"""(?:[^<>=\n]++|\n(?![ \t]*\n)|=\s*+(?:"[^"<]*+"|'[^'<]*+'|[^\s<>"'][^\s<>]*+)?)*+>"""
_MARKUP = r"""
    <!--(?:-?>|.*?--!?>|.*)
    | <!\[CDATA\[(?:.*?\]\]>|.*)
    | <![^>\[]*+(?:\[[^\]]*+)?[^>]*+>?
    | <\?[^>]*+>?
    | </[^a-zA-Z][^>]*+>?
    | <(?P<end>/?)(?P<name>[a-zA-Z][^\s/<>]*+)(?P<attributes>%s)
    | (?P<entity>&\#?\w++;?)
"""
_HTML = re.compile(_MARKUP % _LENIENT, re.DOTALL | re.VERBOSE)
# A value with `<` in it may be markup or text: the paragraph goes, so that no attribute is taken for prose.
_DOUBTFUL = r"""| <[a-zA-Z][\w-]*\s[^<>=\n]*=\s*["'](?:[^\n]++|\n(?![ \t]*\n))*+"""
_INLINE = re.compile(_MARKUP % _STRICT + _DOUBTFUL, re.DOTALL | re.VERBOSE)
_KEPT = re.compile(r"""\btranslate\s*=\s*["']?no\b|\bclass\s*=\s*["']?[^"'>]{0,200}\bnotranslate\b""", re.I)


def html_mask(text: str) -> str:
    """Return the mask of an HTML page; a tag that is never closed hides the rest, as in browsers."""
    return _mask(text, _HTML)


def xhtml_mask(text: str) -> str:
    """Return the mask of an XHTML page, where `/>` ends any element."""
    return _mask(text, _HTML, xml=True)


def inline_mask(text: str) -> str:
    """Return the mask of the HTML inside Markdown, where `<` also stands for itself."""
    return _mask(text, _INLINE)


def entity_mark(entity: str) -> str:
    """Return the mark for an entity such as `&shy;`."""
    return mark_of(html.unescape(entity))


def _mask(text: str, token: re.Pattern[str], *, xml: bool = False) -> str:
    pieces, at, skipped, depth = list[str](), 0, "", 0
    while found := token.search(text, at):
        name, was, start = (found["name"] or "").lower(), depth, at
        opens = bool(name) and not (found["end"] or _VOID.fullmatch(name) or _ends_itself(found, name, xml))
        at = _raw_end(text, name, found.end()) if opens and _RAW.fullmatch(name) and not xml else found.end()
        if depth:
            depth += (opens - bool(found["end"])) * (name == skipped)
        elif opens and (_SKIPPED.fullmatch(name) or _KEPT.search(found["attributes"])):
            skipped, depth = name, 1
        if not was:
            pieces.append(text[start : found.start()])
            start = found.start()
        pieces.append((_mark(skipped, hidden=True) if was or depth else _mark_of(found)) * (at - start))
    return "".join((*pieces, _mark(skipped, hidden=True) * (len(text) - at) if depth else text[at:]))


def _ends_itself(found: re.Match[str], name: str, xml: bool) -> bool:
    return (xml or name in ("math", "svg")) and found[0].endswith("/>")


def _raw_end(text: str, name: str, at: int) -> int:
    end = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, at)
    return end.start() if end else len(text)


def _mark_of(found: re.Match[str]) -> str:
    if found["entity"]:
        return entity_mark(found["entity"])
    # A CDATA section is text to XML and a comment to HTML.
    return GLUE if found[0].startswith("<![") else _mark((found["name"] or "").lower())


def _mark(name: str, *, hidden: bool = False) -> str:
    """Return the mark of an element's tags, or of all of an element whose text is hidden from the prose."""
    if _BLOCK.fullmatch(name):
        return BREAK
    return GLUE if hidden and name not in ("script", "style") else SOFT
