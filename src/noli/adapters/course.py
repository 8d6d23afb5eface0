"""How one query went so far: what was tried, what came back, and the facts that an answer records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from noli.adapters.credentials import wiped
from noli.adapters.exchange import Reply, Trouble


@dataclass(slots=True)
class Course:
    """One query on its way; it changes with every request.

    Attributes:
        url: Where the next request goes.
        reply, trouble: What the last request ended in; one of them.
        refused: Why the service declined; empty when it did not.
        broke: Whether the budget was spent before an outcome.
        attempts, failures, hops: Requests made; those that had to be repeated; redirects followed.
        seconds, time: Duration and UTC time of the last request.
        secrets: What must not be kept of the responses.
    """

    url: str
    reply: Reply | None = None
    trouble: Trouble | None = None
    refused: str = ""
    broke: bool = False
    attempts: int = 0
    failures: int = 0
    hops: int = 0
    seconds: float = 0.0
    time: str = ""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def bodies(self, sent: bytes) -> Iterator[bytes]:
        """Yield what was sent and received last; no response in which the service repeated a secret."""
        yield sent
        if self.reply is not None:
            # Compressed, a secret would not be seen.
            both = (self.reply.body, self.reply.content)
            texts = [one.decode("utf-8", "replace") for one in both]
            if all(wiped(text, self.secrets) == text for text in texts):
                yield self.reply.body

    def facts(self, sent: bytes) -> dict[str, Any]:
        """Return the fields of an answer that say what was sent and received, and when."""
        last = self.reply or self.trouble
        return {
            "request_sha256": hashlib.sha256(sent).hexdigest(),
            "response_sha256": hashlib.sha256(self.reply.body if self.reply else b"").hexdigest(),
            "seconds": self.seconds,
            "attempts": self.attempts,
            "certificate_sha256": last.certificate if last else "",
            "time": self.time,
        }
