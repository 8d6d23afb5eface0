"""The list of countermeasures; it loads neither torch nor an imaging library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Countermeasure:
    """One line of the list.

    Attributes:
        name: What :func:`noli.attack` takes.
        level: Attacker level, or ``context``; empty for plug-ins, which are not loaded for a list.
        battery: The smallest battery that has it; empty for none, as for plug-ins.
        about: What the trainer does.
        package: Distribution it comes from.
    """

    name: str
    level: str
    battery: str
    about: str
    package: str = "noli"


def countermeasures() -> tuple[Countermeasure, ...]:
    """Return all countermeasures, noli's own first, without loading torch or any plug-in."""
    from noli.methods.verify.config import Config
    from noli.methods.verify.countermeasures import own, plugins

    mine = (Countermeasure(m.name, m.level, m.battery, m.about) for m in own(Config()))
    theirs = plugins()[0].items()
    return *mine, *(Countermeasure(name, "", "", line.summary, line.package) for name, line in theirs)
