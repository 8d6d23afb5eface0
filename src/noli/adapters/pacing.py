"""Politeness towards a service: pauses between requests, before further tries, and as it asks for."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class Pacer:
    """Keeps requests apart.

    Args:
        rate: Requests per second; None: no pause between requests.
        jitter: Share, 0..1, by which a pause is at most lengthened at random.
        clock: Seconds of a clock that never goes back.
        sleep: Waits a number of seconds.
        draw: A random number in [0, 1). Not keyed: nothing depends on it but the moment of a request.
    """

    def __init__(
        self,
        rate: float | None,
        jitter: float,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._jitter = jitter
        self._clock, self._sleep, self._draw = clock, sleep, draw
        self._earliest: float | None = None

    def turn(self) -> None:
        """Wait until the next request may be sent, and count it as sent now."""
        if self._earliest is not None and (left := self._earliest - self._clock()) > 0:
            self._sleep(left)
        # Lengthened only: the rate is a promise.
        self._earliest = self._clock() + self._longer(self._gap) if self._gap else None

    def pause(self, seconds: float, at_most: float, *, exact: bool = False) -> None:
        """Wait before a further try, at most so long; `exact` when the service named the time."""
        seconds = min(at_most, seconds if exact else self._longer(seconds))
        if seconds > 0:
            self._sleep(seconds)

    def _longer(self, seconds: float) -> float:
        return seconds * (1 + self._jitter * self._draw())


def planned_seconds(queries: int, rate: float | None, jitter: float) -> float:
    """Return the expected pauses of a number of requests in seconds, without what the service needs."""
    return max(0, queries - 1) / rate * (1 + jitter / 2) if rate else 0.0


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the pause that a response asks for, in seconds >= 0, or None when it names none.

    Args:
        headers: Of the response, names in lower case.
        now: Our time, seconds since 1970. The service's own ``Date`` is preferred: clocks differ.
    """
    asked = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", asked):
        return float(asked)
    until = _moment(asked)
    if until is None:
        return None
    base = _moment(headers.get("date", ""))
    return max(0.0, until - (now if base is None else base))


def _moment(text: str) -> float | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def utc(seconds: float) -> str:
    """Return a time since 1970 as UTC ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
