"""What one HTTP exchange ends in: a reply, or trouble; and where a reply sends us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

_KEEPING = frozenset({307, 308})  # the other redirects turn a POST into a GET, which would ask nothing
_ANY = _KEEPING | {301, 302, 303}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: Its bytes as received.
        content: The same without compression.
        certificate: SHA-256 (hex) of the certificate in DER form; empty without TLS.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    content: bytes = field(repr=False)
    certificate: str = ""


class Trouble(Exception):
    """No complete response came back.

    Attributes:
        reason: Why, in words of ours: the library's may repeat what was sent.
        again: Whether another try may help.
        nobody: Whether the service was not even reached.
        certificate: As in `Reply`, as far as the exchange got.
    """

    def __init__(self, reason: str, *, again: bool, nobody: bool = False, certificate: str = "") -> None:
        super().__init__(reason)
        self.reason, self.again, self.nobody, self.certificate = reason, again, nobody, certificate


def redirected(method: str, url: str, reply: Reply) -> str | None:
    """Return the address of the same service that a reply redirects to, or None.

    Another scheme, host or port is another service: what it answered would prove nothing about the first, and
    it must not see our headers.
    """
    if reply.status not in (_ANY if method == "GET" else _KEEPING) or "location" not in reply.headers:
        return None
    try:
        target = urljoin(url, reply.headers["location"])
        same = _origin(target) == _origin(url)
    except ValueError:
        return None
    return target if same else None


def elsewhere(url: str, reply: Reply) -> str | None:
    """Return the scheme and host that a redirect names, or None."""
    if reply.status not in _ANY:
        return None
    try:
        parts = urlsplit(urljoin(url, reply.headers.get("location", "")))
        return f"{parts.scheme}://{parts.hostname}"
    except ValueError:
        return "nowhere"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    # With a login it is not what we were told to talk to.
    host = None if "@" in parts.netloc else parts.hostname
    return scheme, host, parts.port or _PORTS.get(scheme)
