"""What a method stops and does not stop, and the Markdown card that may be published with the data."""

from __future__ import annotations

import html
import re
from typing import Any

import noli.registry as registry
from noli.core.errors import NoliError
from noli.core.method import Card

_MARKUP = re.compile(r"([\\`*_{}\[\]|~])")
_LINE_START = re.compile(r"^(\d*)([.)#+-])")


def method_card(name: str | None) -> Card | None:
    """Return a method's card, or None when the method is unknown here (a plug-in that is not installed)."""
    if not name:
        return None
    try:
        return registry.get(name).card
    except NoliError:
        return None


def markdown(value: Any) -> str:
    """Return text that Markdown shows as it is: one line, no markup, no HTML."""
    line = " ".join(str(value).split())
    return _LINE_START.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", html.escape(line, quote=False)))
