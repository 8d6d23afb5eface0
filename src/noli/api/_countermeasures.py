"""The list of countermeasures; it loads neither torch nor an imaging library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noli.core.plugins import Entry


@dataclass(frozen=True)
class Countermeasure:
    """One line of the list.

    Attributes:
        name: What :func:`noli.attack` takes.
        level: Attacker level, or ``context``; empty for plug-ins that cannot be loaded.
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
    """Return all countermeasures, noli's own first; torch is not loaded unless a plug-in does.

    A plug-in that cannot be loaded is listed all the same, without a level.
    """
    from noli.methods.verify.config import Config
    from noli.methods.verify.countermeasures import own, plugins

    mine = (Countermeasure(m.name, m.level, m.battery, m.about) for m in own(Config()))
    theirs = plugins()[0].items()
    return *mine, *(_plugin(name, line) for name, line in theirs)


def _plugin(name: str, line: Entry) -> Countermeasure:
    from noli.methods.verify.config import Config
    from noli.methods.verify.countermeasures import find

    try:
        measure = find(name, Config())
    except Exception as error:  # whatever a plug-in does when it is imported, the list comes
        about = f"{line.summary}, which cannot be loaded: {type(error).__name__}"
        return Countermeasure(name, "", "", about, line.package)
    return Countermeasure(
        name, measure.level, "", f"{measure.about} ({line.package} {line.version})", line.package
    )
