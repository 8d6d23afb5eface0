"""The attacks on scrambled pictures by name: the one table from which audits and lists take them."""

from __future__ import annotations

from typing import NamedTuple

from noli.core.audit import Has
from noli.core.errors import UsageError


class Named(NamedTuple):
    """What an attack is called, what it does in plain words, and what the attacker has, too."""

    name: str
    about: str
    has: Has

    @property
    def word(self) -> str:
        """What is typed: the name with dashes."""
        return self.name.replace(" ", "-")


LEADING_BIT = Named("leading bit", "negates every value that is bright", "nothing more")
LEAST_DIFFERENCE = Named(
    "least difference", "takes for every pixel what is most like its neighbours", "nothing more"
)
JIGSAW = Named("jigsaw", "puts blocks together by their borders", "nothing more")
STATISTICS = Named("statistics", "matches how values go together with public pictures", "pictures like these")
ONE_PAIR = Named(
    "one pair", "matches one picture in plain with its scrambled one, and brings back the others",
    "one picture in plain",
)  # fmt: skip
CHOSEN = Named("chosen pictures", "has pictures scrambled that number every value", "pictures of his choice")
PICTURES = (LEADING_BIT, LEAST_DIFFERENCE, JIGSAW, STATISTICS, ONE_PAIR, CHOSEN)


def named(word: str) -> Named | None:
    """Return the attack on scrambled pictures of this name, with spaces or dashes, or None."""
    return next((one for one in PICTURES if one.word == word.strip().lower().replace(" ", "-")), None)


def unfitting(word: str, fitting: list[str], where: str) -> UsageError:
    """Return the error of an attack that does not suit what it is asked to attack."""
    fix = f"take one of {', '.join(one.replace(' ', '-') for one in fitting)}"
    return UsageError(f"{word} is no attack on this.", where=where, fix=fix)
