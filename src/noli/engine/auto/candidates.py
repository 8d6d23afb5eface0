"""What is tried: a table of methods with their defaults, and of named variants where a method has modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from noli import registry
from noli.core.errors import UsageError
from noli.core.plugins import did_you_mean

_EM = {"network": "tiny", "train_steps": 10, "rounds": 3, "steps": 5}
_SEM = {"network": "tiny", "steps": 20, "noise_steps": 3, "samples": 2, "adversary_steps": 3}
_REM = {"network": "tiny", "steps": 10, "noise_steps": 2, "samples": 1, "adversary_steps": 2}


@dataclass(frozen=True)
class Candidate:
    """One way to protect.

    Attributes:
        name: What it is called in tables, and with ``only``.
        method: Registry name.
        options: Options beside the method's defaults; the run that follows a choice uses them, too.
        trial: Options of the trial only. They make learning cheap enough for a sample, and weaker.
    """

    name: str
    method: str
    options: Mapping[str, object] = field(default_factory=dict)
    trial: Mapping[str, object] = field(default_factory=dict)


# In the order in which they are made ready, so that a short budget is spent on what costs little.
TABLE: tuple[Candidate, ...] = (
    Candidate("cuda", "protect/cuda"),
    Candidate("cuda-paper", "protect/cuda", {"mode": "paper"}),
    Candidate("cuda-plain", "protect/cuda", {"jitter": 0}),
    Candidate("cuda-reflect", "protect/cuda", {"border": "reflect"}),
    Candidate("weave", "protect/weave"),
    Candidate("weave-plain", "protect/weave", {"colour": 8 / 255, "jitter": 0, "colour_jitter": 0}),
    Candidate("ops", "protect/ops"),
    Candidate("lsp", "protect/lsp"),
    Candidate("ar", "protect/ar"),
    Candidate("em", "protect/em", {}, _EM),
    Candidate("em-class", "protect/em", {"noise": "class"}, {"network": "tiny", "rounds": 6}),
    Candidate(
        "uc", "protect/uc", {}, {"network": "tiny", "encoder": "own", "encoder_epochs": 3, "steps": 20}
    ),
    Candidate("t2ue", "protect/t2ue"),
    Candidate("tap", "protect/tap", {}, {"network": "tiny", "epochs": 8, "steps": 10}),
    Candidate("salm", "protect/salm", {}, _EM),
    Candidate("sem", "protect/sem", {}, _SEM),
    Candidate("rem", "protect/rem", {}, _REM),
)


def wanted(only: Sequence[str] = ()) -> tuple[Candidate, ...]:
    """Return the candidates of these names in the order of the table; all of it without names.

    Args:
        only: Names in the table, or registered protect methods (a plug-in's ``package/name``), which enter no
            table by themselves because a table must be the same on every machine.

    Raises:
        UsageError: Unknown name, or a method that does not protect.
    """
    found = [_find(name) for name in dict.fromkeys(only)]
    # As in the table, whatever the order: cheap ones first, so that time is left for most.
    return tuple(sorted(found, key=lambda one: TABLE.index(one) if one in TABLE else len(TABLE))) or TABLE


def _find(name: str) -> Candidate:
    known = {candidate.name: candidate for candidate in TABLE}
    if name in known:
        return known[name]
    if "/" not in name:
        raise UsageError("There is no candidate of this name.", where=name, fix=did_you_mean(name, known))
    spec = registry.get(name)
    if spec.family != "protect":
        fix = "name a method that protects; see `noli list protect`"
        raise UsageError("This method does not protect.", where=name, fix=fix)
    # A method's own trial is for tests of its contract; the table's is for judging it.
    plain = (one for one in TABLE if one.method == name and not one.options)
    return next(plain, Candidate(name, name, {}, spec.trial))
