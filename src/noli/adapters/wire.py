"""One HTTP exchange: bytes out, status and bytes back, within a time and a size; nothing is followed."""

from __future__ import annotations

import hashlib
import ssl
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from noli.adapters.exchange import Reply, Trouble
from noli.core.errors import UsageError

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class Wire:
    """A connection to one service, kept open between requests. It keeps no cookies.

    Args:
        url: Address; it decides which proxy of the environment is used.
        timeout: Seconds that one exchange may take.
        max_bytes: Largest body, both as received and without compression.
        ca_file: PEM file with the authority of the certificate; None: the public ones.
        clock: Seconds of a clock that never goes back.

    Raises:
        UsageError: `ca_file` is no such file, or the proxy that the environment names cannot be used.
    """

    def __init__(
        self, url: str, timeout: float, max_bytes: int, ca_file: Path | None, clock: Callable[[], float]
    ) -> None:
        self._timeout, self._max, self._clock = timeout, max_bytes, clock
        # The transport and not a client: a client logs every address, and a query may hold a secret.
        try:
            self._transport = httpx.HTTPTransport(verify=_trust(url, ca_file), proxy=_proxy(url))
        except (ImportError, ValueError) as error:  # of httpx, about the proxy
            what = "The proxy that the environment names cannot be used."
            why, fix = type(error).__name__, "name an http proxy, or set NO_PROXY"
            raise UsageError(what, where=url, why=why, fix=fix) from None

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def send(
        self, method: str, url: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Send one request and read the response.

        Raises:
            Trouble: No complete response within time and size.
        """
        began = self._clock()
        try:
            response = self._transport.handle_request(self._request(method, url, query, headers, body))
        except httpx.HTTPError as error:
            raise _trouble(error, self._timeout) from None
        except (httpx.InvalidURL, UnicodeError):
            raise Trouble("the address names no host or is too long", again=False, nobody=True) from None
        try:
            return self._read(response, began)
        finally:
            response.close()

    def _request(
        self, method: str, url: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> httpx.Request:
        # A name of ours would tell the service that it is being examined.
        agent = f"python-httpx/{httpx.__version__}"
        common = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": agent}
        named = {name.lower() for name in headers}
        kept = {name: value for name, value in common.items() if name.lower() not in named}
        return httpx.Request(
            method,
            httpx.URL(url, params=dict(query)) if query else httpx.URL(url),
            headers={**kept, **headers},
            content=body or None,
            extensions={"timeout": httpx.Timeout(self._timeout).as_dict()},
        )

    def _read(self, response: httpx.Response, began: float) -> Reply:
        certificate = _certificate(response)
        received = bytearray()
        try:
            for part in response.iter_raw():
                received += part
                if len(received) > self._max:
                    raise Trouble(self._too_large(), again=False, certificate=certificate)
                if self._clock() - began > self._timeout:
                    raise Trouble(_late(self._timeout), again=True, certificate=certificate)
        except httpx.HTTPError as error:
            raise _trouble(error, self._timeout, certificate) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = bytes(received)
        content = self._unpack(body, headers.get("content-encoding", ""), certificate)
        return Reply(response.status_code, headers, body, content, certificate)

    def _unpack(self, body: bytes, encoding: str, certificate: str) -> bytes:
        """Undo compression that was not asked for, without growing beyond the largest size."""
        encoding = encoding.strip().lower()
        if encoding in ("", "identity") or not body:
            return body
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise Trouble("the response is packed in an unknown way", again=False, certificate=certificate)
        try:
            opened = zlib.decompressobj(47)
            unpacked = opened.decompress(body, self._max + 1)
        except zlib.error:
            raise Trouble("the response is packed wrongly", again=False, certificate=certificate) from None
        if len(unpacked) > self._max:
            raise Trouble(self._too_large(), again=False, certificate=certificate)
        if not opened.eof:
            raise Trouble("the packed response is not complete", again=True, certificate=certificate)
        return unpacked

    def _too_large(self) -> str:
        return f"the response is larger than {self._max} bytes"


def _certificate(response: httpx.Response) -> str:
    stream: Any = response.extensions.get("network_stream")
    secured = stream.get_extra_info("ssl_object") if stream is not None else None
    raw = secured.getpeercert(True) if secured is not None else None  # the bare object takes no names
    return hashlib.sha256(raw).hexdigest() if raw else ""


def _trouble(error: httpx.HTTPError, timeout: float, certificate: str = "") -> Trouble:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Trouble("the certificate of the service is not trusted", again=False, nobody=True)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Trouble("no connection to the service", again=True, nobody=True)
    if isinstance(error, httpx.TimeoutException):
        return Trouble(_late(timeout), again=True, certificate=certificate)
    return Trouble("the connection broke", again=True, certificate=certificate)


def _late(timeout: float) -> str:
    return f"no complete response within {timeout:g} s"


def _trust(url: str, ca_file: Path | None) -> ssl.SSLContext | bool:
    if not url.lower().startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; reading all authorities takes 0.1 s
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        fix = "give a PEM file with the authority that signed the service's certificate"
        why = error.strerror or type(error).__name__
        what = "The file of authorities cannot be used."
        raise UsageError(what, where=str(ca_file), why=why, fix=fix) from None


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _HERE or proxy_bypass(host):
        return None
    known = getproxies()
    return known.get(parts.scheme.lower()) or known.get("all")
