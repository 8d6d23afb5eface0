"""A small path language for JSON: ``a.b[0].c``, ``a[*].label``, ``a["odd.name"]``; empty: the whole."""

from __future__ import annotations

import re
from typing import Any

from noli.core.errors import DataError, UsageError
from noli.core.plugins import did_you_mean

Step = str | int | None  # a name, a position, or None for [*]

_STEP = re.compile(r'(?P<dot>\.)?(?P<name>[^.\[\]"]+)|\["(?P<quoted>[^"]*)"\]|\[(?P<index>\d{1,9}|\*)\]')
_SHOWN = 8
_LONGEST = 40


class NotThere(DataError):
    """A document has nothing at a path; `where` says how far the path leads."""


def parse(path: str) -> tuple[Step, ...]:
    """Return the steps of a path.

    Args:
        path: Names apart by dots, positions from 0 in brackets, ``[*]`` for every element of a list. A name
            with dots, brackets or quotes around it stands in ``["..."]``.

    Raises:
        UsageError: It is not such a path.
    """
    steps: list[Step] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        # A dot stands between names, and before no bracket: anything else is a slip of the pen.
        if found is None or (found["name"] is not None and bool(found["dot"]) != bool(at)):
            fix = "write for example choices[0].text or predictions[*].label"
            raise UsageError("This is not a path.", where=path, why=f"at {path[at:]!r}", fix=fix)
        at = found.end()
        if found["index"] is not None:
            steps.append(None if found["index"] == "*" else int(found["index"]))
        else:
            steps.append(found["name"] if found["name"] is not None else found["quoted"])
    return tuple(steps)


def find(document: Any, path: str) -> Any:
    """Return what lies at a path of a parsed JSON document.

    With ``[*]`` it is a list of what the rest of the path finds in every element; further stars keep it flat.

    Raises:
        UsageError: It is not a path.
        NotThere: A step leads nowhere.
    """
    return _follow(document, parse(path), "")


def _follow(value: Any, steps: tuple[Step, ...], seen: str) -> Any:
    for number, step in enumerate(steps):
        if step is None:
            rest = steps[number + 1 :]
            items = _list(value, seen)
            found = [_follow(item, rest, f"{seen}[{place}]") for place, item in enumerate(items)]
            return [one for many in found for one in many] if None in rest else found
        value = _named(value, step, seen) if isinstance(step, str) else _placed(value, step, seen)
        seen = f"{seen}[{step}]" if isinstance(step, int) else f"{seen}.{step}".lstrip(".")
    return value


def _named(value: Any, name: str, seen: str) -> Any:
    if not isinstance(value, dict):
        raise _missing(seen, f"{name!r} is looked for in {kind_of(value)}", "name a place in [brackets]")
    if name not in value:
        # Left out and not cut: half a secret could not be recognised and wiped.
        names = [key for key in value if len(key) <= _LONGEST][:_SHOWN]
        raise _missing(seen, f"there is no {name!r}; there is {', '.join(names) or 'nothing'}",
                       did_you_mean(name, names))  # fmt: skip
    return value[name]


def _placed(value: Any, place: int, seen: str) -> Any:
    items = _list(value, seen)
    if place >= len(items):
        raise _missing(seen, f"element [{place}] of {kind_of(items)}", "positions count from 0")
    return items[place]


def _list(value: Any, seen: str) -> list[Any]:
    if not isinstance(value, list):
        raise _missing(seen, f"an element of {kind_of(value)} is looked for", "leave out the [brackets]")
    return value


def _missing(seen: str, why: str, fix: str) -> NotThere:
    return NotThere("The response has nothing at this path.", where=seen or "the top", why=why, fix=fix)


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words, without its content."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    names = {dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
