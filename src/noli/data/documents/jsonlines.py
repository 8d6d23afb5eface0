"""JSON Lines: where a field's text stands in each line, and the escapes in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from noli.core import foreign
from noli.core.errors import DataError
from noli.data.documents.prose import BREAK, mark_of

_LINE = re.compile(r"([^\r\n]*)(?:\r\n|\r|\n|\Z)")
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]++')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[nrtbf])|\\.")
_BLANK = " \t"


def found_values(name: str, content: str, field: str) -> Iterator[tuple[int, int, int]]:
    """Find a string in every line that is not empty.

    Args:
        name: The file's name, for messages.
        content: The file's text.
        field: A key, or several with dots in between. As in `json.loads`, the last of equal keys counts.

    Yields:
        The line's number (from 1), and where the string between the quotes starts and ends in `content`.

    Raises:
        DataError: A line is no JSON object, or has no string there.
    """
    for number, line in enumerate(_LINE.finditer(content), start=1):
        if line[1].strip(_BLANK):
            where = f"{name}, line {number}"
            _check(name, where, _loaded(name, where, line[1]), field)
            start, end = _span(line[1], field.split("."))
            yield number, line.start() + start, line.start() + end


def value_mask(raw: str) -> str:
    """Return the mask of a JSON string, given what stands between its quotes."""
    return _ESCAPE.sub(_escape, raw)


def _escape(found: re.Match[str]) -> str:
    if found[1]:
        return mark_of(chr(int(found[1], 16))) * 6
    return BREAK * 2 if found[0][1] in "nrtbf" else found[0]


def _loaded(name: str, where: str, line: str) -> Any:
    try:
        return foreign.loads(line, parse_int=float)  # int has a limit on its digits
    except ValueError as error:
        raise DataError("A line is no JSON.", where=where, why=str(error), items=[name]) from None


def _check(name: str, where: str, value: Any, field: str) -> None:
    if not isinstance(value, dict):
        raise DataError("A line is no JSON object.", where=where, items=[name])
    for key in field.split("."):
        keys = ", ".join(value) if isinstance(value, dict) else ""
        value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            raise DataError(
                f"A line has no field {field!r}.",
                where=where,
                why=f"no {key!r} among: {keys}" if keys else f"nothing to look for {key!r} in",
                fix="Name the field that holds the text.",
                items=[name],
            )
    if not isinstance(value, str):
        raise DataError(f"The field {field!r} holds no text.", where=where, items=[name])


def _span(line: str, keys: list[str]) -> tuple[int, int]:
    start, end = 0, 0
    for key in keys:
        start, end = _member(line, start, key)
    return start + 1, end - 1


def _member(line: str, at: int, key: str) -> tuple[int, int]:
    """Return the span of the first token of a member's value, in the object that starts at `at`."""
    depth, wanted, before, span = 0, False, "", (0, 0)
    for token in _TOKEN.finditer(line, at):
        mark = token[0]
        if wanted:
            span, wanted = token.span(), False
        elif depth == 1 and mark == ":":
            wanted = json.loads(before) == key
        depth += (mark in "{[") - (mark in "}]")
        before = mark
        if not depth:
            break
    return span
