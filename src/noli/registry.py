"""All methods by name: a table of strings, so that listing them imports none of them.

Third parties add theirs through the entry-point group ``noli.methods``. The entry point's name is
``package/name`` and its value the module that holds ``SPEC`` and the pure functions.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType
from typing import get_args

from noli.core.errors import UsageError
from noli.core.method import Family, Spec
from noli.core.plugins import Entry, did_you_mean, loading
from noli.core.plugins import plugins as find_plugins

GROUP = "noli.methods"


_SUMMARIES = {
    "lock/detector": "Feature maps of a detector changed under a key, so that it finds little without it",
    "lock/ele": "Halves of bytes scrambled with a key for every block, then blocks moved (ELE)",
    "lock/embeddings": "Secret first layers of a network, which only a key fits (encrypted patch embeddings)",
    "lock/etc": "Blocks moved, turned, negated and recoloured; still compresses, grey-based too (EtC)",
    "lock/instahide": "Pictures mixed and signs flipped; broken, to compare with (InstaHide)",
    "lock/le": "Halves of bytes scrambled alike in all blocks, for learning on them (LE)",
    "lock/neuracrypt": "Codes of a secret random network; broken, to compare with (NeuraCrypt, colour too)",
    "lock/pixel": "Values negated and colours reordered pixel by pixel, a key for every picture",
    "lock/proliferate": "A keyed model for every device, so that none breaks or leaks for all of them",
    "lock/shuffle": "Values of blocks permuted, negated or replaced, for keyed networks (SHF, NP, FFX)",
    "mark/gratings": "Secret stripes that a network comes to read as classes, found by secret queries (ours)",
    "mark/leximark": "Keyed synonyms that a language model remembers, found by exact tests (LexiMark)",
    "mark/sleepermark": "Bits that a text-to-image model shows behind a secret trigger (SleeperMark)",
    "mark/taggants": "Changes that teach a network secret queries with random classes (Data Taggants)",
    "protect/ar": "Class-wise autoregressive noise that a network learns instead of the pictures (AR)",
    "protect/cuda": "Class-wise convolutions that a network learns instead of the pictures (CUDA)",
    "protect/em": "Noise that leaves a network nothing to learn (EM)",
    "protect/ops": "One pixel per class that a network learns instead of the pictures (OPS)",
    "protect/rem": "Noise like EM's against adversarial training (REM); slow, the reference for SEM",
    "protect/sem": "Noise meant to leave even adversarial training little to learn (SEM)",
    "protect/salm": "Noise like EM's only where it matters, for medical images (SALM, reconstruction)",
    "protect/t2ue": "Noise from captions alone: whoever makes it never sees the pictures (T2UE)",
    "protect/tap": "Pictures that a network takes for the next class (TAP)",
    "protect/uc": "Noise per cluster of pictures, without any labels (UC)",
    "protect/weave": "Class filters and class colours together, which fail to different attacks (ours)",
    "protect/lsp": "Patches of linearly separable noise, a fast baseline that is easy to remove (LSP)",
    "verify/learnability": "Train fresh models on clean and protected data and compare what they learn",
}
FAMILIES = tuple(sorted({name.partition("/")[0] for name in _SUMMARIES}))
TABLE = {name: Entry(f"noli.methods.{name.replace('/', '.')}", text) for name, text in _SUMMARIES.items()}


def names(family: str | None = None) -> tuple[str, ...]:
    """Return the sorted names of all methods without importing any.

    Args:
        family: Only noli's own methods of this family; None for all of them and all plug-ins.

    Raises:
        UsageError: There is no such family.
    """
    if family is None:
        return tuple(sorted({*TABLE, *plugins()[0]}))
    if family not in FAMILIES:
        raise UsageError("Unknown family.", where=family, fix=did_you_mean(family, FAMILIES))
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
    with loading("method", name, f"pip install --upgrade {line.package or 'noli'}, then `noli doctor`"):
        return importlib.import_module(line.module)


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
    return find_plugins(GROUP, "method", get_args(Family))
