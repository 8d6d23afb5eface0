"""Typed errors. Each says what happened, where, why, and what to do; each has a stable exit code."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s]*@", re.I)
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#]*)[?#]\S*", re.I)


def clean_url(text: str) -> str:
    """Return text with logins and query strings removed from the URLs in it: messages end up in logs."""
    return _QUERY.sub(r"\1", _LOGIN.sub(r"\1", text))


class NoliError(Exception):
    """Base of every error that noli raises on purpose.

    Args:
        what: What went wrong, one sentence.
        where: The item, file or option concerned.
        why: The cause, when known.
        fix: What the user can do now.
        items: Names of all items concerned (for data errors).
    """

    exit_code = 5  # 1 belongs to the answer of `verify`: no failure may look like one

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
        items: Iterable[str] = (),
    ) -> None:
        self.what = clean_url(what)
        self.where, self.why, self.fix = (text and clean_url(text) for text in (where, why, fix))
        self.items = tuple(map(clean_url, items))
        super().__init__(str(self))

    def __str__(self) -> str:
        details = (("where", self.where), ("why", self.why), ("do", self.fix))
        return " | ".join([self.what, *(f"{head}: {text}" for head, text in details if text)])


class UsageError(NoliError):
    """A call that can never work: unknown name, bad option value, contradictory arguments."""

    exit_code = 2


class OutputExists(UsageError):
    """The output place is taken, or lies inside the input (or the reverse). Nothing was written."""


class MissingPrerequisite(NoliError):
    """An optional package, a model file or a program is missing; `fix` names the exact install."""

    exit_code = 3


class DataError(NoliError):
    """Input items that cannot be used; `items` lists them."""

    exit_code = 4


class KeyFileError(DataError):
    """A key file that cannot be read, is damaged, or needs another passphrase."""


class WrongKey(DataError):
    """The key is valid but is not the one that made this data."""


class SealError(DataError):
    """A sealed file, a licence, a list of revocations or a log of openings that is damaged or was changed."""


class LicenceRefused(DataError):
    """A licence that is genuine and does not open this now: of another file, or the clock was set back."""


class LicenceExpired(LicenceRefused):
    """A licence whose time is over."""


class LicenceRevoked(LicenceRefused):
    """A licence that its owner has revoked."""


class RunError(NoliError):
    """A run that failed for a reason outside the data: disk full, read-only place, damaged run folder."""


class WorkerDied(RunError):
    """A worker process was killed (often: out of memory). The run can be resumed."""


class Interrupted(NoliError):
    """Stopped by the user; the same command resumes."""

    exit_code = 130
