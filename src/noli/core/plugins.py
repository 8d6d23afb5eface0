"""Plug-ins of other packages: entry points read by name, without importing any; hints for mistyped names."""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from noli.core.errors import MissingPrerequisite, UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a registry.

    Attributes:
        module: Where it is defined: a module, or ``module:attribute``.
        summary: What it does, one line.
        package: Distribution it comes from (empty for noli's own).
        version: Version of that distribution.
    """

    module: str
    summary: str
    package: str = ""
    version: str = ""


def source_digest(module: str) -> str:
    """Return eight hex digits of the source files of a module's package; empty where there are none.

    The module was imported before.
    """
    package = Path(sys.modules[module.partition(".")[0]].__file__ or "")
    files = sorted(package.parent.rglob("*.py")) if package.name == "__init__.py" else [package]
    read = b"".join(file.read_bytes() for file in files if file.is_file())
    return hashlib.sha256(read).hexdigest()[:8] if read else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint for a mistyped name: the nearest known ones, or all of them."""
    choices = sorted(known)
    # `noli explain cuda`: the last part alone is a natural thing to type.
    close = [choice for choice in choices if _tail(choice) == name]
    by_fold = {choice.lower(): choice for choice in choices}
    hits = get_close_matches(name.lower(), list(by_fold), n=3)
    # All of a family begin alike: what follows the slash must be close as well, unless nothing is.
    hits = [hit for hit in hits if get_close_matches(_tail(name.lower()), [_tail(hit)], cutoff=0.5)] or hits
    if close := close or [by_fold[hit] for hit in hits]:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from: {', '.join(choices)}" if choices else "there is nothing to choose from"


def _tail(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def plugins(
    group: str, kind: str, reserved: Container[str]
) -> tuple[dict[str, Entry], dict[str, UsageError]]:
    """Return the usable plug-ins of an entry-point group, and the refused ones with the reason.

    Args:
        group: Entry-point group.
        kind: What they are, for messages: ``method``.
        reserved: First parts of names (``FIRST/name``) that are noli's own.
    """
    # A set, because one distribution can be seen twice through two path entries; that is no conflict.
    found: dict[str, set[Entry]] = {}
    for point in importlib.metadata.entry_points(group=group):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        line = Entry(point.value, f"Plug-in of {package} {version}".rstrip(), package, version)
        found.setdefault(point.name, set()).add(line)
    bad = {
        name: error
        for name, lines in sorted(found.items())
        if (error := _problem(name, lines, group, kind, reserved))
    }
    return {name: found[name].pop() for name in sorted(found.keys() - bad)}, bad


@contextmanager
def loading(kind: str, name: str, fix: str) -> Iterator[None]:
    """Say in plain words that what an entry names cannot be imported.

    Raises:
        MissingPrerequisite: The module, the attribute, or something that it needs is not there.
    """
    try:
        yield
    except (ImportError, AttributeError) as error:
        what, why = f"A {kind} could not be loaded.", f"{type(error).__name__}: {error}"
        raise MissingPrerequisite(what, where=name, why=why, fix=fix) from error


def _problem(
    name: str, lines: set[Entry], group: str, kind: str, reserved: Container[str]
) -> UsageError | None:
    packages = sorted(line.package for line in lines)
    where = f"{name} of {', '.join(packages)}"
    first, *rest = name.split("/")
    if len(rest) != 1 or not (first and rest[0]) or name != name.strip():
        fix = f"rename the entry point in group {group} to package/name"
        return UsageError(f"A plug-in {kind} is badly named.", where=where, fix=fix)
    if first in reserved:
        fix = f"rename the entry point to {packages[0] or 'package'}/{rest[0]}"
        what = f"A plug-in {kind} uses a name reserved for noli's own {kind}s."
        return UsageError(what, where=where, fix=fix)
    if len(lines) > 1:
        return UsageError(f"Two plug-ins define the same {kind}.", where=where, fix="uninstall one of them")
    return None
