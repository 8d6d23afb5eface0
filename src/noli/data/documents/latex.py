"""LaTeX: commands, mathematics, verbatim text and keys are blanked; what is typeset as text is prose."""

from __future__ import annotations

import re

from noli.data.documents.prose import BREAK, GLUE, SOFT

_ENVIRONMENTS = (
    "equation|align|alignat|flalign|gather|multline|eqnarray|math|displaymath|dmath|IEEEeqnarray"
    "|[bB]?[vV]erbatim|lstlisting|minted|alltt|comment|filecontents|tikzpicture|pgfpicture|picture|tikzcd|forest"
    "|algorithmic|algorithm2e"
)
_TOKEN = re.compile(
    r"""
    (?P<comment>%[^\n]*+(?:\n[ \t]*+)?)
    | (?P<shown>\\begin[ \t]*\{(?P<environment>(?:ENVIRONMENTS)\*?)\}(?:.*?\\end[ \t]*\{(?P=environment)\}|.*)
        | \\\[(?:.*?\\\]|.*) | \$\$(?:.*?\$\$|.*))
    | (?P<inline>\$(?:[^$\\\n]|\\.|\n(?![ \t]*\n))*+\$?
        | \\\((?:.*?\\\)|.*)
        | \\(?:[vV]erb\*?|lstinline(?:\[[^\[\]\n]*+\])?|mintinline(?:\[[^\[\]\n]*+\])?\{[^}\n]*+\})
            (?P<bar>[!-)+-/:-@\[-`|~0-9])[^\n]*?(?P=bar)
        | \\(?:input|include)[ \t]+[^\s{}\\]++
        | \\[`'^"~=.][ \t]*(?:\{[^{}\n]{0,8}\}|\\[a-zA-Z]+|\w)?
        | \\[bcdHkrtuv](?![a-zA-Z@])[ \t]*(?:\{[^{}\n]{0,8}\}|\w)?
        | \\(?:ss|SS|oe|OE|ae|AE|aa|AA|o|O|l|L|i|j|dh|DH|th|TH|ng|NG|dj|DJ)(?![a-zA-Z@])[ \t]*\n?[ \t]*
        | (?<=[^\W_])"(?=[^\W_]))                 # Babel's shorthand for letters
    | (?P<definition>\\(?:[gex]?def|let)(?![a-zA-Z@])\s*\\[a-zA-Z@]+[^{\n]*+)
    | (?P<row>\\\\\*?(?:\[[^\[\]\n]*+\])?|&)
    | \\(?P<name>[a-zA-Z@]++)\*?
    | (?P<tie>~)
    | (?P<brace>[{}])
    | \\.
    """.replace("ENVIRONMENTS", _ENVIRONMENTS),
    re.DOTALL | re.VERBOSE,
)
_BEGIN = re.compile(r"^[^%\n]*?\\begin[ \t]*\{document\}", re.MULTILINE)
_END = r"\end{document}"
_OPTION = re.compile(r"\[(?:[^\[\]{}]++|\{[^{}]*+\})*+\]")
_ADDRESS = re.compile(r"\{[^{}]*+\}")
_OPENING = re.compile(r"\s*\{")
_BRACES = re.compile(r"\\.|%[^\n]*+|[{}]", re.DOTALL)

_BREAKING = re.compile(
    "begin|end|item|par|newline|linebreak|newpage|clearpage|pagebreak|hline|(?:top|mid|bottom)rule|maketitle"
    "|tableofcontents|(?:big|med|small)skip|q?quad|[hv]fill"
)
# Commands whose arguments are text: the mark of the command, and how many arguments stand before the text.
_TEXT = (
    (BREAK, 0, "part|chapter|(?:sub)*section|(?:sub)?paragraph|(?:sub)?caption|title|abstract"),
    (BREAK, 0, "footnote(?:text)?|thanks|marginpar|sidenote|todo|blockquote"),
    (BREAK, 1, "captionof|parbox"),
    (BREAK, 2, "multicolumn|multirow"),
    (SOFT, 0, "emph|text(?:bf|it|sl|sf|rm|md|up|normal|quote|superscript|subscript)|underline|uline|enquote"),
    (SOFT, 0, "[mhf]box|framebox|makebox|uppercase|MakeUppercase|hyperref|texorpdfstring"),
    (SOFT, 1, "href|textcolor|colorbox|hyperlink|hypertarget|raisebox|scalebox"),
    (SOFT, 2, "resizebox"),
)
_TEXT_COMMAND = re.compile("|".join(f"({names})" for *_, names in _TEXT))
_SILENT = re.compile("label|index|footnotemark|vspace|noindent|protect|phantomsection")
_KEYED = re.compile("label|index|gls|input|include|includegraphics|url|path|bibliography|bibliographystyle")
_ADDRESSES = frozenset(("href", "url", "path", "nolinkurl"))


def latex_mask(text: str) -> str:
    """Return the mask of a LaTeX file; what stands before and after the document is no prose."""
    begin = _BEGIN.search(text)
    start = begin.end() if begin else 0
    stop = text.rfind(_END) if begin else -1
    stop = stop if stop >= start else len(text)
    return BREAK * start + _Walk(text[start:stop]).mask() + BREAK * (len(text) - stop)


class _Walk:
    """Goes through a text once and keeps the marks with which open braces will close."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._pieces = list[str]()
        self._braces = list[str]()

    def mask(self) -> str:
        while found := _TOKEN.search(self._text, self._at):
            self._pieces.append(self._text[self._at : found.start()])
            self._at = found.start()
            if found["name"]:
                self._command(found["name"], found.end())
            elif found["definition"]:
                self._blank(self._arguments("", found.end()), GLUE)
            elif found["brace"]:
                self._brace(found["brace"])
            else:
                self._blank(found.end(), _mark_of(found))
        return "".join((*self._pieces, self._text[self._at :]))

    def _blank(self, end: int, mark: str) -> None:
        self._pieces.append(mark * (end - self._at))
        self._at = end

    def _brace(self, brace: str) -> None:
        if brace == "{":
            self._braces.append(SOFT)
            self._blank(self._at + 1, SOFT)
        else:
            self._blank(self._at + 1, self._braces.pop() if self._braces else SOFT)

    def _command(self, name: str, end: int) -> None:
        if text := _TEXT_COMMAND.fullmatch(name):
            mark, before, _ = _TEXT[(text.lastindex or 1) - 1]
            end = self._arguments(name, end, most=before)
            if opening := _OPENING.match(self._text, end):
                self._braces.append(mark)
                end = opening.end()
            self._blank(end, mark)
            return
        cites = "cite" in name
        if (cites or "ref" in name or _KEYED.fullmatch(name)) and (
            opening := _OPENING.match(self._text, end)
        ):
            end = opening.end() - 1
        end = self._arguments(name, end)
        self._blank(
            end, BREAK if _BREAKING.fullmatch(name) else SOFT if cites or _SILENT.fullmatch(name) else GLUE
        )

    def _arguments(self, name: str, end: int, most: int = 99) -> int:
        """Return where the arguments end: all options, and at most so many groups, that follow at once."""
        while True:
            if option := _OPTION.match(self._text, end):
                end = option.end()
            elif most and self._text.startswith("{", end):
                address = _ADDRESS.match(self._text, end) if name in _ADDRESSES else None
                end = address.end() if address else self._group_end(end)
                most -= 1
            else:
                return end

    def _group_end(self, at: int) -> int:
        depth = 0
        for found in _BRACES.finditer(self._text, at):
            depth += (found[0] == "{") - (found[0] == "}")
            if not depth:
                return found.end()
        return len(self._text)


def _mark_of(found: re.Match[str]) -> str:
    if found["tie"]:
        return " "
    if found["shown"] or found["row"]:
        return BREAK
    return GLUE if found["inline"] else SOFT
