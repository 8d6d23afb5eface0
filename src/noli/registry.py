"""All methods by name: a table of strings, so that listing them imports none of them.

Third parties add theirs through the entry-point group ``noli.methods``. The entry point's name is
``package/name`` and its value the module that holds ``SPEC`` and the pure functions.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import ModuleType
from typing import get_args

from noli.core.errors import MissingPrerequisite, UsageError
from noli.core.method import Family, Spec

GROUP = "noli.methods"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the registry.

    Attributes:
        module: Module that holds ``SPEC`` and the pure functions.
        summary: What the method does, one line.
        package: Distribution it comes from (empty for noli's own).
    """

    module: str
    summary: str
    package: str = ""


TABLE: dict[str, Entry] = {
    "protect/ar": Entry(
        "noli.methods.protect.ar",
        "Class-wise autoregressive noise that a network learns instead of the pictures (AR)",
    ),
    "protect/cuda": Entry(
        "noli.methods.protect.cuda",
        "Class-wise convolutions that a network learns instead of the pictures (CUDA)",
    ),
    "protect/em": Entry(
        "noli.methods.protect.em",
        "Noise that leaves a network nothing to learn (EM)",
    ),
    "protect/ops": Entry(
        "noli.methods.protect.ops",
        "One pixel per class that a network learns instead of the pictures (OPS)",
    ),
    "protect/rem": Entry(
        "noli.methods.protect.rem",
        "The same against adversarial training (REM); slow, the reference for SEM",
    ),
    "protect/sem": Entry(
        "noli.methods.protect.sem",
        "Noise that leaves even adversarial training little to learn (SEM)",
    ),
    "protect/salm": Entry(
        "noli.methods.protect.salm",
        "Such noise only where it matters, for medical images (SALM, reconstruction)",
    ),
    "protect/tap": Entry(
        "noli.methods.protect.tap",
        "Pictures that a network takes for the next class (TAP)",
    ),
    "protect/weave": Entry(
        "noli.methods.protect.weave",
        "Class filters and class colours together: two codes that fail to different attacks (ours)",
    ),
    "protect/lsp": Entry(
        "noli.methods.protect.lsp",
        "Patches of linearly separable noise, a fast baseline that is easy to remove (LSP)",
    ),
    "verify/learnability": Entry(
        "noli.methods.verify.learnability",
        "Train fresh models on clean and protected data and compare what they learn",
    ),
}


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


def names(family: str | None = None) -> tuple[str, ...]:
    """Return the sorted names of all methods without importing any.

    Args:
        family: Only noli's own methods of this family; None for all of them and all plug-ins.

    Raises:
        UsageError: There is no such family.
    """
    if family is None:
        return tuple(sorted({*TABLE, *plugins()[0]}))
    known = {name.split("/")[0] for name in TABLE}
    if family not in known:
        raise UsageError("Unknown family.", where=family, fix=did_you_mean(family, known))
    return tuple(sorted(name for name in TABLE if name.split("/")[0] == family))


def entry(name: str) -> Entry:
    """Return the registry line of a method.

    Raises:
        UsageError: Unknown name, or a plug-in that is badly named or defined twice.
    """
    if name in TABLE:
        return TABLE[name]
    good, bad = plugins()
    if name in bad:
        raise bad[name]
    if name not in good:
        raise UsageError("Unknown method.", where=name, fix=did_you_mean(name, {*TABLE, *good}))
    return good[name]


def module(name: str) -> ModuleType:
    """Import and return the module of a method.

    Raises:
        UsageError: Unknown name.
        MissingPrerequisite: The module or a package it needs is not installed.
    """
    line = entry(name)
    try:
        return importlib.import_module(line.module)
    except ImportError as error:
        raise MissingPrerequisite(
            "A method could not be loaded.",
            where=name,
            why=f"{type(error).__name__}: {error}",
            fix=f"pip install --upgrade {line.package or 'noli'}, then `noli doctor`",
        ) from error


def get(name: str) -> Spec:
    """Import a method and return its Spec.

    Raises:
        UsageError: Unknown name, or a module whose ``SPEC`` is missing or names another method.
        MissingPrerequisite: The module or a package it needs is not installed.
    """
    loaded = module(name)
    spec = getattr(loaded, "SPEC", None)
    if not isinstance(spec, Spec) or spec.name != name:
        raise UsageError(
            "A method's module does not define it.",
            where=f"{name} in {loaded.__name__}",
            why="SPEC is missing" if spec is None else f"SPEC is {getattr(spec, 'name', spec)!r}",
            fix="set SPEC = noli.core.method.Spec(name=<the entry point's name>, ...) in the module",
        )
    return replace(spec, module=loaded.__name__)


def plugins() -> tuple[dict[str, Entry], dict[str, UsageError]]:
    """Return usable plug-ins, and the refused ones with the reason, without importing any."""
    # A set, because one distribution can be seen twice through two path entries; that is no conflict.
    found: dict[str, set[Entry]] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        line = Entry(point.value, f"Plug-in of {package} {version}".rstrip(), package)
        found.setdefault(point.name, set()).add(line)
    bad = {name: error for name, lines in sorted(found.items()) if (error := _problem(name, lines))}
    return {name: found[name].pop() for name in sorted(found.keys() - bad)}, bad


def _problem(name: str, lines: set[Entry]) -> UsageError | None:
    packages = sorted(line.package for line in lines)
    where = f"{name} of {', '.join(packages)}"
    family, *rest = name.split("/")
    if len(rest) != 1 or not (family and rest[0]) or name != name.strip():
        fix = f"rename the entry point in group {GROUP} to package/name"
        return UsageError("A plug-in method is badly named.", where=where, fix=fix)
    if family in get_args(Family):
        fix = f"rename the entry point to {packages[0] or 'package'}/{rest[0]}"
        what = "A plug-in method uses a name reserved for noli's own methods."
        return UsageError(what, where=where, fix=fix)
    if len(lines) > 1:
        return UsageError("Two plug-ins define the same method.", where=where, fix="uninstall one of them")
    return None
