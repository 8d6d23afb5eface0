"""All countermeasures by name: a table of strings, in the order in which a battery runs them.

Each string names a :class:`~noli.methods.verify.measure.Measure`, or a function of the Config that returns
one or several. None of the modules imports torch, so listing stays cheap. Third parties add theirs through
the entry-point group ``noli.countermeasures``: the entry point's name is ``package/name``, its value
``module:ATTRIBUTE``. A plug-in never enters a battery by itself, because a battery must be the same on every
machine; it is run by name (``noli attack package/name``) or added with the option ``also``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

from noli.core.attacks import GROUPS
from noli.core.errors import UsageError
from noli.core.evidence import Level
from noli.core.plugins import Entry, did_you_mean, loading, source_digest
from noli.core.plugins import plugins as find_plugins
from noli.methods.verify.config import Config
from noli.methods.verify.measure import BATTERIES, Measure

GROUP = "noli.countermeasures"
_RESERVED = ("noli",)

TABLE: tuple[str, ...] = (
    "training:PLAIN",
    "training:REFERENCE",
    "adapting:TEST_TIME",
    "training:SHORT",
    "training:BEST_EPOCH",
    "pretrained:SELF_SUPERVISED",
    "pretrained:PRETRAINED",
    "training:CUTOUT_MIXUP",
    "training:CUTOUT",
    "training:MIXUP",
    "training:CUTMIX",
    "training:RAND_AUGMENT",
    "training:WINDOW",
    "squeeze:GRAYSCALE",
    "squeeze:jpegs",
    "squeeze:BITS",
    "squeeze:BLUR",
    "squeeze:MEDIAN",
    "squeeze:LOWPASS",
    "squeeze:RESIZE",
    "training:adversarial",
    "adaptive:SHARPEN",
    "adaptive:DISPLACE",
    "adaptive:GREY_DISPLACE",
    "adaptive:JPEG_DISPLACE",
    "adaptive:UERASER",
    "adaptive:UERASER_JPEG",
    "adaptive:UERASER_LITE",
    "adaptive:MASKED_MEDIAN",
    "projection:PROJECTION",
    "projection:GREY_PROJECTION",
    "projection:PROJECTION_DISPLACE",
    "purifier:PURIFIER",
    "leaked:pairs_per_class",
    "leaked:pairs_then_more",
    "leaked:pairs_each_way",
    "leaked:pairs_in_all",
    "leaked:bridges",
    "context:partial",
    "context:regroupings",
)


def own(cfg: Config) -> tuple[Measure, ...]:
    """Return noli's own countermeasures under a configuration, in the order of the table."""
    made = (_loaded(f"{__name__}.{target}", cfg) for target in TABLE)
    return tuple(measure for measures in made for measure in measures)


def battery(cfg: Config) -> tuple[Measure, ...]:
    """Return the rows of the configured battery, then those that the option ``also`` adds.

    Raises:
        UsageError: ``also`` names an unknown countermeasure.
        MissingPrerequisite: A plug-in cannot be loaded.
    """
    within = BATTERIES[: BATTERIES.index(cfg.battery) + 1]
    rows = {measure.name: measure for measure in own(cfg) if measure.battery in within}
    return tuple((rows | {name: find(name, cfg) for name in cfg.also}).values())


def plugins() -> tuple[dict[str, Entry], dict[str, UsageError]]:
    """Return usable plug-ins, and the refused ones with the reason, without importing any."""
    return find_plugins(GROUP, "countermeasure", _RESERVED)


def find(name: str, cfg: Config) -> Measure:
    """Return a countermeasure by name.

    Raises:
        UsageError: Unknown name, or a plug-in that is badly named, defined twice or no countermeasure.
        MissingPrerequisite: A plug-in cannot be loaded.
    """
    known = {measure.name: measure for measure in own(cfg)}
    if name in known:
        return known[name]
    good, bad = plugins()
    if name in bad:
        raise bad[name]
    if name not in good:
        hint = did_you_mean(name, {*known, *good})
        fix = f"{hint}{'' if hint.endswith('?') else '.'} `noli attack` says what each of them does"
        if any(one.word == name for group in GROUPS.values() for one in group):
            fix = "this attack is for what noli lock makes, which these data are not; see `noli attack`"
        elif (share := _share(name)) is not None:
            fix = f"add --set partial=[{share:g}]; without it these can be run by name: {_partials(known)}"
        raise UsageError("Unknown countermeasure.", where=name, fix=fix)
    return _plugin(name, good[name], cfg)


def _share(name: str) -> float | None:
    """Return the share that ``partial-30`` names, or None for other names and for no share of a whole."""
    found = re.fullmatch(r"partial-(\d{1,2}(?:\.\d{1,6})?)", name)
    share = float(found[1]) / 100 if found else 0.0
    return share if share > 0 else None


def _partials(known: Iterable[str]) -> str:
    return ", ".join(name for name in known if name.startswith("partial-"))


def _plugin(name: str, line: Entry, cfg: Config) -> Measure:
    with loading("countermeasure", name, f"pip install --upgrade {line.package}"):
        measures = _loaded(line.module, cfg)
    fitting = [m for m in measures if isinstance(m, Measure) and m.name == name]
    if len(fitting) != 1 or fitting[0].level not in (*get_args(Level), "context"):
        raise UsageError(
            "A plug-in does not define its countermeasure.",
            where=f"{name} in {line.module}",
            why=f"found {[getattr(m, 'name', m) for m in measures]}",
            fix="let the entry point name a noli Measure(name=<the entry point's name>, level=..., ...)",
        )
    # Not the version alone: whoever writes a plug-in edits it and runs it again.
    digest = source_digest(line.module.partition(":")[0])
    return replace(fitting[0], origin=f"{line.package} {line.version} {digest}".strip())


def _loaded(target: str, cfg: Config) -> tuple[Any, ...]:
    module, _, attribute = target.partition(":")
    made = getattr(importlib.import_module(module), attribute)
    if not isinstance(made, Measure) and callable(made):
        made = made(cfg)
    return made if isinstance(made, tuple) else (made,)
