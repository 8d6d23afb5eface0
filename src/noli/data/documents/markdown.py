"""Markdown: code, HTML, link targets, mathematics and metadata are blanked; what they surround is prose."""

from __future__ import annotations

import re
from collections.abc import Iterator

from noli.data.documents.hypertext import inline_mask
from noli.data.documents.prose import BREAK, GLUE, SOFT

_FRONT = re.compile(r"(?P<fence>---|\+\+\+)[ \t]*\n(?:.*\n)*?(?:(?P=fence)|\.\.\.)[ \t]*(?:\n|\Z)")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r"(?P<fence>`{3,}|~{3,})(?P<info>.*)")
_QUOTE = re.compile(r"(?: {0,3}> ?)+")
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])(?=[ \t]|$)[ \t]{0,4}")
_BLANKED_LINE = re.compile(
    r"""[ \t>]*+(?:
        \[[^\]\n]++\]:(?P<definition>.*)          # where references lead
        | (?=[|: \t]*-)[|:\- \t]++$                  # the rule under a table's head
        | :{3,}.* | [!?]{3}\+?[ ].*               # containers, admonitions
    )""",
    re.VERBOSE,
)
_FOOTNOTE = re.compile(r"[ \t>]*+\[\^[^\]\n]++\]:")
_TITLE = re.compile(r"""[ \t>]++(?:"[^"]*"|'[^']*'|\([^()]*\))\s*$""")
_PARAGRAPHS = re.compile(r"\n(?:[ \t>]*\n)+")
_SPAN = re.compile(r"(?P<escape>\\[^\w\s])|<!--(?:.*?-->|.*)|(?P<ticks>`+)", re.DOTALL)

_INLINE = re.compile(
    r"""
    (?P<glue>
        \$\$(?:[^$]++|\$(?!\$))*+\$\$
        | \$\$(?:[^\n]|\n(?![ \t]*\n))*+
        | (?<![\\$])\$(?=[^\s$])(?:[^$\\\n]|\\[^\n]|\n(?![ \t]*\n))++(?<!\s)\$(?!\d)
        | \\{1,2}\((?:[^\\\n]|\n(?![ \t]*\n)|\\(?!\\?[()]))*+\\{1,2}\)
        | \\{1,2}\[(?:[^\\]|\\(?!\\?[\[\]]))*+\\{1,2}\]
        | \[\[[^\[\]\n]*+\]\]
        | \{[{%][^{}\n]*[%}]\}
    )
    | (?P<escape>\\[^\w\s])
    | \]\((?:[^()\\\n]|\\[^\n]|\n(?![ \t]*\n)|\((?:[^()\\\n]|\\[^\n])*+\))*+\)
    | \]\([^\s\[]*+
    | \]\[[^\[\]]*+\]
    | \[\^[^\[\]\s]++\] | \[![^\[\]\n]++\]
    | (?<=[-*+.)][ ])\[[^\[\]\n]++\](?![(\[])     # a task, or what a letter would make one
    | \[[^\[\]@]*+@[^\[\]]*+\](?![(\[])
    | \{:?[ ]?[\#.][^{}\n]*+\}
    | (?P<bar>\|)
    | \*++ | ~~++ | ==++ | (?<![^\W_])_++ | _++(?![^\W_])
    """,
    re.VERBOSE,
)
_SHORTCUT = re.compile(r"\[[^\[\]]++\](?!\()")


def markdown_mask(text: str) -> str:
    """Return the mask of a Markdown text: CommonMark, tables, footnotes, mathematics, Pandoc's citations."""
    lines, defines = _without_blocks(text)
    text = inline_mask(_without_code("".join(lines)))
    text = _INLINE.sub(_inline, text)
    # A bracketed word may be a reference, whose words are its address.
    return _SHORTCUT.sub(lambda found: GLUE * len(found[0]), text) if defines else text


def _without_blocks(text: str) -> tuple[list[str], bool]:
    """Blank front matter, code blocks and definitions; tell whether there were definitions of references."""
    front = _FRONT.match(text)
    at = front.end() if front else 0
    lines, defines, code, title = [BREAK * at], False, _Code(), False
    for line in _LINE.findall(text, at):
        body = line.rstrip("\n")
        blanked = _BLANKED_LINE.match(body)
        note = _FOOTNOTE.match(body)
        if code.holds(body) or (title and _TITLE.fullmatch(body)):
            lines.append(BREAK * len(line))
            title = False
            continue
        title = bool(blanked and blanked["definition"] is not None and not note)
        defines |= title
        if note:
            lines.append(BREAK * note.end() + line[note.end() :])
        else:
            lines.append(BREAK * len(line) if blanked else line)
    return lines, defines


class _Code:
    """Follows lines and tells which are code: between fences, or indented beyond the list they stand in."""

    def __init__(self) -> None:
        self._fence = ""
        self._margin = 0  # where the text of the list item starts
        self._before = True  # whether an indented line may start code here

    def holds(self, line: str) -> bool:
        quote = _QUOTE.match(line)
        inner = line[quote.end() :] if quote else line
        body = inner.strip()
        if self._fence:
            if body.startswith(self._fence) and not body.strip(self._fence[0]):
                self._fence, self._before = "", True
            return True
        indent = len(inner.expandtabs(4)) - len(inner.expandtabs(4).lstrip())
        if not body:
            self._before = True
            return False
        if self._before and indent >= self._margin + 4:
            return True
        return self._starts(body, indent)

    def _starts(self, body: str, indent: int) -> bool:
        if self._before and indent < self._margin:
            self._margin = 0
        self._before = False
        at = 0
        while item := _ITEM.match(body, at):
            at = item.end()
            self._margin = indent + at
        opening = _FENCE.match(body, at)
        if opening and not (opening["fence"][0] == "`" and "`" in opening["info"]):
            self._fence = opening["fence"]
        self._before = body.startswith("#", at)
        return bool(self._fence)


def _without_code(text: str) -> str:
    """Blank code spans and comments, whichever starts first."""
    partners = _partners(text)
    pieces, at = list[str](), 0
    while found := _SPAN.search(text, at):
        end = found.end()
        mark = SOFT
        if found["escape"] or (found["ticks"] and found.start() not in partners):
            mark = ""
        elif found["ticks"]:
            end, mark = partners[found.start()], GLUE
        pieces += (text[at : found.start()], mark * (end - found.start()) or found[0])
        at = end
    return "".join((*pieces, text[at:]))


def _partners(text: str) -> dict[int, int]:
    """Return where the code span ends that each run of backticks starts: one as long, in its paragraph."""
    ends = dict[int, int]()
    for start, stop in _paragraphs(text):
        later = dict[int, int]()
        for run in reversed(list(re.compile("`+").finditer(text, start, stop))):
            size = len(run[0])
            for skipped in (0, 1):  # a backslash before a run takes its first backtick
                if size - skipped in later:
                    ends[run.start() + skipped] = later[size - skipped]
            later[size] = run.end()
    return ends


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for gap in _PARAGRAPHS.finditer(text):
        yield at, gap.start()
        at = gap.end()
    yield at, len(text)


def _inline(found: re.Match[str]) -> str:
    if found["escape"]:
        return found[0]
    if found["bar"]:
        return BREAK
    return (GLUE if found["glue"] else SOFT) * len(found[0])
